//! Counts over the last so many milliseconds, in buckets that are reused.

use std::time::Duration;

/// Buckets of a window: a count leaves it at most a tenth of the window late.
const BUCKETS: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    requests: u64,
    failures: u64,
}

/// Requests and failures of a sliding window.
#[derive(Debug)]
pub(super) struct Window {
    buckets: [Bucket; BUCKETS],
    bucket_ms: u64,
    /// The number of the newest bucket since the clock's origin.
    newest: u64,
}

impl Window {
    pub(super) fn new(window_ms: u64) -> Self {
        Self { buckets: [Bucket::default(); BUCKETS], bucket_ms: (window_ms / BUCKETS as u64).max(1), newest: 0 }
    }

    pub(super) fn record(&mut self, now: Duration, failed: bool) {
        let number = self.number(now);
        self.advance(number);
        // A clock that another core read a moment earlier counts in the newest bucket.
        let at = self.newest.max(number) % BUCKETS as u64;
        if let Some(bucket) = usize::try_from(at).ok().and_then(|at| self.buckets.get_mut(at)) {
            bucket.requests += 1;
            bucket.failures += u64::from(failed);
        }
    }

    /// Requests and failures up to now.
    pub(super) fn totals(&mut self, now: Duration) -> (u64, u64) {
        self.advance(self.number(now));
        self.buckets.iter().fold((0, 0), |(all, failed), b| (all + b.requests, failed + b.failures))
    }

    pub(super) fn clear(&mut self) {
        self.buckets = [Bucket::default(); BUCKETS];
    }

    fn number(&self, now: Duration) -> u64 {
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX) / self.bucket_ms
    }

    fn advance(&mut self, number: u64) {
        if number <= self.newest {
            return;
        }
        let steps = (number - self.newest).min(BUCKETS as u64);
        for step in 1..=steps {
            let at = (number - steps + step) % BUCKETS as u64;
            if let Some(bucket) = usize::try_from(at).ok().and_then(|at| self.buckets.get_mut(at)) {
                *bucket = Bucket::default();
            }
        }
        self.newest = number;
    }
}
