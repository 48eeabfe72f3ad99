//! What the broker gave up, made a dead letter of a shard: an event that was delivered too often, or no event at all.
//!
//! It is acknowledged when a shard has it durably, and not before: behind the broker's dead-letter queue there is no
//! other. Nothing here is attempted, so nothing goes round in a circle.

use std::time::Duration;

use policy::error::chain;
use tokio::sync::mpsc;

use super::partitions::{Held, Shared, mark, settled};
use super::pauses::{Bounds, pause};
use super::turn::{Consulted, consult};
use super::{lag, now_ms};
use crate::event::Envelope;
use crate::event::broker::Delivered;
use crate::event::claim::{conversation_key, event_key};
use crate::event::outcomes::{EventOutcome, OutcomeKind};
use crate::event::spool::{Death, LastAttempt, Settlement, Unreadable};

/// Why the broker gave a message up, as it says itself.
const REASON_HEADER: &str = "x-first-death-reason";
/// For how long a dead letter is kept whose source is not configured now.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);
/// How soon it is tried again when no shard takes it: at first, and at most.
const PAUSES: Bounds = (Duration::from_secs(1), Duration::from_secs(60));

/// Takes what the broker gave up, one after the other.
pub(super) async fn bury_all(shared: &Shared, mut given_up: mpsc::Receiver<Delivered>) {
    while let Some(delivered) = given_up.recv().await {
        bury(shared, delivered).await;
    }
}

async fn bury(shared: &Shared, delivered: Delivered) {
    // A tick that nobody consumed in time is worth nothing.
    if lag::tick(&delivered).is_some() {
        return delivered.ack();
    }
    let lost = delivered.cancelled();
    let mut held = match Envelope::from_json(&delivered.body) {
        Ok(envelope) => Ok(held(delivered, envelope)),
        Err(error) => {
            tracing::error!(error = chain(&error), "the broker gave up a message that is no event");
            Err((Unreadable { body: delivered.body.clone(), problem: chain(&error) }, delivered))
        }
    };
    let durable = async {
        for tries in 0.. {
            let durable = match &mut held {
                Ok(held) => {
                    held.looks = tries;
                    is_dead(shared, held).await
                }
                Err((unreadable, _)) => is_aside(shared, unreadable).await,
            };
            if durable {
                return;
            }
            tokio::time::sleep(pause(PAUSES, tries)).await;
        }
    };
    tokio::select! {
        biased;
        // Its channel is gone: it comes again, to us or another.
        () = lost => return,
        () = durable => {}
    }
    match held {
        Ok(held) => held.delivered.ack(),
        Err((_, delivered)) => delivered.ack(),
    }
}

fn held(delivered: Delivered, envelope: Envelope) -> Held {
    let event = &envelope.event;
    let conversation = conversation_key(&event.tenant, &event.source, &event.conversation);
    let (partition, mark) = (delivered.partition, mark(&delivered));
    Held { delivered, envelope, conversation, partition, mark, looks: 0, unrecorded: 0, taken: 0 }
}

/// Whether the event is durably dead, or known to be elsewhere.
async fn is_dead(shared: &Shared, held: &Held) -> bool {
    let event = &held.envelope.event;
    if shared.memory.borrow().was_delivered(&event_key(event, false), held.envelope.sequence) {
        return shared.settle_mark(held).await;
    }
    match consult(shared, held).await {
        // A shard owes it, and attempts it; or it was settled before.
        Consulted::Elsewhere => return true,
        Consulted::Nobody => return false,
        Consulted::Clear { .. } | Consulted::Behind { .. } => {}
    }
    let reason = held.delivered.headers.get(REASON_HEADER).map_or("unknown", String::as_str);
    let death = if reason == "delivery_limit" { Death::DeliveryLimit } else { Death::GivenUp };
    let retention = shared.destinations.get(&event.tenant, &event.source);
    let retention = retention.map_or(RETENTION, |destination| destination.retention);
    let expires_ms = now_ms().saturating_add(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX));
    let last = LastAttempt { attempts: 0, status: None, answer: format!("the broker gave it up: {reason}") };
    let dead = settled(held.envelope.clone(), Settlement::Dead { last, death, expires_ms });
    let durable = shared.record(held, dead, None).await;
    if durable {
        let outcome = EventOutcome::of(event, OutcomeKind::Dead, now_ms());
        shared.counters.outcomes.record(outcome.because(death.as_str()));
        shared.done(held);
    }
    durable
}

/// Whether a shard has set a message aside that is no event.
async fn is_aside(shared: &Shared, unreadable: &Unreadable) -> bool {
    for shard in shared.shards.for_partition(0) {
        if shard.bury(unreadable.clone()).await {
            return true;
        }
    }
    false
}
