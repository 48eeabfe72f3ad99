//! Ids that this process has made durable lately: their repeats are answered without asking the writer.
//!
//! It says less than the store, never more: the writer tells it of an id once its transaction is durable, and it
//! holds no id for longer than the store's own bucket. Ids that the store gives up before their time are
//! forgotten here at once, with all others.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::event::claim::Key;

/// Ids of one generation; two are held, about 2 MB.
const GENERATION: usize = 16_384;

/// An id: the hour until which it is remembered, and its number.
type Ids = HashMap<Key, (i64, i64)>;

/// The newest ids; the older half goes when the newer one is full.
#[derive(Default)]
pub(super) struct Known(Mutex<[Ids; 2]>);

impl Known {
    fn lock(&self) -> MutexGuard<'_, [Ids; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These are durable, each until its hour ends.
    pub(super) fn add(&self, durable: Vec<(Key, i64, i64)>) {
        if durable.is_empty() {
            return;
        }
        let mut ids = self.lock();
        for (id, until_hour, sequence) in durable {
            let [newer, older] = &mut *ids;
            if newer.len() >= GENERATION {
                *older = std::mem::take(newer);
            }
            newer.insert(id, (until_hour, sequence));
        }
    }

    /// The store gave up ids before their time.
    pub(super) fn clear(&self) {
        *self.lock() = Default::default();
    }

    /// The numbers of all of them, or nothing when one is not known to be durable.
    pub(super) fn all(&self, wanted: &[Key], now_hour: i64) -> Option<Vec<i64>> {
        let ids = self.lock();
        let [newer, older] = &*ids;
        let number = |id: &Key| {
            let (until_hour, sequence) = newer.get(id).or_else(|| older.get(id))?;
            (*until_hour >= now_hour).then_some(*sequence)
        };
        wanted.iter().map(number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> Key {
        (n as u128).to_be_bytes()
    }

    #[test]
    fn an_id_is_known_until_its_hour_ends() {
        let known = Known::default();
        known.add(vec![(id(1), 10, 7)]);
        assert_eq!(known.all(&[id(1)], 10), Some(vec![7]));
        assert_eq!(known.all(&[id(1)], 11), None);
    }

    #[test]
    fn all_are_known_or_none_is() {
        let known = Known::default();
        known.add(vec![(id(1), 10, 7), (id(2), 10, 8)]);
        assert_eq!(known.all(&[id(2), id(1)], 0), Some(vec![8, 7]));
        assert_eq!(known.all(&[id(1), id(3)], 0), None);
        known.clear();
        assert_eq!(known.all(&[id(1)], 0), None);
    }

    #[test]
    fn the_newest_ids_are_kept_within_the_bound() {
        let known = Known::default();
        known.add((0..10 * GENERATION).map(|n| (id(n), 10, 0)).collect());
        assert!(known.all(&[id(10 * GENERATION - 1), id(9 * GENERATION)], 0).is_some());
        assert!(known.lock().iter().map(HashMap::len).sum::<usize>() <= 2 * GENERATION);
    }
}
