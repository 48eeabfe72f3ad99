//! Many tenants with many routes on an API server: made at once, then edited one by one.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use futures_util::{StreamExt, TryStreamExt, stream};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::{Value, json};

/// Objects that are made at once.
const AT_ONCE: usize = 32;
/// An address for documentation: nothing is ever sent there.
const ENDPOINT: &str = "192.0.2.1";
/// A Service without an endpoint: what leads to it shows its fallback.
const NOBODY: &str = "nobody";
const SOMEBODY: &str = "somebody";

/// An object to be: its kind, its namespace and itself.
type Made = (ApiResource, Option<String>, Value);

/// Tenants with as many routes each.
pub struct Fleet {
    client: Client,
    tenants: u32,
    routes: u32,
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

fn routes() -> ApiResource {
    resource("postern.dev", "v1alpha1", "Route", "routes")
}

fn failed(error: kube::Error) -> io::Error {
    io::Error::other(error)
}

fn name(tenant: u32) -> String {
    format!("tenant-{tenant}")
}

/// What a watch saw routes say, and when it first did.
#[derive(Debug, Default)]
pub struct Watched(Mutex<HashMap<String, Instant>>);

impl Watched {
    fn note(&self, text: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(text.to_owned()).or_insert_with(Instant::now);
    }

    /// When it saw this.
    #[must_use]
    pub fn at(&self, text: &str) -> Option<Instant> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(text).copied()
    }
}

/// The host of a tenant.
#[must_use]
pub fn host(tenant: u32) -> String {
    format!("tenant-{tenant}.example")
}

/// The path of a route.
#[must_use]
pub fn path(route: u32) -> String {
    format!("/route-{route}")
}

fn service(namespace: &str, name: &str, ready: bool) -> [Made; 2] {
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"name": "http", "port": 8080, "targetPort": 8080}]}});
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{name}-1"), "namespace": namespace, "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": [ENDPOINT], "conditions": {"ready": ready}}]});
    let namespace = Some(namespace.to_owned());
    [
        (resource("", "v1", "Service", "services"), namespace.clone(), service),
        (resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"), namespace, slice),
    ]
}

/// Route 0 answers with `text`; the others lead to a Service.
fn spec(route: u32, text: &str) -> Value {
    let service = if route == 0 { NOBODY } else { SOMEBODY };
    json!({"rules": [{"name": "only", "matches": [{"path": {"type": "PathPrefix", "value": path(route)}}],
        "authentication": {"type": "None"}, "backendRefs": [{"name": service, "port": 8080}],
        "fallback": {"status": 200, "contentType": "text/plain", "body": text}}]})
}

fn route(tenant: u32, route: u32) -> Made {
    let object = json!({"apiVersion": "postern.dev/v1alpha1", "kind": "Route",
        "metadata": {"name": format!("route-{route}"), "namespace": name(tenant)}, "spec": spec(route, "first")});
    (routes(), Some(name(tenant)), object)
}

fn namespace(tenant: u32) -> Made {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name(tenant)}});
    (resource("", "v1", "Namespace", "namespaces"), None, object)
}

fn tenant(tenant: u32) -> Made {
    let object = json!({"apiVersion": "postern.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": name(tenant)},
        "spec": {"namespaces": {"names": [name(tenant)]}, "hostnames": [host(tenant)]}});
    (resource("postern.dev", "v1alpha1", "Tenant", "tenants"), None, object)
}

impl Fleet {
    /// One that is still to be made, as whom a kubeconfig says.
    ///
    /// # Errors
    /// When the file names no server.
    pub async fn new(kubeconfig: &Path, tenants: u32, routes: u32) -> io::Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let file = Kubeconfig::read_from(kubeconfig).map_err(io::Error::other)?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.map_err(io::Error::other)?).map_err(failed)?;
        Ok(Self { client, tenants, routes })
    }

    /// Makes all objects.
    ///
    /// # Errors
    /// When the server refuses one.
    pub async fn make(&self) -> io::Result<()> {
        let (tenants, routes) = (self.tenants, self.routes);
        self.create((0..tenants).map(namespace)).await?;
        let besides = |of: u32| {
            let (nobody, somebody) = (service(&name(of), NOBODY, false), service(&name(of), SOMEBODY, true));
            nobody.into_iter().chain(somebody).chain([tenant(of)])
        };
        self.create((0..tenants).flat_map(besides)).await?;
        self.create((0..tenants).flat_map(move |tenant| (0..routes).map(move |number| route(tenant, number)))).await
    }

    async fn create(&self, all: impl Iterator<Item = Made>) -> io::Result<()> {
        let create = |(resource, namespace, object): Made| async move {
            let object: DynamicObject = serde_json::from_value(object)?;
            let api: Api<DynamicObject> = match namespace {
                Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, &resource),
                None => Api::all_with(self.client.clone(), &resource),
            };
            api.create(&PostParams::default(), &object).await.map(drop).map_err(failed)
        };
        stream::iter(all.map(create)).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Has a route say something else; it is stored when this returns.
    ///
    /// # Errors
    /// When the server does not take it.
    pub async fn edit(&self, tenant: u32, route: u32, text: &str) -> io::Result<()> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &name(tenant), &routes());
        let patch = Patch::Merge(json!({"spec": spec(route, text)}));
        let patched = api.patch(&format!("route-{route}"), &PatchParams::default(), &patch).await;
        patched.map(drop).map_err(failed)
    }

    /// Notes when a watch of its own sees what a route says: so long, at least, the operator could not know it.
    ///
    /// # Errors
    /// When the server does not give one, or at its end.
    pub async fn watch(&self, seen: &Watched) -> io::Result<()> {
        let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &routes());
        let now = api.list(&ListParams::default().limit(1)).await.map_err(failed)?;
        let from = now.metadata.resource_version.unwrap_or_default();
        let mut events = std::pin::pin!(api.watch(&WatchParams::default(), &from).await.map_err(failed)?);
        while let Some(event) = events.try_next().await.map_err(failed)? {
            if let WatchEvent::Modified(object) = event
                && let Some(text) = object.data.pointer("/spec/rules/0/fallback/body").and_then(Value::as_str)
            {
                seen.note(text);
            }
        }
        Err(io::Error::other("the watch has ended"))
    }
}
