//! What the pipeline sees: accept, and the answer is durable.

use std::sync::Arc;
use std::time::Duration;

use policy::names::TenantName;
use serde::{Deserialize, Serialize};

use super::spool::Shard;
use super::{Brokered, Event};

/// An event with what its source and tenant say about accepting it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// How long its id is remembered.
    pub dedupe_window: Duration,
    /// What its tenant may have in the spool, dead letters included.
    pub pending_bytes: u64,
}

/// One entry of a POST.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Entry {
    /// To be delivered.
    Deliver(NewEvent),
    /// Refused or unclaimed: a dead letter from the start.
    Dead {
        /// The entry.
        new: NewEvent,
        /// Why.
        reason: Arc<str>,
        /// How long it is kept.
        retention: Duration,
    },
}

impl Entry {
    pub(super) fn parts(&self) -> (&NewEvent, Option<(&str, Duration)>) {
        match self {
            Self::Deliver(new) => (new, None),
            Self::Dead { new, reason, retention } => (new, Some((reason, *retention))),
        }
    }
}

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Its number.
    pub sequence: i64,
    /// It was accepted before, under this number.
    pub duplicate: bool,
}

/// Why nothing of a POST was accepted. Each is a 503 with `Retry-After`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AcceptError {
    /// It could not be made durable, or not in time; it may be there nevertheless, and a retry finds out.
    #[error("the event could not be made durable")]
    NotDurable {
        /// What the store said.
        #[source]
        cause: Option<Arc<rusqlite::Error>>,
    },
    /// Half of the store is full.
    #[error("the spool has no room for new events")]
    Reserve,
    /// This tenant's share is full; others are served.
    #[error("tenant {tenant} has no room for new events")]
    PendingFull {
        /// Whose.
        tenant: TenantName,
    },
}

/// The event path, shared by all cores.
pub enum EventPath {
    /// The spool itself is the queue.
    Spool(Arc<Shard>),
    /// A broker is the queue; a shard keeps what it does not take.
    Broker(Box<Brokered>),
}

impl EventPath {
    /// Makes all entries of one POST durable, in their order.
    ///
    /// # Errors
    /// [`AcceptError`]; the POST is to be sent again then.
    pub async fn accept(&self, entries: Vec<Entry>) -> Result<(), AcceptError> {
        match self {
            Self::Spool(shard) => shard.append(entries).await.map(drop),
            Self::Broker(brokered) => brokered.accept(entries).await,
        }
    }
}
