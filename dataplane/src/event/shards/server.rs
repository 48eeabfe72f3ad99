//! A shard for other processes: who they are is in their certificates, and what they may ask follows from it.

use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::join_all;
use policy::error::chain;
use policy::names::TenantName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::CertificateDer;
use tonic::transport::server::TcpIncoming;
use tonic::{Response, Status};
use wire::spool::spool_server::{Spool, SpoolServer};
use wire::spool::{Answer, Request};

use super::operate::operated;
use super::remote::{MAX_MESSAGE_BYTES, Refused, Said};
use super::tls::{LOOK_EVERY, Watched};
use super::{Identity, IdentityError, Role};
use crate::event::outcomes::EventOutcome;
use crate::event::replay::Replays;
use crate::event::spool::{Numbered, Shard};
use crate::health::Health;

/// How long connections may take to end after the last answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions of one connection that are under way at once.
const MAX_CONCURRENT: usize = 256;

/// Why a shard cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket, or the thread.
    #[error("could not listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The certificate to show.
    #[error("the certificate of the shard")]
    Identity(#[from] IdentityError),
    /// What the certificate and its key are.
    #[error("the certificate of the shard cannot be used")]
    Tls(#[from] tonic::transport::Error),
}

/// The thread that answers.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Server {
    /// Serves a shard.
    ///
    /// # Errors
    /// [`ServeError`]
    pub fn start(
        address: SocketAddr,
        identity: &Identity,
        (shard, replays): (Arc<Shard>, Arc<Replays>),
        health: Arc<Health>,
    ) -> Result<Self, ServeError> {
        let listen = |cause| ServeError::Listen { address, cause };
        let socket = TcpListener::bind(address).and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        let socket = socket.map_err(listen)?;
        let address = socket.local_addr().map_err(listen)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(listen)?;
        let port = Port { address, socket, shard, replays };
        let watched = Watched::new(identity);
        let first = {
            let _inside = runtime.enter();
            port.open(identity)?
        };
        let (stop, stopped) = watch::channel(false);
        let run = move || {
            if let Err(error) = runtime.block_on(port.serve(watched, first, stopped)) {
                tracing::error!(error = chain(&error), "the shard is served no more");
                health.ended("spool server");
            }
        };
        let thread = std::thread::Builder::new().name("spool-server".to_owned()).spawn(run).map_err(listen)?;
        Ok(Self { address, stop, thread })
    }

    /// Answers what is under way, and ends. Blocks.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

/// Where the shard answers, whatever certificate it shows.
struct Port {
    address: SocketAddr,
    socket: TcpListener,
    shard: Arc<Shard>,
    replays: Arc<Replays>,
}

/// Connections that begin under one certificate.
struct Opened {
    served: Pin<Box<dyn Future<Output = Result<(), tonic::transport::Error>> + Send>>,
    over: watch::Sender<bool>,
}

impl Port {
    /// Takes connections with this certificate.
    fn open(&self, identity: &Identity) -> Result<Opened, ServeError> {
        let listen = |cause| ServeError::Listen { address: self.address, cause };
        let socket = tokio::net::TcpListener::from_std(self.socket.try_clone().map_err(listen)?).map_err(listen)?;
        let service = SpoolServer::new(Served(self.shard.clone(), self.replays.clone()))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let router = tonic::transport::Server::builder()
            .tls_config(identity.server()?)?
            .concurrency_limit_per_connection(MAX_CONCURRENT)
            .http2_adaptive_window(Some(true))
            .add_service(service);
        let (over, mut told) = watch::channel(false);
        let told = async move { drop(told.wait_for(|over| *over).await) };
        let incoming = TcpIncoming::from(socket).with_nodelay(Some(true));
        Ok(Opened { served: Box::pin(router.serve_with_incoming_shutdown(incoming, told)), over })
    }

    /// Serves until it is told to stop. With another certificate it begins anew on the same socket, and connections
    /// that began under the one before are asked to go when they have their answers.
    async fn serve(
        self,
        mut watched: Watched,
        first: Opened,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), tonic::transport::Error> {
        let mut serving = JoinSet::new();
        let mut over = first.over;
        serving.spawn(first.served);
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = looks.tick() => watched.look(self.shard.counters(), |identity| {
                    let next = self.open(identity)?;
                    serving.spawn(next.served);
                    // Its sender is dropped, and whoever waits for it is told.
                    over = next.over;
                    Ok::<_, ServeError>(())
                }),
                Some(ended) = serving.join_next() => match ended {
                    Ok(ended) => ended?,
                    Err(error) => tracing::error!(error = chain(&error), "a server ended"),
                },
                _ = stopped.wait_for(|stop| *stop) => break,
            }
        }
        drop(over);
        // Who does not let go of its connection is cut.
        let _ = tokio::time::timeout(PATIENCE, async { while serving.join_next().await.is_some() {} }).await;
        Ok(())
    }
}

struct Served(Arc<Shard>, Arc<Replays>);

#[tonic::async_trait]
impl Spool for Served {
    async fn append(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let entries = asked(request, &[Role::Gateway, Role::All])?;
        said(&self.0.append(entries).await.map_err(Refused::from))
    }

    async fn keep(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let posts: Vec<Vec<Numbered>> = asked(request, &[Role::Gateway, Role::All])?;
        let kept = join_all(posts.into_iter().map(|events| self.0.keep(events))).await;
        said(&kept.into_iter().map(|kept| kept.map_err(Refused::from)).collect::<Vec<_>>())
    }

    async fn consult(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let ask = asked(request, &[Role::Deliver, Role::Spool, Role::All])?;
        let store = self.0.store();
        said(&self.0.consult(ask).await.map(|verdict| Said { verdict, store }))
    }

    async fn bury(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let unreadable = asked(request, &[Role::Deliver, Role::All])?;
        said(&self.0.bury(unreadable).await)
    }

    async fn operate(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let operation = asked(request, &[Role::Operate])?;
        said(&operated(&self.0, &self.1, operation).await)
    }

    async fn depths(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let tenants: Vec<TenantName> = asked(request, &[Role::Gateway, Role::All])?;
        said(&self.0.depths(&tenants))
    }

    async fn outcomes(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let outcomes: Vec<EventOutcome> = asked(request, &[Role::Gateway, Role::Deliver, Role::All])?;
        self.0.log_outcomes(outcomes);
        said(&true)
    }

    async fn record(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let record = asked(request, &[Role::Deliver, Role::All])?;
        said(&self.0.record(record).await)
    }
}

/// What is asked, if the caller's certificate has one of these roles.
fn asked<T: DeserializeOwned>(request: tonic::Request<Request>, roles: &[Role]) -> Result<T, Status> {
    let certificates = request.peer_certs().unwrap_or_default();
    let names = |certificate: &CertificateDer<'_>| -> Vec<String> {
        let parsed = webpki::EndEntityCert::try_from(certificate);
        parsed.map(|parsed| parsed.valid_dns_names().map(str::to_owned).collect()).unwrap_or_default()
    };
    // The first certificate is the caller's own; the others lead to the authority.
    let held = certificates.first().map(names).unwrap_or_default();
    if !roles.iter().any(|role| held.contains(&role.name())) {
        return Err(Status::permission_denied("the certificate has no role that may ask this"));
    }
    rmp_serde::from_slice(&request.into_inner().body)
        .map_err(|error| Status::invalid_argument(format!("the question cannot be read: {error}")))
}

fn said<T: Serialize>(what: &T) -> Result<Response<Answer>, Status> {
    let body = rmp_serde::to_vec_named(what).map_err(|_| Status::internal("the answer cannot be written"))?;
    Ok(Response::new(Answer { body: body.into() }))
}
