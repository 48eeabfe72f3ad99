//! What the pipeline sees: accept, and the answer is durable.

use std::sync::Arc;
use std::time::Duration;

use policy::names::TenantName;
use policy::refusal::Reason;
use policy::webhook_source::EntryIdentifiers;
use serde::{Deserialize, Serialize};

use super::spool::Shard;
use super::{Brokered, Counters, Event};

/// An event with what its source and tenant say about accepting it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// How long its id is remembered.
    pub dedupe_window: Duration,
    /// What its tenant may have in the spool, dead letters included.
    pub pending_bytes: u64,
    /// On a shared source: when the tenant is full, the event is a dead letter that is kept for so long, so that the
    /// neighbours of its POST are accepted. On others the POST is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_when_full: Option<Duration>,
}

impl NewEvent {
    /// The dead letter that stands in for an event of a full tenant.
    fn dead_when_full(self) -> Entry {
        match self.dead_when_full {
            Some(retention) => {
                let reason = Reason::PendingFull.word().into();
                Entry::Dead { new: self, reason, retention, violations: None, origin: None }
            }
            None => Entry::Deliver(self),
        }
    }
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
        /// Where it does not fit its schema: JSON text, as the response to an API call lists it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        violations: Option<Arc<str>>,
        /// The entry's origin; `None` for a request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        origin: Option<Box<Origin>>,
    },
}

/// The tenant of an entry when it was refused. A replay decides again and compares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The identifiers in the entry that name its tenant, as received.
    pub identifiers: EntryIdentifiers,
    /// The tenant that claimed it.
    pub owner: Option<TenantName>,
}

/// Why an entry is a dead letter from the start, and for how long it is kept.
#[derive(Clone, Copy)]
pub(super) struct Dead<'e> {
    pub(super) reason: &'e Arc<str>,
    pub(super) retention: Duration,
    pub(super) violations: Option<&'e str>,
}

impl Entry {
    pub(super) fn parts(&self) -> (&NewEvent, Option<Dead<'_>>) {
        match self {
            Self::Deliver(new) => (new, None),
            Self::Dead { new, reason, retention, violations, origin: _ } => {
                (new, Some(Dead { reason, retention: *retention, violations: violations.as_deref() }))
            }
        }
    }

    pub(super) fn origin(&self) -> Option<&Origin> {
        match self {
            Self::Deliver(_) => None,
            Self::Dead { origin, .. } => origin.as_deref(),
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

/// A POST is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    /// Entries of a full tenant are dead letters.
    pub pending_full: bool,
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
    /// Makes all entries of one POST durable, in their order. Where a tenant is full, its entries of a shared source are
    /// dead letters, from a reserve. Where that is used up, too, the entries of the other tenants are durable
    /// nevertheless: the POST comes again, for as long as that lasts, and must not hold them up.
    ///
    /// # Errors
    /// [`AcceptError`]; the POST is to be sent again then.
    pub async fn accept(&self, mut entries: Vec<Entry>) -> Result<Durable, AcceptError> {
        let (mut durable, mut refused) = (Durable::default(), None);
        while several_tenants(&entries) || entries.iter().any(dies_when_full) {
            match self.accept_all(entries.clone()).await {
                Err(AcceptError::PendingFull { tenant }) => {
                    let is_full = |entry: &Entry| entry.parts().0.event.tenant == tenant;
                    if entries.iter().any(|entry| is_full(entry) && dies_when_full(entry)) {
                        durable.pending_full = true;
                        entries = entries
                            .into_iter()
                            .map(|entry| if is_full(&entry) { dead(entry) } else { entry })
                            .collect();
                    } else {
                        entries.retain(|entry| !is_full(entry));
                        refused = refused.or(Some(AcceptError::PendingFull { tenant }));
                    }
                }
                Ok(()) => return refused.map_or(Ok(durable), Err),
                Err(error) => return Err(error),
            }
        }
        match (self.accept_all(entries).await, refused) {
            (Ok(()), Some(refused)) => Err(refused),
            (Ok(()), None) => Ok(durable),
            (Err(error), _) => Err(error),
        }
    }

    /// Returns the counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        match self {
            Self::Spool(shard) => shard.counters(),
            Self::Broker(brokered) => &brokered.counters,
        }
    }

    async fn accept_all(&self, entries: Vec<Entry>) -> Result<(), AcceptError> {
        match self {
            Self::Spool(shard) => shard.append(entries).await.map(drop),
            Self::Broker(brokered) => brokered.accept(entries).await,
        }
    }
}

/// Returns whether the entry may become a dead letter instead of refusing its POST.
fn dies_when_full(entry: &Entry) -> bool {
    matches!(entry, Entry::Deliver(new) if new.dead_when_full.is_some())
}

fn dead(entry: Entry) -> Entry {
    match entry {
        Entry::Deliver(new) => new.dead_when_full(),
        dead @ Entry::Dead { .. } => dead,
    }
}

fn several_tenants(entries: &[Entry]) -> bool {
    let mut tenants = entries.iter().map(|entry| &entry.parts().0.event.tenant);
    let first = tenants.next();
    tenants.any(|tenant| Some(tenant) != first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample::event;
    use crate::event::spool::Settings;
    use crate::event::spool::operate::{Filter, list};

    #[test]
    fn a_full_tenant_holds_up_nobody_of_the_same_post() {
        let dir = tempfile::tempdir().unwrap();
        let shard = Arc::new(Shard::open(Settings::new(dir.path())).unwrap());
        let path = EventPath::Spool(shard.clone());
        let full = Entry::Deliver(NewEvent { pending_bytes: 1, ..event("acme", "a", "1", 10) });
        let other = |id| Entry::Deliver(event("globex", "a", id, 10));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let said = runtime.block_on(path.accept(vec![other("2"), full, other("3")]));
        assert!(matches!(said, Err(AcceptError::PendingFull { ref tenant }) if tenant.as_str() == "acme"), "{said:?}");
        let kept = list(dir.path(), &Filter::default(), 0, 10).unwrap();
        assert_eq!(kept.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["2", "3"]);
        drop(path);
        Arc::into_inner(shard).unwrap().shutdown();
    }
}
