//! Whether an event of the broker's may be attempted now.
//!
//! It may when the event that it follows is known to be delivered or dead; or when no shard owes its
//! conversation anything older and what it follows was claimed longer ago than the source waits for a gap.
//! What has no number of the shared claim goes by the order of its queue: behind whatever a shard owes.

use std::sync::Arc;
use std::time::Duration;

use super::now_us;
use super::partitions::{Held, Shared};
use crate::event::claim::Conversation;
use crate::event::spool::{Ask, Verdict};

/// How often a drained copy is looked at whose shard does not answer, a second apart.
const MAX_LOOKS: u32 = 20;

/// What becomes of an event before any attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is attempted.
    Go {
        /// What it follows is not known to be delivered or dead.
        gap: bool,
    },
    /// A shard has it now, durably, or it was settled before: the broker may forget it.
    Elsewhere,
    /// It waits in a shard for what it follows.
    AwaitGap {
        /// For so long.
        wait: Duration,
    },
    /// It waits in this shard, which may owe something older; unsure: so may another.
    Behind {
        /// The shard.
        shard: Arc<str>,
        /// Whether others have to be asked before it is attempted.
        unsure: bool,
    },
    /// No shard answers: it is looked at again.
    Hold,
}

/// Decides; asks Redis and the shards only when this deliver does not know itself.
pub(super) async fn turn(shared: &Shared, held: &Held, wait_for_gap: Duration) -> Turn {
    let envelope = &held.envelope;
    let mut done = shared.memory.borrow().done(&held.conversation);
    // A number says nothing of events outside its chain, so the shards are asked once before it is relied on.
    let clear = shared.memory.borrow().is_clear(&held.conversation);
    let follows =
        |done: Option<i64>| envelope.previous.is_some_and(|previous| done.is_some_and(|done| done >= previous));
    if clear && held.mark.is_none() && !envelope.degraded && follows(done) {
        return Turn::Go { gap: false };
    }
    match consult(shared, held).await {
        Consulted::Elsewhere => return Turn::Elsewhere,
        Consulted::Behind { shard, unsure } => return Turn::Behind { shard, unsure },
        Consulted::Nobody => return Turn::Hold,
        Consulted::Clear { done: settled, idle } => {
            done = done.max(settled);
            shared.memory.borrow_mut().set_clear(held.conversation, idle);
        }
    }
    if !follows(done)
        && envelope.previous.is_some()
        && let Some(recorded) = recorded(shared, held).await
    {
        shared.memory.borrow_mut().set_done(held.conversation, recorded);
        done = done.max(Some(recorded));
    }
    match envelope.previous {
        // The first of its conversation, or without a number of the shared claim.
        None => Turn::Go { gap: false },
        Some(_) if follows(done) => Turn::Go { gap: false },
        Some(previous) => {
            let waited = now_us().saturating_sub(previous);
            let most = i64::try_from(wait_for_gap.as_micros()).unwrap_or(i64::MAX);
            match u64::try_from(most.saturating_sub(waited)) {
                Ok(left) if left > 0 => Turn::AwaitGap { wait: Duration::from_micros(left.min(most.unsigned_abs())) },
                Ok(_) | Err(_) => Turn::Go { gap: true },
            }
        }
    }
}

/// The conversation's record in Redis.
async fn recorded(shared: &Shared, held: &Held) -> Option<i64> {
    let claims = shared.claims.as_ref()?;
    let conversation = Conversation { tenant: held.envelope.event.tenant.clone(), key: held.conversation };
    claims.done_up_to(&[conversation]).await.ok()?.into_iter().next().flatten()
}

enum Consulted {
    Clear {
        done: Option<i64>,
        idle: bool,
    },
    Elsewhere,
    /// A shard owes something older, or does not answer: the event waits in this shard. Unsure: in others too.
    Behind {
        shard: Arc<str>,
        unsure: bool,
    },
    Nobody,
}

/// Asks every shard. Nothing is attempted while one of them owes the conversation something older.
async fn consult(shared: &Shared, held: &Held) -> Consulted {
    // A shard that is no more cannot be told: then the copy is all there is.
    let own = held.mark.as_ref().filter(|mark| shared.shards.named(&mark.shard).is_some());
    let (mut done, mut idle) = (None, true);
    let (mut owing, mut silent, mut answering) = (Vec::new(), 0_usize, None);
    for shard in shared.shards.for_partition(held.partition) {
        let row = own.filter(|mark| mark.shard == shard.name).map(|mark| mark.row);
        let ask = Ask { envelope: held.envelope.clone(), row };
        let verdict = shard.consult(ask).await;
        if verdict.is_some() {
            answering = answering.or(Some(&shard.name));
        }
        match verdict {
            Some(Verdict::Clear { done: settled, idle: nothing }) => {
                done = done.max(settled);
                idle &= nothing;
            }
            Some(Verdict::Owed) => owing.push(&shard.name),
            // The shard has this very event, or had it: of a copy that is not its own, that says nothing yet.
            Some(Verdict::Kept { .. } | Verdict::Gone) if row.is_some() || own.is_none() => {
                return Consulted::Elsewhere;
            }
            Some(Verdict::Kept { .. } | Verdict::Gone) => {}
            // Its own shard owes it: when it stays away it has it drained again, and this copy is of no use.
            None if row.is_some() && held.looks >= MAX_LOOKS => return Consulted::Elsewhere,
            None if row.is_some() => return Consulted::Nobody,
            None => silent += 1,
        }
    }
    if owing.is_empty() && silent == 0 {
        return Consulted::Clear { done, idle };
    }
    // A drained copy waits where its row is; another one behind what is owed, or with whoever answers.
    let place = own.map(|mark| &mark.shard).or(owing.first().copied()).or(answering);
    let Some(shard) = place.cloned() else { return Consulted::Nobody };
    let others = owing.iter().filter(|name| ***name != shard).count();
    Consulted::Behind { shard, unsure: others + silent > 0 }
}
