//! How many retries an upstream may get: a share of its requests, and always a few.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::RetryIr;

/// Requests of this many seconds earn retries; what they earned before is forgotten.
const WINDOW_SECS: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    requests: u64,
    retries: u64,
}

#[derive(Debug, Default)]
struct Core {
    seconds: [Second; WINDOW_SECS],
    newest: u64,
    /// Retries of the newest second that the requests had not earned.
    unearned: u64,
}

/// The retry budget of one upstream, shared by the cores and by the rules that name it. Every `now` is a
/// duration since one origin.
#[derive(Debug, Default)]
pub struct RetryBudget {
    core: Mutex<Core>,
}

impl RetryBudget {
    /// Counts a request (a first attempt).
    pub fn deposit(&self, now: Duration) {
        self.with(now, |core| core.current(|second| second.requests += 1));
    }

    /// Takes one retry, if the requests of the last seconds earned it or the second's minimum is not spent.
    #[must_use]
    pub fn withdraw(&self, ir: &RetryIr, now: Duration) -> bool {
        self.with(now, |core| {
            let (requests, retries) =
                core.seconds.iter().fold((0, 0), |(all, again), s| (all + s.requests, again + s.retries));
            if (retries + 1) * 100 <= requests * u64::from(ir.budget_percent) {
                core.current(|second| second.retries += 1);
                return true;
            }
            if core.unearned < u64::from(ir.budget_min_per_sec) {
                core.unearned += 1;
                return true;
            }
            false
        })
    }

    fn with<T>(&self, now: Duration, act: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        core.advance(now.as_secs());
        act(&mut core)
    }
}

impl Core {
    fn advance(&mut self, now_secs: u64) {
        if now_secs <= self.newest {
            return;
        }
        let steps = (now_secs - self.newest).min(WINDOW_SECS as u64);
        self.newest = now_secs;
        for back in 0..steps {
            self.at(now_secs - back, |second| *second = Second::default());
        }
        self.unearned = 0;
    }

    fn current(&mut self, act: impl FnOnce(&mut Second)) {
        self.at(self.newest, act);
    }

    fn at(&mut self, number: u64, act: impl FnOnce(&mut Second)) {
        let at = usize::try_from(number % WINDOW_SECS as u64).unwrap_or_default();
        if let Some(second) = self.seconds.get_mut(at) {
            act(second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ir(percent: u32, min: u32) -> RetryIr {
        RetryIr {
            attempts: 1,
            codes: Vec::new(),
            backoff_base_ms: 1,
            backoff_max_ms: 1,
            budget_percent: percent,
            budget_min_per_sec: min,
        }
    }

    fn granted(budget: &RetryBudget, ir: &RetryIr, now: Duration) -> usize {
        (0..1000).filter(|_| budget.withdraw(ir, now)).count()
    }

    #[test]
    fn requests_earn_their_share_and_no_more() {
        let (budget, ir) = (RetryBudget::default(), ir(20, 0));
        for _ in 0..50 {
            budget.deposit(Duration::from_secs(100));
        }
        assert_eq!(granted(&budget, &ir, Duration::from_secs(105)), 10);
        assert_eq!(granted(&budget, &ir, Duration::from_secs(106)), 0);
    }

    #[test]
    fn what_was_earned_long_ago_is_forgotten() {
        let (budget, ir) = (RetryBudget::default(), ir(20, 0));
        for _ in 0..50 {
            budget.deposit(Duration::from_secs(100));
        }
        assert_eq!(granted(&budget, &ir, Duration::from_secs(110)), 0);
    }

    #[test]
    fn the_minimum_comes_back_every_second() {
        let (budget, ir) = (RetryBudget::default(), ir(0, 3));
        assert_eq!(granted(&budget, &ir, Duration::from_secs(7)), 3);
        assert_eq!(granted(&budget, &ir, Duration::from_secs(8)), 3);
    }
}
