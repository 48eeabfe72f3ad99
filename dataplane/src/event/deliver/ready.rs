//! Which conversation is looked at next: tenants take turns, and none holds more than its share.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use policy::names::TenantName;
use tokio::time::Instant;

use crate::event::Key;

/// Conversations that are owed something. Bounded by what the store holds: one entry a conversation.
pub(super) struct Ready {
    per_tenant: usize,
    waiting: HashMap<TenantName, VecDeque<Key>>,
    turns: VecDeque<TenantName>,
    running: HashMap<TenantName, usize>,
    /// Conversations that wait, run or are due later; none is twice.
    known: HashSet<Key>,
    /// Conversations that got something new while they ran.
    woken: HashSet<Key>,
    later: BTreeMap<(Instant, Key), TenantName>,
}

impl Ready {
    pub(super) fn new(per_tenant: usize) -> Self {
        Self {
            per_tenant,
            waiting: HashMap::new(),
            turns: VecDeque::new(),
            running: HashMap::new(),
            known: HashSet::new(),
            woken: HashSet::new(),
            later: BTreeMap::new(),
        }
    }

    /// A conversation got something.
    pub(super) fn add(&mut self, key: Key, tenant: TenantName) {
        if self.known.insert(key) {
            self.wait(key, tenant);
        } else {
            self.woken.insert(key);
        }
    }

    fn wait(&mut self, key: Key, tenant: TenantName) {
        let waiting = self.waiting.entry(tenant.clone()).or_default();
        if waiting.is_empty() {
            self.turns.push_back(tenant);
        }
        waiting.push_back(key);
    }

    /// The next conversation, of the next tenant that has one and is under its share.
    pub(super) fn take(&mut self) -> Option<(Key, TenantName)> {
        for _ in 0..self.turns.len() {
            let tenant = self.turns.pop_front()?;
            if self.running.get(&tenant).copied().unwrap_or_default() >= self.per_tenant {
                self.turns.push_back(tenant);
                continue;
            }
            let Some(waiting) = self.waiting.get_mut(&tenant) else { continue };
            let Some(key) = waiting.pop_front() else { continue };
            if waiting.is_empty() {
                self.waiting.remove(&tenant);
            } else {
                self.turns.push_back(tenant.clone());
            }
            self.woken.remove(&key);
            *self.running.entry(tenant.clone()).or_default() += 1;
            return Some((key, tenant));
        }
        None
    }

    fn ran(&mut self, tenant: &TenantName) {
        if let Some(running) = self.running.get_mut(tenant) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(tenant);
            }
        }
    }

    /// It was owed nothing when it was looked at.
    pub(super) fn done(&mut self, key: &Key, tenant: &TenantName) {
        self.ran(tenant);
        if self.woken.remove(key) {
            self.wait(*key, tenant.clone());
        } else {
            self.known.remove(key);
        }
    }

    /// It may be owed more: behind the others.
    pub(super) fn again(&mut self, key: Key, tenant: TenantName) {
        self.ran(&tenant);
        self.wait(key, tenant);
    }

    /// It is looked at again then. Something new in it changes nothing: its oldest event goes first.
    pub(super) fn later(&mut self, key: Key, tenant: TenantName, at: Instant) {
        self.ran(&tenant);
        self.later.insert((at, key), tenant);
    }

    /// Waits for the next that is due, and lets it wait for its turn; for ever when there is none.
    pub(super) async fn due(&mut self) {
        let Some(((at, key), _)) = self.later.first_key_value() else { return std::future::pending().await };
        let at_key = (*at, *key);
        tokio::time::sleep_until(at_key.0).await;
        if let Some(tenant) = self.later.remove(&at_key) {
            self.wait(at_key.1, tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantName {
        TenantName::parse(name).unwrap()
    }

    fn key(number: u8) -> Key {
        [number; 16]
    }

    #[test]
    fn tenants_take_turns_and_none_holds_more_than_its_share() {
        let mut ready = Ready::new(2);
        for number in 0..4 {
            ready.add(key(number), tenant("acme"));
        }
        ready.add(key(9), tenant("globex"));
        let taken: Vec<_> = std::iter::from_fn(|| ready.take()).map(|(key, _)| key[0]).collect();
        assert_eq!(taken, [0, 9, 1]);
        ready.done(&key(0), &tenant("acme"));
        assert_eq!(ready.take(), Some((key(2), tenant("acme"))));
    }

    #[test]
    fn a_conversation_is_never_in_flight_twice_and_never_forgotten() {
        let mut ready = Ready::new(8);
        ready.add(key(1), tenant("acme"));
        ready.add(key(1), tenant("acme"));
        assert!(ready.take().is_some());
        assert_eq!(ready.take(), None);
        ready.add(key(1), tenant("acme"));
        assert_eq!(ready.take(), None, "it is in flight");
        ready.done(&key(1), &tenant("acme"));
        assert!(ready.take().is_some(), "what came meanwhile is looked at");
        ready.done(&key(1), &tenant("acme"));
        assert_eq!(ready.take(), None);
    }
}
