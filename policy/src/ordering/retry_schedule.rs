//! Exponential backoff with full jitter, bounded in attempts; the jitter is an argument.

use std::time::Duration;

/// What came of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The destination answered.
    Answered {
        /// Its status.
        status: u16,
        /// Its `Retry-After`, already a duration.
        retry_after: Option<Duration>,
    },
    /// No complete answer: refused, cut, or too slow.
    Unanswered,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The destination has it.
    Delivered,
    /// The next attempt is due after this pause.
    RetryAfter(Duration),
    /// The destination answered 410: it wants no more of this, and no retry will change that.
    Gone,
    /// That was the last attempt.
    OutOfAttempts,
}

/// When a failed delivery is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySchedule {
    /// Attempts in total; at least one is made.
    pub attempts: u32,
    /// The first pause.
    pub base: Duration,
    /// The longest pause, also for `Retry-After`.
    pub max: Duration,
}

impl RetrySchedule {
    /// What follows from the outcome of attempt number `made` (from 1). `jitter` is uniform over `u32`.
    ///
    /// `Retry-After` is a floor that jitter does not undercut, and never exceeds the longest pause, so that
    /// no destination can hold an event for ever.
    #[must_use]
    pub fn judge(&self, outcome: Outcome, made: u32, jitter: u32) -> Verdict {
        let floor = match outcome {
            Outcome::Answered { status: 200..=299, .. } => return Verdict::Delivered,
            Outcome::Answered { status: 410, .. } => return Verdict::Gone,
            Outcome::Answered { retry_after, status: _ } => retry_after.unwrap_or(Duration::ZERO),
            Outcome::Unanswered => Duration::ZERO,
        };
        if made >= self.attempts.max(1) {
            return Verdict::OutOfAttempts;
        }
        let doublings = made.saturating_sub(1).min(31);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.max);
        let pause = ceiling.mul_f64(f64::from(jitter) / f64::from(u32::MAX));
        Verdict::RetryAfter(pause.max(floor).min(self.max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: RetrySchedule =
        RetrySchedule { attempts: 5, base: Duration::from_secs(1), max: Duration::from_secs(60) };

    #[test]
    fn pauses_double_up_to_the_longest() {
        let pause = |made| SCHEDULE.judge(Outcome::Unanswered, made, u32::MAX);
        assert_eq!(pause(1), Verdict::RetryAfter(Duration::from_secs(1)));
        assert_eq!(pause(3), Verdict::RetryAfter(Duration::from_secs(4)));
        let patient = RetrySchedule { attempts: u32::MAX, ..SCHEDULE };
        assert_eq!(
            patient.judge(Outcome::Unanswered, 4_000_000, u32::MAX),
            Verdict::RetryAfter(Duration::from_secs(60))
        );
        assert_eq!(SCHEDULE.judge(Outcome::Unanswered, 3, 0), Verdict::RetryAfter(Duration::ZERO));
    }

    #[test]
    fn retry_after_is_a_floor_and_never_longer_than_the_longest_pause() {
        let after = |secs| Outcome::Answered { status: 503, retry_after: Some(Duration::from_secs(secs)) };
        assert_eq!(SCHEDULE.judge(after(30), 1, 0), Verdict::RetryAfter(Duration::from_secs(30)));
        assert_eq!(SCHEDULE.judge(after(9_000), 1, 0), Verdict::RetryAfter(Duration::from_secs(60)));
    }

    #[test]
    fn a_redirect_is_a_failure_and_410_is_final() {
        let status = |status| SCHEDULE.judge(Outcome::Answered { status, retry_after: None }, 1, 0);
        assert_eq!(status(204), Verdict::Delivered);
        assert_eq!(status(302), Verdict::RetryAfter(Duration::ZERO));
        assert_eq!(status(410), Verdict::Gone);
        assert_eq!(SCHEDULE.judge(Outcome::Unanswered, 5, 0), Verdict::OutOfAttempts);
    }
}
