//! Outcomes: what became of every entry and of every attempt.
//!
//! An outcome is recorded in three places: a log line, a count by tenant and source, and a row in the outcome log of a
//! store, which `postern events find` reads. The process in which it happens records it: the store's writer for
//! entries that die at accept and for what an operator changes, a delivery worker for every attempt.
//!
//! The outcome log is lossy on purpose. Outcomes wait in memory, at most [`MAX_BUFFERED`] of them, for about a second
//! before they are written; a crash loses these, and an overflow is counted. Nothing that delivers an event depends on
//! the outcome log.

mod count;
mod line;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use policy::names::TenantName;
use serde::{Deserialize, Serialize};

use self::count::Counts;
pub use self::count::{Counted, OTHER_SOURCES};
use self::line::LineBudget;
use super::Event;
use super::spool::source_text;

/// Outcomes that wait to be written at most, about 2 MB.
const MAX_BUFFERED: usize = 8192;

/// The outcome of an entry or of an attempt. The numbers are stored in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The destination has the event.
    Delivered,
    /// An attempt failed and is repeated.
    Retried,
    /// The event is held back although no attempt failed.
    Parked,
    /// The event is a dead letter.
    Dead,
    /// The entry was left out of its POST.
    Refused,
    /// An operator had the dead letter delivered again.
    Replayed,
    /// An operator, or the end of its retention, removed the event.
    Dropped,
}

impl OutcomeKind {
    const ALL: [Self; 7] =
        [Self::Delivered, Self::Retried, Self::Parked, Self::Dead, Self::Refused, Self::Replayed, Self::Dropped];

    /// The word: label of the metric, and `outcome` of the log line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::Parked => "parked",
            Self::Dead => "dead",
            Self::Refused => "refused",
            Self::Replayed => "replayed",
            Self::Dropped => "dropped",
        }
    }

    /// The number in the file.
    pub(super) const fn number(self) -> i64 {
        match self {
            Self::Delivered => 0,
            Self::Retried => 1,
            Self::Parked => 2,
            Self::Dead => 3,
            Self::Refused => 4,
            Self::Replayed => 5,
            Self::Dropped => 6,
        }
    }

    /// The kind with this number; none for one of a later version.
    pub(super) fn read(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// The outcome of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventOutcome {
    /// When, in milliseconds since the epoch.
    pub at_ms: i64,
    /// What.
    pub kind: OutcomeKind,
    /// The event's tenant.
    pub tenant: TenantName,
    /// `namespace/name` of its source; `Route namespace/name` for a request that failed.
    pub source: Arc<str>,
    /// Its id.
    pub id: Arc<str>,
    /// Its CloudEvents `type`; empty where only the row was at hand.
    pub r#type: Arc<str>,
    /// `x-request-id` of the request that brought it.
    pub request_id: Option<Arc<str>>,
    /// Why; a word of a closed vocabulary.
    pub reason: Option<Arc<str>>,
    /// Attempts made so far.
    pub attempts: u32,
    /// The receiver's status.
    pub status: Option<u16>,
}

impl EventOutcome {
    /// The outcome of an event that was not attempted.
    #[must_use]
    pub fn of(event: &Event, kind: OutcomeKind, at_ms: i64) -> Self {
        Self {
            at_ms,
            kind,
            tenant: event.tenant.clone(),
            source: source_text(&event.source).into(),
            id: event.id.clone(),
            r#type: event.kind.clone(),
            request_id: event.request_id.clone(),
            reason: None,
            attempts: 0,
            status: None,
        }
    }

    /// The same outcome with its reason.
    #[must_use]
    pub fn because(mut self, reason: impl Into<Arc<str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// The same outcome with its attempts and the receiver's status.
    #[must_use]
    pub fn after(mut self, attempts: u32, status: Option<u16>) -> Self {
        (self.attempts, self.status) = (attempts, status);
        self
    }
}

/// The outcomes of one process.
#[derive(Debug, Default)]
pub struct Outcomes {
    counts: Mutex<Counts>,
    lines: Mutex<LineBudget>,
    buffered: Mutex<Vec<EventOutcome>>,
    lost: AtomicU64,
}

impl Outcomes {
    /// Records an outcome: logs it, counts it, and keeps it for the outcome log.
    pub fn record(&self, outcome: EventOutcome) {
        self.lock(&self.lines).write(&outcome);
        self.lock(&self.counts).add(&outcome);

        let mut buffered = self.lock(&self.buffered);
        if buffered.len() < MAX_BUFFERED {
            buffered.push(outcome);
        } else {
            self.lose(1);
        }
    }

    /// Takes what is to be written to an outcome log.
    #[must_use]
    pub fn take(&self) -> Vec<EventOutcome> {
        std::mem::take(&mut *self.lock(&self.buffered))
    }

    /// These are in no outcome log.
    pub fn lose(&self, outcomes: usize) {
        self.lost.fetch_add(outcomes as u64, Ordering::Relaxed);
    }

    /// Outcomes that are in no outcome log, since start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Counts since start, by tenant, source, kind and reason.
    #[must_use]
    pub fn counted(&self) -> Vec<Counted> {
        self.lock(&self.counts).all()
    }

    #[expect(clippy::unused_self, reason = "reads as the lock of one of its parts")]
    fn lock<'m, T>(&self, part: &'m Mutex<T>) -> std::sync::MutexGuard<'m, T> {
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
