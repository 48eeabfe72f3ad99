//! GCRA: a bucket is one number, the time at which it will be full again.
//!
//! All arithmetic is in whole nanoseconds. The interval between two requests is rounded up, so that a limit
//! never admits more than it says.

use std::sync::atomic::{AtomicU64, Ordering};

use super::LimitIr;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What one request costs, in nanoseconds; never 0.
    interval_ns: u64,
    /// What a full bucket holds, in nanoseconds; a whole number of intervals.
    capacity_ns: u64,
}

impl Rate {
    /// The rate of a limit.
    #[must_use]
    pub fn new(limit: &LimitIr) -> Self {
        let window_ns = limit.window_ms.saturating_mul(NANOS_PER_MILLI);
        let interval_ns = window_ns.div_ceil(u64::from(limit.requests.get())).max(1);
        // A capacity that were cut short would still be a whole number of intervals.
        let burst = u64::from(limit.burst.get()).min(u64::MAX / 4 / interval_ns).max(1);
        Self { interval_ns, capacity_ns: burst * interval_ns }
    }
}

/// What a bucket holds at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// How many requests it would admit now.
    pub remaining: u64,
    /// In how many nanoseconds it is full again.
    pub full_in_ns: u64,
    /// In how many nanoseconds it admits one; 0 means now.
    pub next_in_ns: u64,
}

/// One bucket; shared by all cores without a lock.
#[derive(Debug, Default)]
pub struct Bucket {
    /// When it will be full, in nanoseconds of the caller's clock: GCRA's theoretical arrival time. It means
    /// the same under another rate, so that a limit that changes goes on where it was.
    full_at_ns: AtomicU64,
}

impl Bucket {
    /// Looks without spending.
    #[must_use]
    pub fn level(&self, rate: Rate, now_ns: u64) -> Level {
        level(rate, missing(self.full_at_ns.load(Ordering::Relaxed), rate, now_ns))
    }

    /// Spends one request, or nothing. The level is the one after spending, or the one that was too low.
    ///
    /// # Errors
    /// The level, when the bucket has not one request left.
    pub fn take(&self, rate: Rate, now_ns: u64) -> Result<Level, Level> {
        let mut seen = self.full_at_ns.load(Ordering::Relaxed);
        loop {
            let spent = missing(seen, rate, now_ns).saturating_add(rate.interval_ns);
            if spent > rate.capacity_ns {
                return Err(level(rate, spent - rate.interval_ns));
            }
            let full_at = now_ns.saturating_add(spent);
            match self.full_at_ns.compare_exchange_weak(seen, full_at, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(level(rate, spent)),
                Err(current) => seen = current,
            }
        }
    }

    /// Gives one request back that was taken just now.
    pub fn give_back(&self, rate: Rate) {
        let less = |full_at: u64| Some(full_at.saturating_sub(rate.interval_ns));
        // The closure never declines.
        let _ = self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Whether the bucket is full, and so as good as a new one.
    pub(super) fn is_full(&self, now_ns: u64) -> bool {
        self.full_at_ns() <= now_ns
    }

    /// When it will be full.
    pub(super) fn full_at_ns(&self) -> u64 {
        self.full_at_ns.load(Ordering::Relaxed)
    }
}

/// What is missing from a full bucket. Never more than all of it: a clock that went back, or a bucket that
/// became smaller, leaves an empty bucket and not one that stays shut.
fn missing(full_at_ns: u64, rate: Rate, now_ns: u64) -> u64 {
    full_at_ns.saturating_sub(now_ns).min(rate.capacity_ns)
}

fn level(rate: Rate, missing_ns: u64) -> Level {
    let held = rate.capacity_ns - missing_ns.min(rate.capacity_ns);
    Level {
        remaining: held / rate.interval_ns,
        full_in_ns: missing_ns,
        next_in_ns: rate.interval_ns.saturating_sub(held),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::num::NonZeroU32;
    use std::sync::atomic::AtomicU32;

    use proptest::prelude::*;

    use super::*;
    use crate::rate_limit::Per;

    const SECOND: u64 = 1_000_000_000;

    pub(crate) fn limit(name: &str, per: Per, requests: u32, window_ms: u64, burst: u32) -> LimitIr {
        let number = |n| NonZeroU32::new(n).unwrap();
        LimitIr { name: name.into(), per, requests: number(requests), window_ms, burst: number(burst) }
    }

    fn rate(requests: u32, window_ms: u64, burst: u32) -> Rate {
        Rate::new(&limit("l", Per::Tenant, requests, window_ms, burst))
    }

    #[test]
    fn a_burst_is_admitted_and_then_the_rate() {
        let (bucket, rate) = (Bucket::default(), rate(2, 1000, 3));
        for remaining in [2, 1, 0] {
            assert_eq!(bucket.take(rate, SECOND).unwrap().remaining, remaining);
        }
        let refused = bucket.take(rate, SECOND).unwrap_err();
        assert_eq!((refused.remaining, refused.next_in_ns, refused.full_in_ns), (0, SECOND / 2, 3 * SECOND / 2));
        assert!(bucket.take(rate, SECOND + SECOND / 2 - 1).is_err());
        assert!(bucket.take(rate, SECOND + SECOND / 2).is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_leaves_an_empty_bucket_that_fills_at_its_rate() {
        let (bucket, rate) = (Bucket::default(), rate(1, 1000, 5));
        assert!(bucket.take(rate, 1_000_000 * SECOND).is_ok());
        assert!(bucket.take(rate, 10 * SECOND).is_err());
        assert_eq!(bucket.level(rate, 10 * SECOND).next_in_ns, SECOND);
        // The number itself is only corrected by a request that is admitted; until then it is read as empty.
        assert!(bucket.level(rate, 999_999 * SECOND).full_in_ns <= 5 * SECOND);
    }

    #[test]
    fn a_changed_limit_goes_on_where_the_old_one_was() {
        let (bucket, old) = (Bucket::default(), rate(10, 1000, 10));
        for _ in 0..10 {
            assert!(bucket.take(old, SECOND).is_ok());
        }
        assert!(bucket.take(rate(20, 1000, 10), SECOND).is_err(), "a change is no gift");
        assert!(bucket.take(rate(20, 1000, 20), 2 * SECOND).is_ok());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let (bucket, rate) = (Bucket::default(), rate(1, 60_000, 1));
        assert!(bucket.take(rate, SECOND).is_ok());
        assert!(bucket.take(rate, SECOND).is_err());
        bucket.give_back(rate);
        assert!(bucket.take(rate, SECOND).is_ok());
    }

    #[test]
    fn cores_that_share_a_bucket_admit_no_more_together() {
        let (bucket, rate, admitted) = (Bucket::default(), rate(1, 86_400_000, 1000), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        if bucket.take(rate, SECOND).is_ok() {
                            admitted.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 1000);
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_times_time(
            requests in 1u32..2000, window_ms in 1u64..100_000, burst in 1u32..500,
            gaps in proptest::collection::vec(0u64..50_000_000, 1..400),
        ) {
            let (bucket, rate) = (Bucket::default(), rate(requests, window_ms, burst));
            let start = 7 * SECOND;
            let (mut now, mut admitted) = (start, 0u128);
            for gap in gaps {
                now += gap;
                let before = bucket.level(rate, now);
                match bucket.take(rate, now) {
                    Ok(after) => {
                        admitted += 1;
                        prop_assert_eq!(before.next_in_ns, 0);
                        prop_assert_eq!(after.remaining + 1, before.remaining);
                    }
                    Err(level) => prop_assert!(level.next_in_ns > 0 && level.remaining == 0),
                }
                let earned = u128::from(now - start) * u128::from(requests) / (u128::from(window_ms) * 1_000_000);
                prop_assert!(admitted <= u128::from(burst) + earned);
            }
        }

        #[test]
        fn what_waits_as_long_as_it_is_told_is_admitted_and_no_sooner(
            requests in 1u32..2000, window_ms in 1u64..100_000, burst in 1u32..50, start in 0u64..1_000_000_000_000,
        ) {
            let (bucket, rate) = (Bucket::default(), rate(requests, window_ms, burst));
            for _ in 0..burst {
                prop_assert!(bucket.take(rate, start).is_ok());
            }
            let wait = bucket.take(rate, start).unwrap_err().next_in_ns;
            prop_assert!(bucket.take(rate, start + wait - 1).is_err());
            prop_assert!(bucket.take(rate, start + wait).is_ok());
        }

        #[test]
        fn waiting_never_lowers_the_level(
            requests in 1u32..2000, window_ms in 1u64..100_000, burst in 1u32..50, taken in 0u32..60, wait in 0u64..SECOND,
        ) {
            let (bucket, rate) = (Bucket::default(), rate(requests, window_ms, burst));
            for _ in 0..taken {
                let _ = bucket.take(rate, SECOND);
            }
            let (now, later) = (bucket.level(rate, SECOND), bucket.level(rate, SECOND + wait));
            prop_assert!(later.remaining >= now.remaining && later.full_in_ns <= now.full_in_ns);
        }
    }
}
