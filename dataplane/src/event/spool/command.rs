//! What the spool's thread is told, and how it answers.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::SpoolError;
use super::operate::Change;
use super::replay::{Revival, Revived};
use crate::event::outcomes::EventOutcome;
use crate::event::{AcceptError, Accepted, Counters, Entry, Envelope, NewEvent};

/// Why an event that was to be delivered is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Death {
    /// The last attempt failed.
    OutOfAttempts,
    /// The destination answered 410.
    Gone,
    /// It cannot be written as a CloudEvent.
    Malformed,
    /// The broker delivered it too often, to whom it was never done with.
    DeliveryLimit,
    /// The broker gave it up for another reason.
    GivenUp,
}

impl Death {
    /// The reason, as label and column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutOfAttempts => "out_of_attempts",
            Self::Gone => "gone",
            Self::Malformed => "malformed",
            Self::DeliveryLimit => "delivery_limit",
            Self::GivenUp => "given_up",
        }
    }

    pub(super) fn counter(self) -> Count {
        match self {
            Self::OutOfAttempts => |counters| &counters.dead_attempts,
            Self::Gone => |counters| &counters.dead_gone,
            Self::Malformed => |counters| &counters.dead_malformed,
            Self::DeliveryLimit => |counters| &counters.dead_delivery_limit,
            Self::GivenUp => |counters| &counters.dead_given_up,
        }
    }
}

/// What is known of an event's last attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastAttempt {
    /// Attempts made so far.
    pub attempts: u32,
    /// The answer's status; none when there was no answer.
    pub status: Option<u16>,
    /// The beginning of the answer, or what went wrong.
    pub answer: String,
}

/// What became of an event that was attempted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Settlement {
    /// The destination has it; its row goes.
    Delivered,
    /// It is tried again.
    Parked {
        /// The attempt that failed.
        last: LastAttempt,
        /// When it is due, in milliseconds since the epoch.
        due_ms: i64,
    },
    /// It is tried no more.
    Dead {
        /// The attempt that failed.
        last: LastAttempt,
        /// Why.
        death: Death,
        /// When the dead letter is dropped, in milliseconds since the epoch.
        expires_ms: i64,
    },
    /// Its row is set aside.
    Damaged,
}

/// Which total a change counts in.
pub(super) type Count = fn(&Counters) -> &AtomicU64;

pub(crate) type AcceptReply = oneshot::Sender<Result<Vec<Accepted>, AcceptError>>;

/// An event that has its number already, for a shard to keep.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Numbered {
    /// The event.
    pub new: NewEvent,
    /// Its number.
    pub sequence: i64,
    /// The number that it follows.
    pub previous: Option<i64>,
    /// It was numbered without the shared claim.
    pub degraded: bool,
}

/// Which store this is: drawn when its file is made, and the same for as long as that exists. A shard's name outlives
/// its volume; this does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreId(pub(crate) i64);

impl std::fmt::Display for StoreId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl StoreId {
    /// What [`Self::to_string`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        i64::from_str_radix(text, 16).ok().map(Self)
    }
}

/// A row of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Of which store; a copy of an older version does not say.
    pub store: Option<StoreId>,
    /// The row there.
    pub row: i64,
}

/// Where a drained copy came from: it is settled there before the broker forgets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The shard's name.
    pub shard: Arc<str>,
    /// Its row there.
    pub place: Place,
}

/// What a deliver asks of a shard about an event that it holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// The event.
    pub envelope: Envelope,
    /// Its row here, when it is a drained copy of this shard.
    pub row: Option<Place>,
}

/// What a shard says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Nothing older is owed here.
    Clear {
        /// The last number of the conversation that was settled here.
        done: Option<i64>,
        /// Nothing of the conversation is owed here at all.
        idle: bool,
    },
    /// Something older is owed here.
    Owed,
    /// The event itself is here, and its turn comes from here.
    Kept {
        /// Something older is owed here too.
        behind: bool,
    },
    /// Its row was settled before: the event is delivered or dead.
    Gone,
}

/// An event of the broker's that becomes a shard's, with what is known of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The event.
    pub envelope: Envelope,
    /// Its row here, when it is a drained copy of this shard.
    pub row: Option<Place>,
    /// What became of it; of an event that has no row here, only parked and dead say anything.
    pub settlement: Settlement,
    /// Another shard did not answer: it has to before this event is attempted.
    pub unsure: bool,
}

/// A message of the broker's that nobody can make an event of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unreadable {
    /// The message.
    pub body: Bytes,
    /// What is wrong with it.
    pub problem: String,
}

pub(crate) enum Command {
    Append {
        entries: Vec<Entry>,
        reply: AcceptReply,
    },
    Keep {
        events: Vec<Numbered>,
        reply: AcceptReply,
    },
    Consult {
        ask: Box<Ask>,
        reply: oneshot::Sender<Option<Verdict>>,
    },
    Record {
        record: Box<Record>,
        reply: oneshot::Sender<bool>,
    },
    /// A message of the broker's that is no event.
    Bury {
        unreadable: Unreadable,
        reply: oneshot::Sender<bool>,
    },
    /// These rows are in the broker now.
    Drained {
        rows: Vec<i64>,
        reply: oneshot::Sender<bool>,
    },
    Settle {
        row: i64,
        settlement: Settlement,
        reply: oneshot::Sender<bool>,
    },
    Change {
        change: Change,
        reply: oneshot::Sender<Result<u64, SpoolError>>,
    },
    /// For the outcome log.
    Outcomes(Vec<EventOutcome>),
    /// Dead letters that are delivered again.
    Revive {
        revivals: Vec<Revival>,
        reply: oneshot::Sender<Result<Vec<Revived>, SpoolError>>,
    },
    /// Retention and bounds, when there is no traffic to carry them.
    Tidy,
    Stop,
}
