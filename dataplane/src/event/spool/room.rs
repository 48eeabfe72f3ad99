//! How much of the store a tenant may have. Pure: the store's numbers are arguments.
//!
//! - A tenant has at most its ceiling (`pendingBytes`).
//! - Events that no provider sent, which are requests to a Route that failed, have at most a quarter of that ceiling:
//!   anyone may cause them where a rule is open, and webhooks need the rest.
//! - A tenant that has its share of the store, which is the part that accepting may fill divided by the tenants in it,
//!   adds nothing once three quarters of that part are used. The last quarter is for tenants under their share.
//! - Entries of a shared source that die because their tenant is full come out of a reserve of the tenant's own, on
//!   top of its ceiling and share, so that no neighbour's POST is refused.

use policy::names::{Kind, ObjectRef};

use crate::event::TenantDepth;

/// The part of its ceiling that a tenant's requests may have: one of so many.
const REQUESTS: u64 = 4;
/// Tenants that the store is divided by at least: the first to come leaves room for a second.
const TENANTS: u64 = 2;
/// A tenant's reserve: one of so many parts of what accepting may fill.
const RESERVE: u64 = 16;

/// The store as a transaction finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Store {
    /// Bytes of the file that are in use.
    pub(super) used: u64,
    /// Up to how many accepting may fill it.
    pub(super) accepting: u64,
    /// Tenants that have something in it.
    pub(super) tenants: u64,
    /// Bytes of the events of all tenants. The file is larger: it has indexes and remembered ids too.
    pub(super) weight: u64,
}

/// The bytes that a tenant is about to add.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added<'e> {
    /// Bytes of all its entries in this POST, up to this one.
    pub(super) bytes: u64,
    /// The entry's source.
    pub(super) source: &'e ObjectRef,
    /// The tenant's ceiling.
    pub(super) ceiling: u64,
    /// A dead letter of a shared source.
    pub(super) from_reserve: bool,
}

impl Store {
    /// Returns whether accepting may add at all.
    pub(super) fn has_room(&self) -> bool {
        self.used < self.accepting
    }

    /// Returns whether a tenant that has this may add that.
    pub(super) fn takes(&self, has: TenantDepth, added: Added<'_>) -> bool {
        let Added { bytes, source, ceiling, from_reserve } = added;
        let is_request = source.kind == Kind::Route;
        if is_request && has.request_bytes.saturating_add(bytes) > ceiling / REQUESTS {
            return false;
        }

        let reserve = if from_reserve { self.accepting / RESERVE } else { 0 };
        let would_have = has.bytes.saturating_add(bytes);
        would_have <= ceiling.saturating_add(reserve) && self.shares(would_have) <= self.share().saturating_add(reserve)
    }

    fn share(&self) -> u64 {
        if self.used < self.accepting / 4 * 3 {
            return u64::MAX;
        }
        self.accepting / self.tenants.max(TENANTS)
    }

    /// The bytes of the file that events of this weight stand for.
    fn shares(&self, weight: u64) -> u64 {
        let bytes = u128::from(weight) * u128::from(self.used) / u128::from(self.weight.max(1));
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CEILING: u64 = 1000;

    fn depth(bytes: u64, request_bytes: u64) -> TenantDepth {
        TenantDepth { rows: 1, bytes, request_bytes }
    }

    fn takes(store: Store, has: TenantDepth, kind: Kind, from_reserve: bool) -> bool {
        let source = ObjectRef::new(kind, "acme", "one");
        store.takes(has, Added { bytes: 100, source: &source, ceiling: CEILING, from_reserve })
    }

    #[test]
    fn tenant_over_its_share_leaves_the_last_quarter_to_those_under_theirs() {
        let store = |used| Store { used, accepting: 1600, tenants: 4, weight: used };
        let webhook = |store, bytes| takes(store, depth(bytes, 0), Kind::WebhookSource, false);
        assert!(webhook(store(1199), 900), "there is room for everybody");
        assert!(!webhook(store(1200), 301) && webhook(store(1200), 300), "its share is 400 of 1600");
        assert!(!webhook(store(0), 901), "its ceiling holds all the same");

        let twice = Store { weight: 600, ..store(1200) };
        assert!(webhook(twice, 100) && !webhook(twice, 101), "the file has twice what the events weigh");

        let alone = Store { used: 1200, accepting: 1600, tenants: 1, weight: 1200 };
        assert!(!webhook(alone, 701), "a tenant alone leaves room for a second");
    }

    #[test]
    fn requests_have_a_quarter_of_the_ceiling_and_webhooks_the_rest() {
        let store = Store { used: 0, accepting: 1 << 20, tenants: 1, weight: 0 };
        assert!(takes(store, depth(150, 150), Kind::Route, false));
        assert!(!takes(store, depth(151, 151), Kind::Route, false));
        assert!(takes(store, depth(250, 250), Kind::WebhookSource, false));
    }

    #[test]
    fn dead_letters_of_a_shared_source_go_on_top_of_the_ceiling_as_far_as_the_reserve() {
        let store = Store { used: 0, accepting: 16_000, tenants: 1, weight: 0 };
        let dead = |bytes| takes(store, depth(bytes, 0), Kind::WebhookSource, true);
        assert!(dead(1000) && dead(1900) && !dead(1901));
    }
}
