//! What a shard's own deliver does differently beside a broker: it drains, and asks before it attempts.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use policy::error::chain;

use super::partitions::{ROW_HEADER, SHARD_HEADER, STORE_HEADER};
use super::{Settlement, Shared};
use crate::event::broker::{NotPublished, Outgoing, Publisher, State, partition_of};
use crate::event::claim::{Claims, Conversation, conversation_key};
use crate::event::counters::add;
use crate::event::die::{self, Point};
use crate::event::shards::Shards;
use crate::event::spool::{Ask, LastAttempt, Pending, Read, StoreId, Verdict};
use crate::event::{Counters, Envelope, Key};

/// How soon something is looked at again that waits for another shard.
pub(super) const HOLD: Duration = Duration::from_secs(1);
/// Events drained together; the next ones follow when these are confirmed.
const DRAINED_AT_ONCE: usize = 512;
/// The least time from one such batch to the next, 20,000 events a second: what was kept must not crowd out what
/// comes in.
const DRAIN_EVERY: Duration = Duration::from_millis(25);
/// How soon what the broker did not take is tried again.
const DRAIN_RETRY: Duration = Duration::from_millis(500);

/// The broker's side of a shard.
pub struct Beside {
    /// This shard's name.
    pub name: Arc<str>,
    /// Its store.
    pub store: StoreId,
    /// All shards, this one among them.
    pub shards: Shards,
    /// Records of conversations.
    pub claims: Option<Claims>,
    /// To the broker.
    pub publisher: Arc<Publisher>,
    /// Partitions of the installation.
    pub partitions: NonZeroU16,
    /// What is counted.
    pub counters: Arc<Counters>,
}

impl Beside {
    /// Whether nobody else owes the conversation something older; takes back a gap that has closed.
    pub(super) async fn may_go(&self, conversation: &Key, pending: &mut Pending) -> bool {
        if pending.unsure && !self.others_are_clear(&pending.envelope).await {
            return false;
        }
        // A shard that came back with another store may have owed something older: it cannot say.
        pending.envelope.gap |= pending.unsure && self.shards.replaced() > 0;
        if pending.envelope.gap {
            let done = self.recorded(conversation, &pending.envelope).await;
            let previous = pending.envelope.previous;
            pending.envelope.gap = done.is_none_or(|done| previous.is_some_and(|previous| done < previous));
            add(&self.counters.gaps, u64::from(pending.envelope.gap && pending.attempts == 0));
        }
        true
    }

    async fn others_are_clear(&self, envelope: &Envelope) -> bool {
        let partition = self.partition(envelope);
        for shard in self.shards.for_partition(partition) {
            if shard.name == self.name {
                continue;
            }
            // By number alone, also without a claimed one: two shards must not wait for each other.
            let ask = Ask { envelope: Envelope { degraded: false, ..envelope.clone() }, row: None };
            match shard.consult(ask).await {
                Some(Verdict::Clear { .. }) => {}
                // It was parked in both, when one did not answer: the one whose name comes first goes.
                Some(Verdict::Kept { behind: false }) if self.name < shard.name => {}
                Some(Verdict::Owed | Verdict::Kept { .. } | Verdict::Gone) | None => return false,
            }
        }
        true
    }

    async fn recorded(&self, conversation: &Key, envelope: &Envelope) -> Option<i64> {
        let conversation = Conversation { tenant: envelope.event.tenant.clone(), key: *conversation };
        self.claims.as_ref()?.done_up_to(&[conversation]).await.ok()?.into_iter().next().flatten()
    }

    /// The conversation's record, for those that deliver what follows.
    pub(super) fn done(&self, conversation: &Key, envelope: &Envelope) {
        if let Some(claims) = &self.claims {
            let conversation = Conversation { tenant: envelope.event.tenant.clone(), key: *conversation };
            claims.delivered(conversation, envelope.sequence);
        }
    }

    fn partition(&self, envelope: &Envelope) -> u16 {
        let event = &envelope.event;
        partition_of(&conversation_key(&event.tenant, &event.source, &event.conversation), self.partitions)
    }
}

/// Hands what the broker did not take to the broker, in order, at a bounded rate; for ever.
pub(super) async fn drain(shared: &Shared) {
    let Some(beside) = &shared.beside else { return std::future::pending().await };
    // What one partition does not take must not hold up the others: it is passed over until the next round.
    let mut after = 0;
    let mut broker = beside.publisher.states();
    loop {
        // What waits for long is many: it is not read again and again for a broker that is away.
        if broker.wait_for(|state| *state == State::Connected).await.is_err() {
            return std::future::pending().await;
        }
        let began = tokio::time::Instant::now();
        let again = match shared.queue.next_spooled(after, DRAINED_AT_ONCE) {
            Ok(batch) if batch.is_empty() && after == 0 => {
                shared.queue.spooled().await;
                continue;
            }
            Ok(batch) if batch.is_empty() => {
                after = 0;
                began + DRAIN_RETRY
            }
            Ok(batch) => {
                let last = batch.last().map_or(0, Read::row);
                let all = drain_batch(shared, beside, batch).await;
                after = if all { after } else { last };
                began + DRAIN_EVERY
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "what is kept for the broker could not be read");
                began + DRAIN_RETRY
            }
        };
        tokio::time::sleep_until(again).await;
    }
}

/// Whether the broker has all of it now, and that is noted.
async fn drain_batch(shared: &Shared, beside: &Beside, batch: Vec<Read>) -> bool {
    let (mut rows, mut outgoing) = (Vec::new(), Vec::new());
    for read in batch {
        let (row, drained) = match read {
            Read::Whole(pending) => (pending.row, beside.copy(&pending)),
            Read::Damaged(row) => (row, None),
        };
        match drained {
            Some(copy) => {
                rows.push(row);
                outgoing.push(copy);
            }
            None => {
                tracing::error!(row, "an event is damaged and set aside; `postern events ls --state damaged` lists it");
                shared.queue.settle(row, Settlement::Damaged).await;
            }
        }
    }
    let published = beside.publisher.publish(outgoing).await;
    die::at(Point::Drained);
    for (row, outcome) in rows.iter().zip(&published) {
        if *outcome == Err(NotPublished::TooLarge) {
            // It would never fit, and holds up its partition: it is attempted from here.
            let last =
                LastAttempt { attempts: 0, status: None, answer: "not attempted: too large for the broker".into() };
            shared.queue.settle(*row, Settlement::Parked { last, due_ms: super::now_ms() }).await;
        }
    }
    let taken: Vec<i64> = rows.iter().zip(&published).filter(|(_, taken)| taken.is_ok()).map(|(row, _)| *row).collect();
    let all = taken.len() == rows.len();
    add(&beside.counters.drained, taken.len() as u64);
    // Should this fail, they are drained again: a repeat, under the same ids and numbers.
    let noted = taken.is_empty() || shared.queue.drained(taken).await;
    all && noted
}

impl Beside {
    fn copy(&self, pending: &Pending) -> Option<Outgoing> {
        Some(Outgoing {
            partition: self.partition(&pending.envelope),
            event_id: pending.envelope.event.id.to_string(),
            body: pending.envelope.to_json().ok()?.into(),
            headers: vec![
                (SHARD_HEADER, self.name.to_string()),
                (ROW_HEADER, pending.row.to_string()),
                (STORE_HEADER, self.store.to_string()),
            ],
        })
    }
}
