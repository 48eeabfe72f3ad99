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
pub(super) const MAX_LOOKS: u32 = 20;

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
    shared.memory.borrow_mut().hear_replaced(shared.shards.replaced());
    let mut done = shared.memory.borrow().done(&held.conversation);
    // A number says nothing of events outside its chain, so the shards are asked once before it is relied on.
    let clear = shared.memory.borrow().is_clear(&held.conversation);
    let follows =
        |done: Option<i64>| envelope.previous.is_some_and(|previous| done.is_some_and(|done| done >= previous));
    if clear && held.mark.is_none() && !envelope.degraded && follows(done) {
        return Turn::Go { gap: false };
    }
    let unproven;
    match consult(shared, held).await {
        Consulted::Elsewhere => return Turn::Elsewhere,
        Consulted::Behind { shard, unsure } => return Turn::Behind { shard, unsure },
        Consulted::Nobody => return Turn::Hold,
        Consulted::Clear { done: settled, idle } => {
            done = done.max(settled);
            shared.memory.borrow_mut().hear_replaced(shared.shards.replaced());
            unproven = shared.memory.borrow_mut().is_unproven(held.conversation);
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
        // The first of its conversation, or without a number of the shared claim: that follows whatever a shard owed,
        // and one that has another store now cannot say what that was.
        None => Turn::Go { gap: envelope.degraded && unproven },
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

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Consulted {
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

/// What one shard says of an event.
struct Answer<'s> {
    shard: &'s Arc<str>,
    /// The event is a drained copy of a row there.
    own: bool,
    /// None when it does not answer.
    verdict: Option<Verdict>,
}

/// Asks every shard. Nothing is attempted while one of them owes the conversation something older.
pub(super) async fn consult(shared: &Shared, held: &Held) -> Consulted {
    let mut answers = Vec::new();
    for shard in shared.shards.for_partition(held.partition) {
        let row = held.mark.as_ref().filter(|mark| mark.shard == shard.name).map(|mark| mark.place);
        let verdict = shard.consult(Ask { envelope: held.envelope.clone(), row }).await;
        answers.push(Answer { shard: &shard.name, own: row.is_some(), verdict });
    }
    judge(&answers, held.looks)
}

/// What follows from all answers.
fn judge(answers: &[Answer<'_>], looks: u32) -> Consulted {
    // A shard that is no more is not among them and cannot be told: then the copy is all there is.
    let own = answers.iter().find(|answer| answer.own);
    let (mut done, mut idle) = (None, true);
    let (mut owing, mut silent) = (Vec::new(), 0_usize);
    for Answer { shard, own: is_own, verdict } in answers {
        match verdict {
            Some(Verdict::Clear { done: settled, idle: nothing }) => {
                done = done.max(*settled);
                idle &= nothing;
            }
            Some(Verdict::Owed) => owing.push(*shard),
            Some(Verdict::Kept { .. } | Verdict::Gone) if *is_own || own.is_none() => return Consulted::Elsewhere,
            // It is in another shard as well; what is older there comes before it here too.
            Some(Verdict::Kept { behind: true }) => owing.push(*shard),
            Some(Verdict::Kept { behind: false } | Verdict::Gone) => idle = false,
            // Its own shard owes it: when it stays away it has it drained again, and this copy is of no use.
            None if *is_own && looks >= MAX_LOOKS => return Consulted::Elsewhere,
            None if *is_own => return Consulted::Nobody,
            None => silent += 1,
        }
    }
    if owing.is_empty() && silent == 0 {
        return Consulted::Clear { done, idle };
    }
    // A drained copy waits where its row is; another one behind what is owed, or with whoever answers.
    let answering = answers.iter().find(|answer| answer.verdict.is_some());
    let place = own.map(|answer| answer.shard).or(owing.first().copied()).or(answering.map(|answer| answer.shard));
    let Some(shard) = place.cloned() else { return Consulted::Nobody };
    let others = owing.iter().filter(|name| ***name != shard).count();
    Consulted::Behind { shard, unsure: others + silent > 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: Option<Verdict> = Some(Verdict::Clear { done: Some(7), idle: true });
    const OWED: Option<Verdict> = Some(Verdict::Owed);

    fn kept(behind: bool) -> Option<Verdict> {
        Some(Verdict::Kept { behind })
    }

    /// The answers of two shards to an event that is, or is not, a drained copy of the first.
    fn judged(drained: bool, verdicts: [Option<Verdict>; 2], looks: u32) -> Consulted {
        let names: [Arc<str>; 2] = ["spool-0".into(), "spool-1".into()];
        let [first, second] = verdicts;
        let answers = [
            Answer { shard: &names[0], own: drained, verdict: first },
            Answer { shard: &names[1], own: false, verdict: second },
        ];
        judge(&answers, looks)
    }

    fn behind(shard: &str, unsure: bool) -> Consulted {
        Consulted::Behind { shard: shard.into(), unsure }
    }

    #[test]
    fn it_goes_when_every_shard_owes_nothing_older() {
        assert_eq!(judged(false, [CLEAR, CLEAR], 0), Consulted::Clear { done: Some(7), idle: true });
        assert_eq!(judged(true, [CLEAR, kept(false)], 0), Consulted::Clear { done: Some(7), idle: false });
    }

    #[test]
    fn it_waits_where_something_older_is_owed_and_asks_the_others_again() {
        assert_eq!(judged(false, [CLEAR, OWED], 0), behind("spool-1", false));
        assert_eq!(judged(false, [OWED, OWED], 0), behind("spool-0", true));
        assert_eq!(judged(false, [None, OWED], 0), behind("spool-1", true));
        assert_eq!(judged(false, [None, CLEAR], 0), behind("spool-1", true));
        assert_eq!(judged(false, [None, None], 0), Consulted::Nobody);
    }

    #[test]
    fn a_copy_waits_with_its_row_also_behind_what_is_older_in_another_shard() {
        assert_eq!(judged(true, [CLEAR, OWED], 0), behind("spool-0", true));
        assert_eq!(judged(true, [OWED, CLEAR], 0), behind("spool-0", false));
        assert_eq!(judged(true, [CLEAR, kept(true)], 0), behind("spool-0", true));
    }

    #[test]
    fn a_copy_whose_shard_is_away_is_held_for_a_while_and_then_left_to_it() {
        assert_eq!(judged(true, [None, CLEAR], 0), Consulted::Nobody);
        assert_eq!(judged(true, [None, CLEAR], MAX_LOOKS), Consulted::Elsewhere);
        assert_eq!(judged(true, [Some(Verdict::Gone), CLEAR], 0), Consulted::Elsewhere);
        assert_eq!(judged(false, [CLEAR, kept(true)], 0), Consulted::Elsewhere);
    }
}
