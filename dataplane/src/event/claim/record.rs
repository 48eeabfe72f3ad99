//! What is written in the background: confirmed ids, and how far each conversation is delivered.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use policy::names::TenantName;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::Key;
use super::link::pause;
use super::redis::{CONVERSATION_KEPT, Conversation, Shared};
use super::script::Call;
use crate::event::counters::add;

/// What one call writes at most, so that no script holds Redis up for more than a millisecond.
const WRITTEN_AT_ONCE: usize = 32;
/// What is taken from the queue at once.
const TAKEN_AT_ONCE: usize = 1024;
/// How long one call may take. Nobody waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// An event that is durable.
#[derive(Clone, Debug)]
pub struct Confirmed {
    /// Whose.
    pub tenant: TenantName,
    /// Which.
    pub event: Key,
    /// How long its id is remembered.
    pub dedupe_window: Duration,
}

/// One thing to write.
#[derive(Debug)]
pub(super) enum Record {
    Confirmed(Confirmed),
    Delivered(Conversation, i64),
}

/// What one tenant's calls write.
#[derive(Default)]
struct Batch {
    confirmed: Vec<(Key, Duration)>,
    delivered: BTreeMap<Key, i64>,
}

enum Write {
    Confirm(Call),
    Deliver(Call),
}

/// Writes what is queued, in batches, until it is stopped. While Redis is away the queue fills.
pub(super) async fn write(mut queue: mpsc::Receiver<Record>, shared: &Shared) {
    let mut records = Vec::with_capacity(TAKEN_AT_ONCE);
    loop {
        // What is queued comes first: who stops has it written.
        let taken = tokio::select! {
            biased;
            taken = queue.recv_many(&mut records, TAKEN_AT_ONCE) => taken,
            () = shared.stopped() => 0,
        };
        if taken == 0 {
            return;
        }
        let mut batches = BTreeMap::<TenantName, Batch>::new();
        for record in records.drain(..) {
            match record {
                Record::Confirmed(Confirmed { tenant, event, dedupe_window }) => {
                    batches.entry(tenant).or_default().confirmed.push((event, dedupe_window));
                }
                Record::Delivered(Conversation { tenant, key }, sequence) => {
                    let last = batches.entry(tenant).or_default().delivered.entry(key).or_insert(sequence);
                    *last = sequence.max(*last);
                }
            }
        }
        let mut writes: Vec<Write> = batches.iter().flat_map(|(tenant, batch)| batch.writes(tenant, shared)).collect();
        write_all(&mut writes, shared).await;
        // The memos say the same for ten minutes.
        add(&shared.counters.records_dropped, writes.iter().map(|write| write.records() as u64).sum());
    }
}

/// Writes until all is written, or until who stops would wait for a Redis that is away. Each can be written
/// twice: an id is confirmed once, a number only rises.
async fn write_all(writes: &mut Vec<Write>, shared: &Shared) {
    let mut attempt = 0;
    loop {
        tokio::select! {
            biased;
            _ = shared.link.connected() => {}
            () = shared.stopped() => return,
        }
        let done = join_all(writes.iter().map(|write| write.run(shared))).await;
        let mut done = done.into_iter();
        writes.retain(|_| done.next() == Some(false));
        if writes.is_empty() {
            return;
        }
        tokio::select! {
            () = sleep(pause(attempt)) => attempt = attempt.saturating_add(1),
            () = shared.stopped() => return,
        }
    }
}

impl Batch {
    fn writes(&self, tenant: &TenantName, shared: &Shared) -> Vec<Write> {
        let layout = &shared.layout;
        let confirm = |ids: &[(Key, Duration)]| {
            let mut call = Call::default();
            call.keys.push(layout.record(tenant));
            call.number(shared.max_ids_per_tenant);
            for (event, window) in ids {
                call.keys.push(layout.memo(tenant, event));
                call.keys.extend(layout.buckets(tenant, event));
                call.arguments.push(event.to_vec());
                call.number(window.as_millis());
            }
            Write::Confirm(call)
        };
        let deliver = |numbers: &[(&Key, &i64)]| {
            let mut call = Call::default();
            call.number(CONVERSATION_KEPT.as_millis());
            for (conversation, sequence) in numbers {
                call.keys.push(layout.conversation(tenant, conversation));
                call.number(sequence);
            }
            Write::Deliver(call)
        };
        let delivered: Vec<_> = self.delivered.iter().collect();
        let confirms = self.confirmed.chunks(WRITTEN_AT_ONCE).map(confirm);
        confirms.chain(delivered.chunks(WRITTEN_AT_ONCE).map(deliver)).collect()
    }
}

impl Write {
    fn records(&self) -> usize {
        match self {
            Self::Confirm(call) => (call.arguments.len() - 1) / 2,
            Self::Deliver(call) => call.arguments.len() - 1,
        }
    }

    async fn run(&self, shared: &Shared) -> bool {
        let written = async {
            let mut connection = shared.link.connection()?;
            let answer = match self {
                Self::Confirm(call) => call.run(&shared.scripts.confirm, &mut connection).await,
                Self::Deliver(call) => call.run(&shared.scripts.delivered, &mut connection).await,
            };
            answer.inspect_err(|_| shared.link.suspect()).ok()
        };
        let answer = timeout(PATIENCE, written).await.ok().flatten();
        if let Some(forgotten) = answer.as_ref().and_then(|value| redis::from_redis_value_ref::<u64>(value).ok()) {
            add(&shared.counters.ids_forgotten, forgotten);
        }
        answer.is_some()
    }
}
