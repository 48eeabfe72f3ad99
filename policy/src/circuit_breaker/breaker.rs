//! Decides whether an upstream may be asked, from how its last requests ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;

use super::CircuitBreakerIr;
use super::window::Window;

/// Whether an answer counts against the upstream: 500, 502, 503 and 504. Others of the 5xx class (501, 505,
/// 507, 511) speak of the request and not of the upstream's health. Besides answers, connects that fail,
/// connections that break, timeouts and malformed answers count; what the caller causes does not.
#[must_use]
pub fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// What a breaker does with the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Lets it through.
    Closed,
    /// Refuses it.
    Open,
    /// Lets a few through, to see.
    HalfOpen,
}

impl BreakerState {
    /// The word for it in metrics and on the admin port.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The no of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the circuit breaker is open")]
pub struct BreakerOpen {
    /// When another try makes sense; never zero.
    pub retry_after: Duration,
}

/// When trials hold every place, the next caller comes back after this.
const TRIALS_RUNNING_RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Phase {
    Closed,
    Open { until: Duration },
    HalfOpen { running: u32, succeeded: u32 },
}

#[derive(Debug)]
struct Core {
    phase: Phase,
    /// Raised at each transition: an outcome of an earlier phase says nothing about this one.
    epoch: u64,
    in_a_row: u32,
    window: Window,
}

impl Core {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
    }
}

/// The breaker of one upstream, shared by the cores. Every `now` is a duration since one origin.
#[derive(Debug)]
pub struct Breaker {
    ir: CircuitBreakerIr,
    core: Mutex<Core>,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(ir: CircuitBreakerIr) -> Self {
        let window = Window::new(ir.window_ms);
        let core = Core { phase: Phase::Closed, epoch: 0, in_a_row: 0, window };
        Self { ir, core: Mutex::new(core) }
    }

    /// What it was built from.
    #[must_use]
    pub fn ir(&self) -> &CircuitBreakerIr {
        &self.ir
    }

    /// Lets a request through, or says when to come back. The permit takes the outcome; a permit that is
    /// dropped without one (the caller left) gives its place back and counts as nothing.
    ///
    /// # Errors
    /// [`BreakerOpen`]
    pub fn admit(self: &Arc<Self>, now: Duration) -> Result<Permit, BreakerOpen> {
        let mut core = self.lock();
        if let Phase::Open { until } = core.phase {
            if now < until {
                return Err(BreakerOpen { retry_after: until - now });
            }
            core.enter(Phase::HalfOpen { running: 0, succeeded: 0 });
        }
        if let Phase::HalfOpen { running, succeeded } = &mut core.phase {
            if *running + *succeeded >= self.ir.half_open_requests.max(1) {
                return Err(BreakerOpen { retry_after: TRIALS_RUNNING_RETRY });
            }
            *running += 1;
        }
        Ok(Permit { breaker: Arc::clone(self), epoch: core.epoch, told: false })
    }

    /// What it would do now.
    #[must_use]
    pub fn state(&self, now: Duration) -> BreakerState {
        match self.lock().phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { until } if now < until => BreakerState::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn tell(&self, epoch: u64, now: Duration, failed: bool) -> Option<BreakerState> {
        let mut core = self.lock();
        if core.epoch != epoch {
            return None;
        }
        match &mut core.phase {
            Phase::Open { .. } => {}
            Phase::HalfOpen { .. } if failed => self.open(&mut core, now),
            Phase::HalfOpen { running, succeeded } => {
                *running = running.saturating_sub(1);
                *succeeded += 1;
                if *succeeded >= self.ir.half_open_requests.max(1) {
                    core.window.clear();
                    core.in_a_row = 0;
                    core.enter(Phase::Closed);
                }
            }
            Phase::Closed => {
                core.window.record(now, failed);
                core.in_a_row = if failed { core.in_a_row.saturating_add(1) } else { 0 };
                if failed && self.trips(&mut core, now) {
                    self.open(&mut core, now);
                }
            }
        }
        (core.epoch != epoch).then_some(match core.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { .. } => BreakerState::Open,
            Phase::HalfOpen { .. } => BreakerState::HalfOpen,
        })
    }

    fn trips(&self, core: &mut Core, now: Duration) -> bool {
        if self.ir.consecutive_failures != 0 && core.in_a_row >= self.ir.consecutive_failures {
            return true;
        }
        let (all, failed) = core.window.totals(now);
        all >= u64::from(self.ir.min_requests) && failed * 100 >= all * u64::from(self.ir.failure_percent)
    }

    fn open(&self, core: &mut Core, now: Duration) {
        core.enter(Phase::Open { until: now + Duration::from_millis(self.ir.open_for_ms.max(1)) });
    }

    fn release(&self, epoch: u64) {
        let mut core = self.lock();
        if core.epoch == epoch
            && let Phase::HalfOpen { running, .. } = &mut core.phase
        {
            *running = running.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // Nothing between lock and unlock can leave the counts half-changed in a way that matters.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that a breaker let through.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once tells the breaker nothing"]
pub struct Permit {
    breaker: Arc<Breaker>,
    epoch: u64,
    told: bool,
}

impl Permit {
    /// The upstream did what it should. Returns the state that the breaker changed to, if it did.
    pub fn succeed(mut self, now: Duration) -> Option<BreakerState> {
        self.told = true;
        self.breaker.tell(self.epoch, now, false)
    }

    /// The upstream failed. Returns the state that the breaker changed to, if it did.
    pub fn fail(mut self, now: Duration) -> Option<BreakerState> {
        self.told = true;
        self.breaker.tell(self.epoch, now, true)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.told {
            self.breaker.release(self.epoch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn breaker() -> Arc<Breaker> {
        Arc::new(Breaker::new(CircuitBreakerIr {
            failure_percent: 50,
            min_requests: 4,
            window_ms: 1000,
            consecutive_failures: 3,
            open_for_ms: 500,
            half_open_requests: 2,
        }))
    }

    fn open(b: &Arc<Breaker>) {
        for _ in 0..3 {
            b.admit(at(0)).unwrap().fail(at(0));
        }
        assert_eq!(b.state(at(0)), BreakerState::Open);
    }

    #[test]
    fn failures_in_a_row_open_it_and_it_says_when_to_come_back() {
        let b = breaker();
        open(&b);
        assert_eq!(b.admit(at(100)).unwrap_err().retry_after, at(400));
    }

    #[test]
    fn the_rate_opens_it_once_there_are_enough_requests() {
        let b = breaker();
        b.admit(at(0)).unwrap().fail(at(0));
        b.admit(at(0)).unwrap().succeed(at(0));
        b.admit(at(0)).unwrap().succeed(at(0));
        assert_eq!(b.state(at(0)), BreakerState::Closed);
        b.admit(at(0)).unwrap().fail(at(0));
        assert_eq!(b.state(at(0)), BreakerState::Open);
    }

    #[test]
    fn what_left_the_window_no_longer_counts() {
        let b = breaker();
        b.admit(at(0)).unwrap().fail(at(0));
        b.admit(at(0)).unwrap().fail(at(0));
        b.admit(at(0)).unwrap().succeed(at(0));
        b.admit(at(1500)).unwrap().fail(at(1500));
        assert_eq!(b.state(at(1500)), BreakerState::Closed);
    }

    #[test]
    fn trials_close_it_when_all_succeed_and_one_failure_opens_it_again() {
        let b = breaker();
        open(&b);
        let (one, two) = (b.admit(at(500)).unwrap(), b.admit(at(500)).unwrap());
        assert!(b.admit(at(500)).is_err(), "no more than half_open_requests at once");
        one.succeed(at(501));
        two.succeed(at(501));
        assert_eq!(b.state(at(501)), BreakerState::Closed);
        open(&b);
        b.admit(at(600)).unwrap().fail(at(600));
        assert_eq!(b.state(at(601)), BreakerState::Open);
    }

    #[test]
    fn a_dropped_trial_gives_its_place_back() {
        let b = breaker();
        open(&b);
        for _ in 0..10 {
            drop(b.admit(at(500)).unwrap());
        }
        b.admit(at(500)).unwrap().succeed(at(500));
        b.admit(at(500)).unwrap().succeed(at(500));
        assert_eq!(b.state(at(500)), BreakerState::Closed);
    }

    #[test]
    fn an_outcome_of_an_earlier_phase_is_not_believed() {
        let b = breaker();
        let late = b.admit(at(0)).unwrap();
        open(&b);
        let trial = b.admit(at(500)).unwrap();
        late.fail(at(500));
        assert_eq!(b.state(at(500)), BreakerState::HalfOpen);
        trial.succeed(at(500));
    }
}
