//! Follows the operator: connects, says what it has, applies what is different, and says what became of it. For
//! ever: while the operator is away, what is in force stays.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use policy::error::chain;
use policy::names::TenantName;
use policy::snapshot::{Blob, IR_VERSION, TenantSnapshot};
use policy::upstream::{ServiceEndpoints, ServicePort};
use tokio::sync::{mpsc, watch};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status, Streaming};
use wire::push::from_operator::Message;
use wire::push::push_client::PushClient;
use wire::push::{self, FromDataplane, FromOperator, Hello, from_dataplane};

use super::{Answer, Change, Nack};
use crate::health::Health;

/// The largest message; as much as is read back from the volume.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// Messages that were received and are not applied yet.
const ON_THE_WAY: usize = 64;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that says nothing is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The rest between two tries is between nothing and this, and grows to the longest.
const FIRST_REST: Duration = Duration::from_millis(200);
const LONGEST_REST: Duration = Duration::from_secs(10);
/// Where a replica that does not publish names the one that does.
const PUBLISHER: &str = "postern-publisher";

/// Where the operator is, and how it is known.
#[derive(Clone, Debug)]
pub struct OperatorSettings {
    /// Its addresses, https://HOST:PORT; tried in turn.
    pub addresses: Vec<String>,
    /// The name in its certificate.
    pub server_name: String,
    /// PEM of its authority; read at every connect.
    pub ca_file: PathBuf,
    /// The token of this process's ServiceAccount; read at every connect.
    pub token_file: PathBuf,
    /// This process's name.
    pub name: String,
    /// This process is a gateway of the canary set.
    pub canary: bool,
    /// The tenants that it serves: a label selector as JSON; empty means all.
    pub tenants: String,
}

/// Applies what comes, and knows what is there.
pub trait Apply: Send + Sync {
    /// Applies changes in their order.
    fn apply(&self, changes: Vec<Change>) -> Vec<Answer>;
    /// What is there, for a publisher that is about to be followed.
    fn hello(&self) -> (Vec<push::Tenant>, Vec<ServicePort>);
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error("could not read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("could not connect to {0}")]
    Connect(String, #[source] tonic::transport::Error),
    #[error("the operator refused or ended the connection: {}", .0.message())]
    Refused(Box<Status>),
    #[error("the operator ended the connection")]
    Ended,
}

/// The thread that follows.
#[derive(Debug)]
pub struct Follow {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Follow {
    /// Starts to follow.
    ///
    /// # Errors
    /// When there is no runtime or thread to be had.
    pub fn start(settings: OperatorSettings, apply: Arc<dyn Apply>, health: Arc<Health>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, mut stopped) = watch::channel(false);
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = follow(&settings, &apply) => health.ended("follow"),
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            });
        };
        let thread = std::thread::Builder::new().name("follow".to_owned()).spawn(run)?;
        Ok(Self { stop, thread })
    }

    /// Follows no more. Blocks.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

/// For ever.
async fn follow(settings: &OperatorSettings, apply: &Arc<dyn Apply>) {
    let (mut rest, mut next, mut told) = (FIRST_REST, 0, String::new());
    let mut publisher = None;
    loop {
        let own = settings.addresses.get(next % settings.addresses.len().max(1)).cloned().unwrap_or_default();
        let address = publisher.take().unwrap_or(own);
        let mut complete = false;
        let Err(error) = connected(settings, &address, apply, &mut complete).await;
        next += 1;
        if complete {
            rest = FIRST_REST;
        }
        if let FollowError::Refused(status) = &error {
            let named = status.metadata().get(PUBLISHER).and_then(|value| value.to_str().ok());
            publisher = named.filter(|address| address.starts_with("https://")).map(str::to_owned);
        }
        let said = chain(&error);
        if said != told {
            tracing::warn!(address, error = said, "the operator is not followed; what is in force stays");
            told = said;
        }
        tokio::time::sleep(jittered(rest)).await;
        rest = (rest * 2).min(LONGEST_REST);
    }
}

/// Many dataplanes that lost one operator do not come back as one.
fn jittered(most: Duration) -> Duration {
    let random = uuid::Uuid::now_v7().as_u64_pair().1;
    let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(random % millis)
}

async fn connect(settings: &OperatorSettings, address: &str) -> Result<PushClient<Channel>, FollowError> {
    let authority = std::fs::read(&settings.ca_file);
    let authority = authority.map_err(|error| FollowError::Read(settings.ca_file.clone(), error))?;
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)).domain_name(&settings.server_name);
    let failed = |error| FollowError::Connect(address.to_owned(), error);
    let endpoint = Endpoint::from_shared(address.to_owned()).and_then(|endpoint| endpoint.tls_config(tls));
    let channel = endpoint
        .map_err(failed)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .http2_adaptive_window(true)
        .tcp_nodelay(true)
        .connect()
        .await
        .map_err(failed)?;
    let client = PushClient::new(channel);
    Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
}

/// One connection, to its end.
async fn connected(
    settings: &OperatorSettings,
    address: &str,
    apply: &Arc<dyn Apply>,
    complete: &mut bool,
) -> Result<std::convert::Infallible, FollowError> {
    let mut client = connect(settings, address).await?;
    let token = std::fs::read_to_string(&settings.token_file);
    let token = token.map_err(|error| FollowError::Read(settings.token_file.clone(), error))?;
    let (says, mut said) = mpsc::channel::<FromDataplane>(ON_THE_WAY);
    let (tenants, services) = apply.hello();
    let hello = Hello {
        name: settings.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ir_version: IR_VERSION,
        tenants,
        services: services.iter().map(to_wire).collect(),
        canary: settings.canary,
        selects: settings.tenants.clone(),
    };
    let hello = FromDataplane { message: Some(from_dataplane::Message::Hello(hello)) };
    says.send(hello).await.map_err(|_| FollowError::Ended)?;
    let mut request = Request::new(futures_util::stream::poll_fn(move |context| said.poll_recv(context)));
    let bearer = format!("Bearer {}", token.trim()).parse();
    if let Ok(bearer) = bearer {
        request.metadata_mut().insert("authorization", bearer);
    }
    let refused = |status| FollowError::Refused(Box::new(status));
    let sent = client.follow(request).await.map_err(refused)?.into_inner();
    tracing::info!(address, "the operator is followed");
    let (received, changes) = mpsc::channel(ON_THE_WAY);
    tokio::select! {
        ended = receive(sent, received) => Err(refused(ended)),
        () = applied(changes, says, apply, complete) => Err(FollowError::Ended),
    }
}

async fn receive(mut sent: Streaming<FromOperator>, received: mpsc::Sender<Message>) -> Status {
    loop {
        match sent.message().await {
            Ok(Some(FromOperator { message: Some(message) })) => {
                if received.send(message).await.is_err() {
                    return Status::cancelled("nobody applies it");
                }
            }
            // A message of a newer operator that is none for us.
            Ok(Some(FromOperator { message: None })) => {}
            Ok(None) => return Status::unavailable("the stream has ended"),
            Err(status) => return status,
        }
    }
}

/// Applies all that has come by now with one swap, and answers.
async fn applied(
    mut changes: mpsc::Receiver<Message>,
    says: mpsc::Sender<FromDataplane>,
    apply: &Arc<dyn Apply>,
    complete: &mut bool,
) {
    let mut messages = Vec::with_capacity(ON_THE_WAY);
    while changes.recv_many(&mut messages, ON_THE_WAY).await > 0 {
        let (mut all, mut unread) = (Vec::with_capacity(messages.len()), Vec::new());
        for message in messages.drain(..) {
            match read(message) {
                Ok(Some(change)) => all.push(change),
                Ok(None) => {}
                Err(answer) => unread.push(answer),
            }
        }
        *complete |= all.iter().any(|change| matches!(change, Change::Complete));
        let answers = apply.apply(all).into_iter().map(answer).chain(unread);
        for answer in answers {
            let said = FromDataplane { message: Some(from_dataplane::Message::Answer(answer)) };
            if says.send(said).await.is_err() {
                return;
            }
        }
    }
}

/// A message as a change; a tenant that cannot be read is refused by name, and its last good stays.
fn read(message: Message) -> Result<Option<Change>, push::Answer> {
    Ok(match message {
        Message::Tenant(push::TenantSnapshot { name, revision, body }) => {
            match Blob::from_bytes(body.to_vec()).decode::<TenantSnapshot>() {
                Ok(snapshot) => Some(Change::Tenant(Box::new(snapshot))),
                Err(error) => {
                    let reason = chain(&error);
                    tracing::error!(tenant = name, reason, "a tenant cannot be read; its last good stays");
                    let kind = policy::names::Kind::Tenant.to_string();
                    let nack =
                        push::Nack { kind, namespace: String::new(), name: name.clone(), warning: false, reason };
                    return Err(push::Answer { tenant: name, revision, nacks: vec![nack] });
                }
            }
        }
        Message::Removed(name) => TenantName::parse(&name).ok().map(Change::Removed),
        Message::Endpoints(body) => {
            let endpoints = Blob::from_bytes(body.to_vec()).decode::<ServiceEndpoints>();
            let endpoints = endpoints.inspect_err(|error| {
                tracing::error!(error = chain(error), "endpoints cannot be read");
            });
            endpoints.ok().map(Change::Endpoints)
        }
        Message::EndpointsRemoved(push::ServicePort { namespace, name, port }) => {
            let service = |port| ServicePort { namespace: namespace.into(), name: name.into(), port };
            u16::try_from(port).ok().map(service).map(Change::EndpointsRemoved)
        }
        Message::Complete(push::Complete {}) => Some(Change::Complete),
    })
}

fn answer(Answer { tenant, revision, nacks }: Answer) -> push::Answer {
    let revision = Some(push::Revision { term: revision.term, n: revision.n });
    let nack = |Nack { object, severity, reason }: Nack| push::Nack {
        kind: object.kind.to_string(),
        namespace: object.namespace.to_string(),
        name: object.name.to_string(),
        warning: severity == policy::problem::Severity::Warning,
        reason,
    };
    push::Answer { tenant: tenant.to_string(), revision, nacks: nacks.into_iter().map(nack).collect() }
}

fn to_wire(service: &ServicePort) -> push::ServicePort {
    let ServicePort { namespace, name, port } = service;
    push::ServicePort { namespace: namespace.to_string(), name: name.to_string(), port: u32::from(*port) }
}
