//! Whether a request may be tried again, and after which pause.

use std::time::Duration;

use http::{Method, StatusCode};

use super::RetryIr;

/// How an attempt ended, as far as a retry is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Not a byte of the request left: trying again is safe whatever the method.
    Unsent,
    /// It broke after something was sent; what the upstream did is unknown.
    Broken,
    /// No answer in time; what the upstream did is unknown.
    TimedOut,
    /// It answered.
    Answered(StatusCode),
}

/// An attempt that may be followed by another.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The request's method.
    pub method: &'a Method,
    /// Attempts made, this one included.
    pub made: u32,
    /// Whether the body can be sent once more from its start.
    pub replayable: bool,
    /// How it ended.
    pub ending: Ending,
}

/// Methods whose repetition means the same as one request (RFC 9110, 9.2.2).
#[must_use]
pub fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE].contains(method)
}

/// Whether the rule lets this attempt be followed by another. The budget is asked after this.
#[must_use]
pub fn may_retry(ir: &RetryIr, attempt: Attempt<'_>) -> bool {
    let Attempt { method, made, replayable, ending } = attempt;
    if made > ir.attempts || !replayable {
        return false;
    }
    match ending {
        Ending::Unsent => true,
        Ending::Broken | Ending::TimedOut => is_idempotent(method),
        Ending::Answered(status) => is_idempotent(method) && ir.codes.contains(&status.as_u16()),
    }
}

/// The pause before retry number `retry` (from 1): anything from 0 to `base * 2^(retry-1)`, at most the
/// longest pause (full jitter). `random` is spread over all of `u64`.
#[must_use]
pub fn backoff(ir: &RetryIr, retry: u32, random: u64) -> Duration {
    let doubled = ir.backoff_base_ms.saturating_mul(1_u64.checked_shl(retry.saturating_sub(1)).unwrap_or(u64::MAX));
    let longest_us = u128::from(doubled.min(ir.backoff_max_ms)) * 1000;
    let pause_us = (u128::from(random) * (longest_us + 1)) >> 64;
    Duration::from_micros(u64::try_from(pause_us).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ir() -> RetryIr {
        RetryIr {
            attempts: 2,
            codes: vec![503],
            backoff_base_ms: 100,
            backoff_max_ms: 250,
            budget_percent: 20,
            budget_min_per_sec: 2,
        }
    }

    fn may(method: &Method, made: u32, replayable: bool, ending: Ending) -> bool {
        may_retry(&ir(), Attempt { method, made, replayable, ending })
    }

    #[test]
    fn what_may_have_been_done_is_repeated_only_when_idempotent() {
        for ending in [Ending::Broken, Ending::TimedOut, Ending::Answered(StatusCode::SERVICE_UNAVAILABLE)] {
            assert!(may(&Method::GET, 1, true, ending));
            assert!(!may(&Method::POST, 1, true, ending));
            assert!(!may(&Method::PATCH, 1, true, ending));
        }
        assert!(may(&Method::POST, 1, true, Ending::Unsent));
    }

    #[test]
    fn attempts_bodies_and_codes_bound_it() {
        assert!(may(&Method::GET, 2, true, Ending::Broken));
        assert!(!may(&Method::GET, 3, true, Ending::Broken));
        assert!(!may(&Method::PUT, 1, false, Ending::Broken));
        assert!(!may(&Method::GET, 1, true, Ending::Answered(StatusCode::BAD_GATEWAY)));
    }

    #[test]
    fn the_pause_doubles_up_to_the_longest_and_is_spread_over_all_of_it() {
        assert_eq!(backoff(&ir(), 1, 0), Duration::ZERO);
        assert_eq!(backoff(&ir(), 1, u64::MAX), Duration::from_millis(100));
        assert_eq!(backoff(&ir(), 2, u64::MAX), Duration::from_millis(200));
        assert_eq!(backoff(&ir(), 3, u64::MAX), Duration::from_millis(250));
        assert_eq!(backoff(&ir(), 200, u64::MAX), Duration::from_millis(250));
        assert!(backoff(&ir(), 1, u64::MAX / 2) < Duration::from_millis(51));
    }
}
