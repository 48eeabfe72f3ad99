//! What this deliver itself knows to be delivered or dead. Bounded: what is forgotten is asked for, elsewhere.

use std::collections::HashMap;
use std::hash::Hash;

use crate::event::Key;

/// Conversations and events remembered at most, in each of two generations.
const REMEMBERED: usize = 100_000;

/// Entries in two generations: when the younger is full, the older is forgotten as a whole.
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    most: usize,
}

impl<K: Eq + Hash + Copy, V: Copy> Generations<K, V> {
    fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most }
    }

    fn get(&self, key: &K) -> Option<V> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

/// Numbers up to which conversations are done, and events that were delivered.
pub(super) struct Memory {
    done: Generations<Key, i64>,
    delivered: Generations<Key, i64>,
    /// Conversations of which every shard said, since their partition is ours, that nothing is owed.
    clear: Generations<Key, bool>,
    /// How often shards were found to have another store, and how often when a conversation was last told.
    replaced: u64,
    told: Generations<Key, u64>,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            done: Generations::new(REMEMBERED),
            delivered: Generations::new(REMEMBERED),
            clear: Generations::new(REMEMBERED),
            replaced: 0,
            told: Generations::new(REMEMBERED),
        }
    }

    /// So often shards were found to have another store: when that is new, nothing is clear any more.
    pub(super) fn hear_replaced(&mut self, replaced: u64) {
        if std::mem::replace(&mut self.replaced, replaced) != replaced {
            self.doubt_all();
        }
    }

    /// Whether "owes nothing" proves nothing of a conversation, because a shard has another store. Said once of each:
    /// what goes then is flagged, and is what the next one follows.
    pub(super) fn is_unproven(&mut self, conversation: Key) -> bool {
        let unproven = self.told.get(&conversation).unwrap_or_default() != self.replaced;
        if unproven {
            self.told.insert(conversation, self.replaced);
        }
        unproven
    }

    /// Whether no shard owed a conversation anything when all were asked, and nothing was parked here since.
    pub(super) fn is_clear(&self, conversation: &Key) -> bool {
        self.clear.get(conversation).unwrap_or_default()
    }

    pub(super) fn set_clear(&mut self, conversation: Key, clear: bool) {
        self.clear.insert(conversation, clear);
    }

    /// A partition was somebody else's for a while: what its conversations are owed has to be asked again.
    pub(super) fn doubt_all(&mut self) {
        self.clear = Generations::new(REMEMBERED);
    }

    /// The highest number of a conversation that is known to be delivered or dead.
    pub(super) fn done(&self, conversation: &Key) -> Option<i64> {
        self.done.get(conversation)
    }

    /// Whether this very event was delivered by this deliver, under this number.
    pub(super) fn was_delivered(&self, event: &Key, sequence: i64) -> bool {
        self.delivered.get(event) == Some(sequence)
    }

    pub(super) fn set_done(&mut self, conversation: Key, sequence: i64) {
        let highest = self.done.get(&conversation).map_or(sequence, |known| known.max(sequence));
        self.done.insert(conversation, highest);
    }

    pub(super) fn set_delivered(&mut self, event: Key, sequence: i64) {
        self.delivered.insert(event, sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_stays_and_memory_is_bounded() {
        let mut memory = Memory {
            done: Generations::new(2),
            delivered: Generations::new(2),
            clear: Generations::new(2),
            ..Memory::new()
        };
        memory.set_done([1; 16], 5);
        memory.set_done([1; 16], 3);
        assert_eq!(memory.done(&[1; 16]), Some(5));
        for number in 2..6 {
            memory.set_done([number; 16], 1);
        }
        assert_eq!(memory.done(&[1; 16]), None);
        assert_eq!(memory.done(&[5; 16]), Some(1));
        memory.set_delivered([1; 16], 5);
        assert!(memory.was_delivered(&[1; 16], 5) && !memory.was_delivered(&[1; 16], 6));
        memory.set_clear([1; 16], true);
        assert!(memory.is_clear(&[1; 16]));
        memory.doubt_all();
        assert!(!memory.is_clear(&[1; 16]));
    }

    #[test]
    fn a_replaced_store_is_doubted_once_a_conversation() {
        let mut memory = Memory::new();
        memory.set_clear([1; 16], true);
        assert!(!memory.is_unproven([1; 16]));
        memory.hear_replaced(1);
        assert!(!memory.is_clear(&[1; 16]));
        assert!(memory.is_unproven([1; 16]) && !memory.is_unproven([1; 16]) && memory.is_unproven([2; 16]));
        memory.hear_replaced(2);
        assert!(memory.is_unproven([1; 16]));
    }
}
