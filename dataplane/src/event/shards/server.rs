//! A shard for other processes: who they are is in their certificates, and what they may ask follows from it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use policy::names::TenantName;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tonic::transport::CertificateDer;
use tonic::transport::server::TcpIncoming;
use tonic::{Response, Status};
use wire::spool::spool_server::{Spool, SpoolServer};
use wire::spool::{Answer, Request};

use super::remote::{MAX_MESSAGE_BYTES, Refused};
use super::{Identity, IdentityError, Role};
use crate::event::spool::Shard;
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
        shard: Arc<Shard>,
        health: Arc<Health>,
    ) -> Result<Self, ServeError> {
        let listen = |cause| ServeError::Listen { address, cause };
        let tls = identity.server()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(listen)?;
        let incoming = {
            let _inside = runtime.enter();
            TcpIncoming::bind(address).map_err(listen)?.with_nodelay(Some(true))
        };
        let address = incoming.local_addr().map_err(listen)?;
        let service = SpoolServer::new(Served(shard))
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let router = tonic::transport::Server::builder()
            .tls_config(tls)?
            .concurrency_limit_per_connection(MAX_CONCURRENT)
            .http2_adaptive_window(Some(true))
            .add_service(service);
        let (stop, stopped) = watch::channel(false);
        let over = |mut stopped: watch::Receiver<bool>| async move { drop(stopped.wait_for(|stop| *stop).await) };
        let run = move || {
            let (told, late) = (over(stopped.clone()), over(stopped));
            let served = runtime.block_on(async {
                tokio::select! {
                    served = router.serve_with_incoming_shutdown(incoming, told) => served,
                    // Who does not let go of its connection is cut.
                    () = async { late.await; tokio::time::sleep(PATIENCE).await } => Ok(()),
                }
            });
            if let Err(error) = served {
                tracing::error!(error = &error as &dyn std::error::Error, "the shard is served no more");
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

struct Served(Arc<Shard>);

#[tonic::async_trait]
impl Spool for Served {
    async fn append(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let entries = asked(request, &[Role::Gateway, Role::All])?;
        said(&self.0.append(entries).await.map_err(Refused::from))
    }

    async fn keep(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let events = asked(request, &[Role::Gateway, Role::All])?;
        said(&self.0.keep(events).await.map_err(Refused::from))
    }

    async fn consult(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let ask = asked(request, &[Role::Deliver, Role::Spool, Role::All])?;
        said(&self.0.consult(ask).await)
    }

    async fn depths(&self, request: tonic::Request<Request>) -> Result<Response<Answer>, Status> {
        let tenants: Vec<TenantName> = asked(request, &[Role::Gateway, Role::All])?;
        said(&self.0.depths(&tenants))
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
