//! The two sets of gateways in a cluster: their pods, what they count, and taking one of them back.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use super::Args;
use crate::source::ClusterError;

const ADMIN_PORT: u16 = 9901;
/// How long a pod may take to say what it counts, and how much that may be.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_PAGE: usize = 16 * 1024 * 1024;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub(super) enum RolloutError {
    #[error("could not start a runtime")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("could not list the pods of the gateways: see `kubectl auth can-i list pods -n {0}`")]
    List(String, #[source] Box<kube::Error>),
    #[error("the Deployment {0} has no pods in namespace {1}: set canary.enabled, or name it with --deployment")]
    NoCanary(String, String),
    #[error("the canary set is worse and could not be taken back: kubectl scale -n {1} deployment/{0} --replicas 0")]
    TakeBack(String, String, #[source] Box<kube::Error>),
}

/// Why a pod did not say what it counts.
#[derive(Debug, thiserror::Error)]
pub(super) enum PageError {
    #[error("it has no address")]
    Nowhere,
    #[error("it did not answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("{0}")]
    Api(#[from] Box<kube::Error>),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
    #[error("it answered {0}")]
    Status(StatusCode),
    #[error("its page could not be read")]
    Page,
}

/// A gateway.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) ready: bool,
    pub(super) restarts: i64,
    address: Option<String>,
}

/// Where both sets are.
#[derive(Clone, Debug)]
pub(super) struct Release {
    pub(super) namespace: String,
    pub(super) deployment: String,
    name: String,
    /// In the cluster pods are asked themselves; from outside through the API server.
    direct: bool,
}

impl Release {
    pub(super) fn new(args: &Args) -> Self {
        let deployment = args.deployment.clone();
        Self {
            namespace: args.namespace.clone(),
            deployment: deployment.unwrap_or_else(|| format!("{}-gateway-canary", args.release)),
            name: args.release.clone(),
            direct: args.context.is_none() && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        }
    }

    /// The pods of the canary set, and of the stable one.
    pub(super) async fn pods(&self, client: &Client) -> Result<(Vec<Pod>, Vec<Pod>), RolloutError> {
        Ok((self.set(client, "gateway-canary").await?, self.set(client, "gateway").await?))
    }

    async fn set(&self, client: &Client, component: &str) -> Result<Vec<Pod>, RolloutError> {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("", "v1", "Pod"), "pods");
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &self.namespace, &resource);
        let labels = format!("app.kubernetes.io/instance={},app.kubernetes.io/component={component}", self.name);
        let listed = api.list(&ListParams::default().labels(&labels)).await;
        let listed = listed.map_err(|error| RolloutError::List(self.namespace.clone(), Box::new(error)))?;
        // One that is ending was told to.
        Ok(listed.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).map(|pod| read(&pod)).collect())
    }

    /// What a pod counts.
    pub(super) async fn metrics(&self, client: &Client, pod: &Pod) -> Result<String, PageError> {
        let asked = async {
            if self.direct {
                let address = pod.address.as_deref().ok_or(PageError::Nowhere)?;
                return direct(address).await;
            }
            let (namespace, name) = (&self.namespace, &pod.name);
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{ADMIN_PORT}/proxy/metrics");
            client.request_text(Request::get(path).body(Vec::new())?).await.map_err(|error| Box::new(error).into())
        };
        tokio::time::timeout(PATIENCE, asked).await?
    }

    /// No pods of the canary set any more.
    pub(super) async fn take_back(&self, client: &Client) -> Result<(), RolloutError> {
        let gvk = GroupVersionKind::gvk("apps", "v1", "Deployment");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "deployments");
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &self.namespace, &resource);
        let none = Patch::Merge(json!({"spec": {"replicas": 0}}));
        let scaled = api.patch_scale(&self.deployment, &PatchParams::default(), &none).await;
        scaled
            .map(drop)
            .map_err(|error| RolloutError::TakeBack(self.deployment.clone(), self.namespace.clone(), Box::new(error)))
    }
}

fn read(pod: &DynamicObject) -> Pod {
    let containers = pod.data.pointer("/status/containerStatuses").and_then(Value::as_array);
    let containers = || containers.into_iter().flatten();
    let is_ready = |one: &Value| one.get("ready").and_then(Value::as_bool).unwrap_or_default();
    Pod {
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        ready: containers().count() > 0 && containers().all(is_ready),
        restarts: containers().filter_map(|one| one.get("restartCount")?.as_i64()).sum(),
        address: pod.data.pointer("/status/podIP").and_then(Value::as_str).map(str::to_owned),
    }
}

async fn direct(address: &str) -> Result<String, PageError> {
    let stream = tokio::net::TcpStream::connect((address, ADMIN_PORT)).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driven = tokio::spawn(connection);
    let request = Request::get("/metrics").header(http::header::HOST, address).body(Empty::<Bytes>::new())?;
    let answer = sender.send_request(request).await?;
    if answer.status() != StatusCode::OK {
        return Err(PageError::Status(answer.status()));
    }
    let page = Limited::new(answer.into_body(), MAX_PAGE).collect().await.map_err(|_| PageError::Page)?;
    driven.abort();
    String::from_utf8(page.to_bytes().to_vec()).map_err(|_| PageError::Page)
}
