//! A bucket a caller, for as many callers as are worth remembering.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Bucket;

/// Locks are held for one look-up; this many make it rare that two cores want the same one.
const SHARDS: usize = 16;

type Shard = HashMap<Box<[u8]>, Arc<Bucket>, RandomState>;

/// Buckets by key, bounded in number. What has to go is what is full, which loses nothing, and then what is
/// nearest to full: the idlest.
#[derive(Debug)]
pub(super) struct Buckets {
    shards: [Mutex<Shard>; SHARDS],
    choose: RandomState,
    per_shard: usize,
    used: AtomicBool,
}

impl Buckets {
    /// At most `bound` buckets, roughly evenly over the shards.
    pub(super) fn new(bound: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        let per_shard = bound.div_ceil(SHARDS).max(1);
        Self { shards, choose: RandomState::default(), per_shard, used: AtomicBool::new(false) }
    }

    fn shard(&self, key: &[u8]) -> Option<MutexGuard<'_, Shard>> {
        let index = usize::try_from(self.choose.hash_one(key) >> 32).unwrap_or_default() % SHARDS;
        // A panic elsewhere cannot leave a map of numbers half written.
        Some(self.shards.get(index)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The bucket of a key, if it has one.
    pub(super) fn find(&self, key: &[u8]) -> Option<Arc<Bucket>> {
        if !self.used.load(Ordering::Relaxed) {
            return None;
        }
        self.shard(key)?.get(key).cloned()
    }

    /// The bucket of a key; a new one when it has none.
    pub(super) fn bucket(&self, key: &[u8], now_ns: u64) -> Arc<Bucket> {
        let Some(mut shard) = self.shard(key) else { return Arc::default() };
        if let Some(bucket) = shard.get(key) {
            return Arc::clone(bucket);
        }
        self.used.store(true, Ordering::Relaxed);
        if shard.len() >= self.per_shard {
            make_room(&mut shard, now_ns);
        }
        let bucket = Arc::new(Bucket::default());
        shard.insert(key.into(), Arc::clone(&bucket));
        bucket
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap().len()).sum()
    }
}

/// Takes out all that is full, and if that is little, the idlest eighth: a look at every bucket, which the
/// next eighth of newcomers need not take.
fn make_room(shard: &mut Shard, now_ns: u64) {
    let before = shard.len();
    shard.retain(|_, bucket| !bucket.is_full(now_ns));
    if shard.len() > before - before.div_ceil(8) {
        let mut times: Vec<u64> = shard.values().map(|bucket| bucket.full_at_ns()).collect();
        let idle = times.len() / 8;
        let (_, bound, _) = times.select_nth_unstable(idle);
        let bound = *bound;
        shard.retain(|_, bucket| bucket.full_at_ns() > bound);
    }
}

#[cfg(test)]
mod tests {
    use super::super::limiter::tests::limit;
    use super::super::{Per, Rate};
    use super::*;

    #[test]
    fn the_number_of_buckets_is_bounded_and_the_busiest_stay() {
        let rate = Rate::new(&limit("l", Per::Caller, 1, 1000, 100));
        let buckets = Buckets::new(160);
        let now = 1_000_000_000;
        for _ in 0..100 {
            buckets.bucket(b"busy", now).take(rate, now).unwrap();
        }
        for number in 0..10_000u32 {
            buckets.bucket(&number.to_be_bytes(), now).take(rate, now).unwrap();
        }
        assert!(buckets.len() <= 160);
        assert!(buckets.find(b"busy").unwrap().take(rate, now).is_err());
    }

    #[test]
    fn a_full_shard_of_equals_still_makes_room() {
        let buckets = Buckets::new(16);
        for number in 0..1000u32 {
            buckets.bucket(&number.to_be_bytes(), 0);
        }
        assert!(buckets.len() <= 16);
    }
}
