//! Accepting beside a broker: claim, publish, and what the broker does not take goes to a shard.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use policy::names::TenantName;

use super::broker::{Outgoing, Publisher, partition_of};
use super::claim::{Claim, Claims, Confirmed, Key, Wanted, conversation_key, event_key};
use super::counters::add;
use super::die::{self, Point};
use super::shards::{Depths, NamedShard, Shards};
use super::spool::Numbered;
use super::{AcceptError, Accepted, Counters, Entry, Envelope, NewEvent};

/// What accepting beside a broker needs.
pub struct Brokered {
    /// Claims and numbers; without, every event is degraded.
    pub claims: Option<Claims>,
    /// To the broker.
    pub publisher: Arc<Publisher>,
    /// What the broker does not take.
    pub shards: Shards,
    /// What tenants have in shards of other processes.
    pub depths: Depths,
    /// Partitions of the installation.
    pub partitions: NonZeroU16,
    /// How long a POST waits to be made durable.
    pub patience: Duration,
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The last number that was given without a claim.
    pub last_degraded: AtomicI64,
}

/// What of a POST could not be made durable.
#[derive(Default)]
struct Failed {
    partitions: BTreeSet<u16>,
    first: Option<AcceptError>,
}

/// An entry on its way to be durable.
struct Underway {
    id: Key,
    partition: u16,
    numbered: Numbered,
}

impl Brokered {
    pub(super) async fn accept(&self, entries: Vec<Entry>) -> Result<(), AcceptError> {
        let durable = tokio::time::timeout(self.patience, self.make_durable(entries)).await;
        let result = durable.unwrap_or(Err(AcceptError::NotDurable { cause: None }));
        if result.is_err() {
            add(&self.counters.not_durable, 1);
        }
        result
    }

    async fn make_durable(&self, entries: Vec<Entry>) -> Result<(), AcceptError> {
        let (mut alive, mut dead) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry {
                Entry::Deliver(new) => alive.push(new),
                Entry::Dead { .. } => dead.push(entry),
            }
        }
        let underway = self.number(alive).await;
        die::at(Point::Claimed);
        if let Some(tenant) = self.full(&underway) {
            add(&self.counters.pending_full, 1);
            return Err(AcceptError::PendingFull { tenant });
        }
        let failed = self.publish(&underway).await;
        die::at(Point::Durable);
        if let Some(claims) = &self.claims {
            // Also when others failed: the sender repeats all of them, and these are durable. What has no claim is
            // not confirmed either: its number is nobody's memo.
            let durable = underway.iter().filter(|one| !failed.partitions.contains(&one.partition));
            claims.confirm(durable.filter(|one| !one.numbered.degraded).map(confirmed).collect());
        }
        let buried = self.bury(dead).await;
        failed.first.map_or(buried, Err)
    }

    /// A tenant whose events wait in shards or are dead up to its ceiling, as far as this process knows: what the broker
    /// would take of it could only come back there. What waits in the broker does not count.
    fn full(&self, underway: &[Underway]) -> Option<TenantName> {
        let held = |tenant: &TenantName| self.counters.depth_of(tenant).bytes.saturating_add(self.depths.of(tenant));
        let full = |new: &&NewEvent| held(&new.event.tenant) > new.pending_bytes;
        underway.iter().map(|one| &one.numbered.new).find(full).map(|new| new.event.tenant.clone())
    }

    /// Claims all entries; those whose id is confirmed are durable already and drop out.
    async fn number(&self, alive: Vec<NewEvent>) -> Vec<Underway> {
        let keys: Vec<_> = alive.iter().map(keys).collect();
        let claims = match &self.claims {
            Some(claims) if !alive.is_empty() => {
                let wanted = alive.iter().zip(&keys).map(|(new, (id, conversation))| Wanted {
                    tenant: new.event.tenant.clone(),
                    event: *id,
                    conversation: *conversation,
                });
                claims.claim(wanted.collect()).await.ok()
            }
            Some(_) | None => None,
        };
        let mut claims = claims.map(Vec::into_iter);
        let mut underway = Vec::with_capacity(alive.len());
        for (new, (id, conversation)) in alive.into_iter().zip(keys) {
            let claim = claims.as_mut().and_then(Iterator::next);
            let (sequence, previous, degraded) = match claim {
                Some(Claim::Confirmed) => {
                    add(&self.counters.duplicates, 1);
                    continue;
                }
                Some(Claim::New { sequence, previous } | Claim::TakenOver { sequence, previous }) => {
                    (sequence, previous, false)
                }
                None => {
                    add(&self.counters.degraded, 1);
                    (self.degraded_number(), None, true)
                }
            };
            let partition = partition_of(&conversation, self.partitions);
            let numbered = Numbered { new, sequence, previous, degraded };
            underway.push(Underway { id, partition, numbered });
        }
        underway
    }

    /// Rises within this gateway; says nothing across gateways.
    fn degraded_number(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let last = self.last_degraded.fetch_max(now, Ordering::AcqRel);
        if last < now { now } else { self.last_degraded.fetch_add(1, Ordering::AcqRel).saturating_add(1) }
    }

    /// Publishes, and keeps what could not be; says which partitions could do neither.
    async fn publish(&self, underway: &[Underway]) -> Failed {
        let mut failed = Failed::default();
        if underway.is_empty() {
            return failed;
        }
        let Ok(outgoing) = underway.iter().map(outgoing).collect::<Result<Vec<_>, _>>() else {
            failed.partitions.extend(underway.iter().map(|one| one.partition));
            failed.first = Some(AcceptError::NotDurable { cause: None });
            return failed;
        };
        // Half of the patience: what the broker does not say in time has to be kept in the other half.
        let published = tokio::time::timeout(self.patience / 2, self.publisher.publish(outgoing)).await;
        let mut outcomes = published.unwrap_or_default().into_iter();
        let mut left: BTreeMap<u16, Vec<Numbered>> = BTreeMap::new();
        for one in underway {
            // An outcome that nobody knows counts as none: a second copy carries the same id and number.
            match outcomes.next() {
                Some(Ok(())) => add(&self.counters.published, 1),
                Some(Err(_)) | None => left.entry(one.partition).or_default().push(one.numbered.clone()),
            }
        }
        for (partition, events) in left {
            let kept = self.at_a_shard(partition, async |shard| shard.keep(events.clone()).await).await;
            if let Err(error) = kept {
                failed.partitions.insert(partition);
                failed.first.get_or_insert(error);
            }
        }
        let durable = underway.iter().filter(|one| !failed.partitions.contains(&one.partition)).count();
        add(&self.counters.accepted, durable as u64);
        failed
    }

    /// Dead letters go to a shard at once.
    async fn bury(&self, dead: Vec<Entry>) -> Result<(), AcceptError> {
        let mut by_partition: BTreeMap<u16, Vec<Entry>> = BTreeMap::new();
        for entry in dead {
            let partition = partition_of(&keys(entry.parts().0).1, self.partitions);
            by_partition.entry(partition).or_default().push(entry);
        }
        for (partition, entries) in by_partition {
            self.at_a_shard(partition, async |shard| shard.append(entries.clone()).await).await?;
        }
        Ok(())
    }

    /// With the shard that the partition prefers, or the next that can.
    async fn at_a_shard(
        &self,
        partition: u16,
        write: impl AsyncFn(&NamedShard) -> Result<Vec<Accepted>, AcceptError>,
    ) -> Result<(), AcceptError> {
        let mut failed = AcceptError::NotDurable { cause: None };
        for shard in self.shards.for_partition(partition) {
            match write(shard).await {
                Ok(_) => return Ok(()),
                // A tenant that is full is full everywhere: its share is not multiplied by shards.
                Err(full @ AcceptError::PendingFull { .. }) => return Err(full),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

fn keys(new: &NewEvent) -> (Key, Key) {
    let event = &new.event;
    (event_key(event, false), conversation_key(&event.tenant, &event.source, &event.conversation))
}

fn confirmed(one: &Underway) -> Confirmed {
    Confirmed {
        tenant: one.numbered.new.event.tenant.clone(),
        event: one.id,
        dedupe_window: one.numbered.new.dedupe_window,
    }
}

fn outgoing(one: &Underway) -> Result<Outgoing, serde_json::Error> {
    let Numbered { new, sequence, previous, degraded } = &one.numbered;
    let envelope = Envelope {
        event: new.event.clone(),
        sequence: *sequence,
        previous: *previous,
        redelivered: false,
        gap: false,
        late: false,
        degraded: *degraded,
    };
    let body = Bytes::from(envelope.to_json()?);
    Ok(Outgoing { partition: one.partition, event_id: new.event.id.to_string(), body, headers: Vec::new() })
}
