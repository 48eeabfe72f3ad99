//! The shards of an installation, as gateways and delivers reach them: one in this process, or far away.

mod depths;
mod keeper;
mod operate;
mod remote;
mod role;
mod server;
mod tls;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::counters::add;
use super::outcomes::EventOutcome;
use super::spool::{Ask, Numbered, Record, Shard, StoreId, Unreadable, Verdict};
use super::{AcceptError, Accepted, Counters, Entry};
pub use depths::Depths;
pub use operate::{OperateError, Operated, Operation};
use policy::names::TenantName;
use remote::Said;
pub use remote::{Remote, RemoteError};
pub use role::Role;
pub use server::{ServeError, Server};
pub use tls::{Identity, IdentityError, Watched};

/// How often outcomes are brought to a shard.
const LOG_OUTCOMES: Duration = Duration::from_secs(1);

/// A shard, wherever it is.
#[derive(Clone)]
pub enum Reach {
    /// In this process.
    Here(Arc<Shard>),
    /// Behind gRPC.
    Far(Remote),
}

/// A shard with its name: the name stands in drained copies, so it outlives processes.
#[derive(Clone)]
pub struct NamedShard {
    /// Its name, the same for ever.
    pub name: Arc<str>,
    reach: Reach,
    seen: Arc<Seen>,
}

/// Which store a shard was heard to have.
#[derive(Debug, Default)]
struct Seen {
    store: Mutex<Option<StoreId>>,
    replaced: AtomicU64,
}

impl Seen {
    /// A shard, or a copy of what was drained from it, says which store it is.
    fn hear(&self, name: &str, store: StoreId) {
        let mut seen = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = seen.replace(store).filter(|before| *before != store) {
            add(&self.replaced, 1);
            tracing::error!(
                shard = name,
                %before,
                now = %store,
                "a shard has another store than before: what it owed is not known here, and may be missing"
            );
        }
    }
}

impl NamedShard {
    /// A shard under its name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, reach: Reach) -> Self {
        Self { name: name.into(), reach, seen: Arc::default() }
    }

    /// See [`Shard::append`].
    ///
    /// # Errors
    /// [`AcceptError`]
    pub async fn append(&self, entries: Vec<Entry>) -> Result<Vec<Accepted>, AcceptError> {
        match &self.reach {
            Reach::Here(shard) => shard.append(entries).await,
            Reach::Far(remote) => remote.append(entries).await,
        }
    }

    /// See [`Shard::keep`].
    ///
    /// # Errors
    /// [`AcceptError`]
    pub async fn keep(&self, events: Vec<Numbered>) -> Result<Vec<Accepted>, AcceptError> {
        match &self.reach {
            Reach::Here(shard) => shard.keep(events).await,
            Reach::Far(remote) => remote.keep(events).await,
        }
    }

    /// See [`Shard::consult`].
    pub async fn consult(&self, ask: Ask) -> Option<Verdict> {
        let drained_from = ask.row.and_then(|place| place.store);
        let (verdict, store) = match &self.reach {
            Reach::Here(shard) => (shard.consult(ask).await?, shard.store()),
            Reach::Far(remote) => {
                let Said { verdict, store } = remote.consult(ask).await?;
                (verdict, store)
            }
        };
        // What was drained from it is a witness too, of before this process began.
        if let Some(drained_from) = drained_from.filter(|_| self.heard().is_none()) {
            self.seen.hear(&self.name, drained_from);
        }
        self.seen.hear(&self.name, store);
        Some(verdict)
    }

    fn heard(&self) -> Option<StoreId> {
        *self.seen.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Shard::bury`].
    pub async fn bury(&self, unreadable: Unreadable) -> bool {
        match &self.reach {
            Reach::Here(shard) => shard.bury(unreadable).await,
            Reach::Far(remote) => remote.bury(unreadable).await,
        }
    }

    /// Writes outcomes to the shard's outcome log; they are lost when it does not take them.
    async fn log_outcomes(&self, outcomes: &[EventOutcome]) -> bool {
        match &self.reach {
            Reach::Here(shard) => {
                shard.log_outcomes(outcomes.to_vec());
                true
            }
            Reach::Far(remote) => remote.log_outcomes(outcomes).await,
        }
    }

    /// How many bytes of each of these tenants it holds, in their order; none when it does not answer. What a shard in
    /// this process holds is known without asking, so it says nothing of it.
    async fn depths(&self, tenants: &[TenantName]) -> Option<Vec<u64>> {
        match &self.reach {
            Reach::Here(_) => Some(vec![0; tenants.len()]),
            Reach::Far(remote) => remote.depths(tenants).await,
        }
    }

    /// See [`Shard::record`].
    pub async fn record(&self, record: Record) -> bool {
        match &self.reach {
            Reach::Here(shard) => shard.record(record).await,
            Reach::Far(remote) => remote.record(record).await,
        }
    }
}

/// All shards; each partition has its own order of preference among them.
#[derive(Clone)]
pub struct Shards(Arc<[NamedShard]>);

impl Shards {
    /// These shards.
    #[must_use]
    pub fn new(shards: Vec<NamedShard>) -> Self {
        Self(shards.into())
    }

    /// The one with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&NamedShard> {
        self.0.iter().find(|shard| &*shard.name == name)
    }

    /// Every shard.
    fn all(&self) -> &[NamedShard] {
        &self.0
    }

    /// How often one of them was found to have another store than before: emptied, or another's volume. Then "owes
    /// nothing" proves nothing.
    #[must_use]
    pub fn replaced(&self) -> u64 {
        self.0.iter().map(|shard| shard.seen.replaced.load(Ordering::Relaxed)).sum()
    }

    /// Takes a new certificate up for asking shards of other processes; for ever.
    pub async fn keep_certificate(self, mut watched: Watched, counters: Arc<Counters>) {
        loop {
            tokio::time::sleep(tls::LOOK_EVERY).await;
            watched.look(&counters, |identity| self.renew(identity));
        }
    }

    /// Brings what this process has recorded to the outcome logs of shards, to one after the other; for ever.
    pub async fn keep_outcomes(self, counters: Arc<Counters>) {
        for round in 0_u16.. {
            tokio::time::sleep(LOG_OUTCOMES).await;
            let outcomes = counters.outcomes.take();
            if outcomes.is_empty() {
                continue;
            }
            let mut logged = false;
            for shard in self.for_partition(round) {
                logged = shard.log_outcomes(&outcomes).await;
                if logged {
                    break;
                }
            }
            if !logged {
                counters.outcomes.lose(outcomes.len());
            }
        }
    }

    fn renew(&self, identity: &Identity) -> Result<(), RemoteError> {
        self.0.iter().try_for_each(|shard| match &shard.reach {
            Reach::Here(_) => Ok(()),
            Reach::Far(remote) => remote.renew(identity),
        })
    }

    /// Every shard, the one that a partition prefers first: rendezvous hashing, so that one more or one less
    /// moves only what it must.
    #[must_use]
    pub fn for_partition(&self, partition: u16) -> Vec<&NamedShard> {
        let mut ordered: Vec<_> = self.0.iter().map(|shard| (weight(&shard.name, partition), shard)).collect();
        ordered.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name)));
        ordered.into_iter().map(|(_, shard)| shard).collect()
    }
}

/// The same on every machine and in every version.
pub(crate) fn weight(name: &str, partition: u16) -> [u8; 16] {
    crate::event::claim::digest([b"rendezvous", name.as_bytes(), &partition.to_be_bytes()])
}

#[cfg(test)]
mod tests;
