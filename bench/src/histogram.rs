//! Latencies in buckets that are never wider than 1/64 of their value.

use std::time::Duration;

const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;
/// Nanoseconds up to 2^40 (18 minutes); what is longer counts as that.
const BUCKETS: usize = 40 * SUB as usize;

/// Counts of latencies.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let bucket = bucket_of(nanos).min(BUCKETS - 1);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
            self.total += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
    }

    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The latency that `per_mille` of a thousand requests stayed under.
    pub(crate) fn quantile(&self, per_mille: u64) -> Duration {
        let rank = (self.total * per_mille).div_ceil(1000);
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(upper_edge(bucket as u64));
            }
        }
        Duration::ZERO
    }
}

const fn bucket_of(nanos: u64) -> usize {
    if nanos < SUB {
        return nanos as usize;
    }
    let shift = 63 - nanos.leading_zeros() - SUB_BITS;
    (((shift as u64 + 1) << SUB_BITS) + ((nanos >> shift) - SUB)) as usize
}

const fn upper_edge(bucket: u64) -> u64 {
    if bucket < SUB {
        return bucket;
    }
    let shift = (bucket >> SUB_BITS) - 1;
    ((bucket & (SUB - 1)) + SUB + 1) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_never_wider_than_a_sixty_fourth() {
        for nanos in [0, 1, 63, 64, 65, 1000, 12_345, 999_999, 5_000_000_000] {
            let edge = upper_edge(bucket_of(nanos) as u64);
            assert!(edge >= nanos && edge - nanos <= nanos / 64 + 1, "{nanos} -> {edge}");
        }
    }

    #[test]
    fn a_quantile_counts_requests_not_buckets() {
        let mut histogram = Histogram::new();
        for _ in 0..99 {
            histogram.record(Duration::from_micros(10));
        }
        histogram.record(Duration::from_millis(10));
        assert!(histogram.quantile(990) < Duration::from_micros(11));
        assert!(histogram.quantile(1000) >= Duration::from_millis(10));
    }
}
