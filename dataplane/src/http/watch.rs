//! What one connection is doing and since when, so that slow ones are cut without a timer each.
//!
//! One sweep a core looks at all of its connections a few times a second. A request registers no timer and
//! pays a few stores into memory that its own core holds.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::task::AtomicWaker;
use policy::refusal::Refusal;

use super::limits::HttpLimits;

/// Milliseconds since the core began; moved on by its sweep.
#[derive(Clone, Debug, Default)]
pub struct Ticks(Arc<AtomicU64>);

impl Ticks {
    /// Now, as coarse as the sweep.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Moves the clock.
    pub fn set(&self, now_ms: u64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }
}

/// What the reading side waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Phase {
    /// The next request: nothing of it has come.
    Idle,
    /// The rest of a head.
    Head,
    /// More of a body.
    Body,
    /// Nothing: the request is being answered, or the connection was upgraded.
    Busy,
}

const NOT_WRITING: u64 = u64::MAX;

/// A body has a clock of its own, which answers 408. The sweep ends a connection only where nobody watches the body.
const BODY_MARGIN: std::time::Duration = std::time::Duration::from_secs(2);

/// One connection as the sweep sees it, shared with the gate in front of its parser.
#[derive(Debug)]
pub struct Watch {
    ticks: Ticks,
    phase: AtomicU8,
    since: AtomicU64,
    writing_since: AtomicU64,
    /// Requests that are being answered: the caller waits for us, not we for it.
    answering: AtomicU32,
    /// The connection waits for its caller's bytes; false while nobody reads them.
    reading: AtomicBool,
    cut: AtomicBool,
    upgraded: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// The head that was refused, by its number on the connection, and why.
    refused: Mutex<Option<(u64, Refusal)>>,
}

impl Watch {
    /// A connection that has said nothing yet.
    #[must_use]
    pub fn new(ticks: Ticks) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Head as u8),
            since: AtomicU64::new(ticks.now()),
            writing_since: AtomicU64::new(NOT_WRITING),
            answering: AtomicU32::new(0),
            reading: AtomicBool::new(true),
            cut: AtomicBool::new(false),
            upgraded: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
            refused: Mutex::new(None),
            ticks,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        if self.phase.swap(phase as u8, Ordering::Relaxed) != phase as u8 {
            self.since.store(self.ticks.now(), Ordering::Relaxed);
        }
    }

    /// Returns whether the body of a request has not all been read.
    pub(crate) fn expects_body(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == Phase::Body as u8
    }

    /// A body made progress.
    pub(super) fn progress(&self) {
        self.reading.store(false, Ordering::Relaxed);
        self.since.store(self.ticks.now(), Ordering::Relaxed);
    }

    pub(super) fn writing(&self, stalled: bool) {
        if !stalled {
            self.writing_since.store(NOT_WRITING, Ordering::Relaxed);
        } else if self.writing_since.load(Ordering::Relaxed) == NOT_WRITING {
            self.writing_since.store(self.ticks.now(), Ordering::Relaxed);
        }
    }

    pub(super) fn wait_to_read(&self, waker: &std::task::Waker) {
        self.reading.store(true, Ordering::Relaxed);
        self.reader.register(waker);
    }

    pub(super) fn wait_to_write(&self, waker: &std::task::Waker) {
        self.writer.register(waker);
    }

    /// An upgrade was accepted: the connection speaks something else from now on.
    pub fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Relaxed);
        self.enter(Phase::Busy);
        self.reader.wake();
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Relaxed)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    pub(super) fn refuse(&self, head: u64, refusal: Refusal) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some((head, refusal));
    }

    /// Why the head with this number was refused, if it was.
    #[must_use]
    pub fn refusal_of(&self, head: u64) -> Option<Refusal> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.take_if(|(number, _)| *number == head).map(|(_, refusal)| refusal)
    }

    /// A request is answered from now on until what this returns is dropped, which begins the rest after it.
    pub(crate) fn answer(self: &Arc<Self>) -> Answering {
        self.answering.fetch_add(1, Ordering::Relaxed);
        Answering(Arc::clone(self))
    }

    /// Cuts the connection when it has waited too long for its caller. Whether it was cut.
    pub fn sweep(&self, limits: &HttpLimits) -> bool {
        let now = self.ticks.now();
        let over = |since: u64, limit: std::time::Duration| u128::from(now.saturating_sub(since)) > limit.as_millis();
        let phase = match self.phase.load(Ordering::Relaxed) {
            // While a request is answered nothing has to come; only its own body may be missing.
            phase if phase != Phase::Body as u8 && self.answering.load(Ordering::Relaxed) > 0 => Phase::Busy as u8,
            phase => phase,
        };
        let body = limits.stall_timeout + BODY_MARGIN;
        let limit = [limits.idle_timeout, limits.head_timeout, body].get(usize::from(phase)).copied();
        // A body that nobody reads waits for the gateway, not for its caller.
        let waits = phase != Phase::Body as u8 || self.reading.load(Ordering::Relaxed);
        let read_late = waits && limit.is_some_and(|limit| over(self.since.load(Ordering::Relaxed), limit));
        let write_late = match self.writing_since.load(Ordering::Relaxed) {
            NOT_WRITING => false,
            since => over(since, limits.stall_timeout),
        };
        if read_late || write_late {
            self.cut();
        }
        read_late || write_late
    }

    /// Ends the connection at once.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
        self.reader.wake();
        self.writer.wake();
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Answering(Arc<Watch>);

impl Drop for Answering {
    fn drop(&mut self) {
        let Self(watch) = self;
        if watch.answering.fetch_sub(1, Ordering::Relaxed) == 1 {
            watch.progress();
        }
    }
}
