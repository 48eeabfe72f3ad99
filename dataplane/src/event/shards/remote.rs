//! A shard behind gRPC. What does not answer in time counts as away; nothing is asked twice by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use policy::error::chain;
use policy::names::TenantName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tonic::transport::{Channel, Endpoint};
use wire::spool::spool_client::SpoolClient;
use wire::spool::{Answer, Request};

use super::keeper::{Keeper, Kept};
use super::operate::{OperateError, Operated, Operation};
use super::{Identity, IdentityError};
use crate::event::outcomes::EventOutcome;
use crate::event::spool::{Ask, Numbered, Record, StoreId, Unreadable, Verdict};
use crate::event::{AcceptError, Accepted, Entry};

/// The largest message either way: a POST of the largest provider, several times over.
pub(super) const MAX_MESSAGE_BYTES: usize = 32 << 20;
/// Connecting, and one question.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(3);
/// A shard that did not answer is not asked for so long: nobody else should wait for it too.
const REST: Duration = Duration::from_millis(500);
/// A connection that says nothing is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Why nothing was accepted, as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Refused {
    NotDurable,
    Reserve,
    PendingFull(TenantName),
}

impl From<AcceptError> for Refused {
    fn from(error: AcceptError) -> Self {
        match error {
            // What the store said is in the shard's own log.
            AcceptError::NotDurable { cause: _ } => Self::NotDurable,
            AcceptError::Reserve => Self::Reserve,
            AcceptError::PendingFull { tenant } => Self::PendingFull(tenant),
        }
    }
}

impl From<Refused> for AcceptError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotDurable => Self::NotDurable { cause: None },
            Refused::Reserve => Self::Reserve,
            Refused::PendingFull(tenant) => Self::PendingFull { tenant },
        }
    }
}

/// What a shard says of an event, and which store it says that from.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) verdict: Verdict,
    pub(super) store: StoreId,
}

/// A shard in another process.
#[derive(Clone, Debug)]
pub struct Remote {
    address: Arc<str>,
    calls: Calls,
    keeper: Keeper,
}

/// What is asked of it.
#[derive(Clone, Debug)]
pub(super) struct Calls {
    name: Arc<str>,
    /// When it last failed to answer; 0: never.
    failed_ms: Arc<AtomicU64>,
    // Another one with another certificate; who asks meanwhile keeps the one that it has.
    client: Arc<ArcSwap<SpoolClient<Channel>>>,
}

/// Why a shard cannot be addressed.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Its address.
    #[error("shard {name}: write its address as https://HOST:PORT")]
    Address {
        /// The shard.
        name: Arc<str>,
        /// What is wrong.
        #[source]
        cause: tonic::transport::Error,
    },
    /// Its scheme: nothing of ours goes in the clear.
    #[error("shard {0}: write its address as https://HOST:PORT")]
    Clear(Arc<str>),
    /// The certificate to show.
    #[error("the certificate for asking shards")]
    Identity(#[from] IdentityError),
}

impl Remote {
    /// A shard at an address. It is connected to when it is first asked, and again whenever it must be; call it
    /// inside a runtime that lives as long.
    ///
    /// # Errors
    /// [`RemoteError`]
    pub fn new(name: Arc<str>, address: &str, identity: &Identity) -> Result<Self, RemoteError> {
        if !address.starts_with("https://") {
            return Err(RemoteError::Clear(name));
        }
        let client = Arc::new(ArcSwap::from_pointee(client(&name, address, identity)?));
        let calls = Calls { name, failed_ms: Arc::default(), client };
        Ok(Self { address: address.into(), keeper: Keeper::start(calls.clone()), calls })
    }

    /// Asks with this certificate from now on; what is under way is finished with the one before.
    pub(super) fn renew(&self, identity: &Identity) -> Result<(), RemoteError> {
        self.calls.client.store(Arc::new(client(&self.calls.name, &self.address, identity)?));
        Ok(())
    }

    pub(super) async fn append(&self, entries: Vec<Entry>) -> Result<Vec<Accepted>, AcceptError> {
        let mut client = self.calls.client();
        let heard = self.calls.heard(client.append(asked(&entries))).await;
        heard.unwrap_or(Err(Refused::NotDurable)).map_err(AcceptError::from)
    }

    pub(super) async fn keep(&self, events: Vec<Numbered>) -> Result<Vec<Accepted>, AcceptError> {
        self.keeper.keep(events).await
    }

    pub(super) async fn consult(&self, ask: Ask) -> Option<Said> {
        let mut client = self.calls.client();
        self.calls.heard::<Option<Said>>(client.consult(asked(&ask))).await.flatten()
    }

    pub(super) async fn record(&self, record: Record) -> bool {
        let mut client = self.calls.client();
        self.calls.heard(client.record(asked(&record))).await.unwrap_or(false)
    }

    pub(super) async fn bury(&self, unreadable: Unreadable) -> bool {
        let mut client = self.calls.client();
        self.calls.heard(client.bury(asked(&unreadable))).await.unwrap_or(false)
    }

    pub(super) async fn depths(&self, tenants: &[TenantName]) -> Option<Vec<u64>> {
        let mut client = self.calls.client();
        self.calls.heard(client.depths(asked(&tenants))).await
    }

    /// Writes outcomes to its log. A shard of an earlier version has none, which says nothing of its health.
    pub(super) async fn log_outcomes(&self, outcomes: &[EventOutcome]) -> bool {
        if self.calls.rests() {
            return false;
        }
        let mut client = self.calls.client();
        let answer = tokio::time::timeout(TIMEOUT, client.outcomes(asked(&outcomes))).await;
        matches!(answer, Ok(Ok(_)))
    }

    /// Asks what an operator asks.
    ///
    /// # Errors
    /// [`OperateError`]
    pub async fn operate(&self, operation: Operation) -> Result<Operated, OperateError> {
        let name = || self.calls.name.to_string();
        let mut client = self.calls.client();
        match self.calls.heard(client.operate(asked(&operation))).await {
            Some(Operated::Failed(why)) => Err(OperateError::Failed(name(), why)),
            Some(operated) => Ok(operated),
            None => Err(OperateError::Away(name())),
        }
    }
}

impl Calls {
    fn client(&self) -> SpoolClient<Channel> {
        SpoolClient::clone(&self.client.load())
    }

    /// Keeps the events of several POSTs; an answer for each.
    pub(super) async fn keep(&self, posts: &[Vec<Numbered>]) -> Option<Vec<Kept>> {
        let mut client = self.client();
        let heard: Vec<Result<Vec<Accepted>, Refused>> = self.heard(client.keep(asked(&posts))).await?;
        Some(heard.into_iter().map(|kept| kept.map_err(AcceptError::from)).collect())
    }

    fn rests(&self) -> bool {
        let failed = self.failed_ms.load(Ordering::Acquire);
        failed > 0 && u128::from(since_origin_ms().saturating_sub(failed)) < REST.as_millis()
    }

    async fn heard<T: DeserializeOwned>(
        &self,
        answer: impl Future<Output = Result<tonic::Response<Answer>, tonic::Status>>,
    ) -> Option<T> {
        if self.rests() {
            return None;
        }
        // The client's own timeout does not count what waits for a connection.
        let answer = tokio::time::timeout(TIMEOUT, answer).await;
        let answer = answer.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer in time")));
        let body = match answer {
            Ok(answer) => answer.into_inner().body,
            Err(status) => {
                self.failed_ms.store(since_origin_ms(), Ordering::Release);
                tracing::warn!(shard = &*self.name, code = ?status.code(), said = status.message(), "a shard does not answer");
                return None;
            }
        };
        rmp_serde::from_slice(&body)
            .inspect_err(|error| {
                tracing::error!(shard = &*self.name, error = chain(error), "a shard speaks another version");
            })
            .ok()
    }
}

fn client(name: &Arc<str>, address: &str, identity: &Identity) -> Result<SpoolClient<Channel>, RemoteError> {
    let wrong = |cause| RemoteError::Address { name: name.clone(), cause };
    let endpoint = Endpoint::from_shared(address.to_owned()).map_err(wrong)?;
    let endpoint = endpoint.tls_config(identity.client()?).map_err(wrong)?;
    let channel = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .http2_adaptive_window(true)
        .tcp_nodelay(true)
        .connect_lazy();
    Ok(SpoolClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES))
}

fn since_origin_ms() -> u64 {
    let since = crate::upstream::clock::since_origin(tokio::time::Instant::now());
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

fn asked<T: Serialize>(what: &T) -> Request {
    // Our own types always can be written; an empty body would be refused there.
    Request { body: rmp_serde::to_vec_named(what).unwrap_or_default().into() }
}
