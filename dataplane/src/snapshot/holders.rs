//! Which tenant holds an identifier, and which tenant held it before: a replay may not bring an event to a tenant when
//! another tenant held its number since the event was accepted.
//!
//! - Changed by the [`super::Keeper`] alone, with each tenant that it takes or forgets; written to the volume with the
//!   last good, and read from there by the next process.
//! - The record is *continuous* from an instant on. A process that alone accepts its events misses nothing while it is
//!   down: what was configured then was never in force. Any other process misses what happened while it was down, or
//!   had no publisher, so its record begins anew each time that it has been given everything.
//! - A crash before the file is written loses the last change; the next process finds it again by comparing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use policy::names::TenantName;
use policy::tenant::IdentifiersIr;
use policy::webhook_source::EntryIdentifiers;
use serde::{Deserialize, Serialize};

/// Tenants that are remembered of an identifier beside those that hold it: with two, one is another tenant than the
/// one that is asked for.
const FORMER: usize = 2;
/// Identifiers that nobody holds any more and that are remembered; the oldest go first.
const MAX_RELEASED: usize = 100_000;

/// An identifier of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Identifier {
    PhoneNumber(String),
    BusinessAccount(String),
    Integration(String),
}

impl std::fmt::Display for Identifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PhoneNumber(id) => write!(f, "phone number {id}"),
            Self::BusinessAccount(id) => write!(f, "business account {id}"),
            Self::Integration(id) => write!(f, "integration {id}"),
        }
    }
}

/// A tenant that holds an identifier, or held it until an instant in milliseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Holding {
    tenant: TenantName,
    until_ms: Option<i64>,
}

/// The record as it is written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    /// Since when nothing was missed, in milliseconds since the epoch.
    continuous_since_ms: Option<i64>,
    holders: Vec<(Identifier, Vec<Holding>)>,
}

/// Why it cannot be said that nobody else held an identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeldElsewhere {
    /// Another tenant did.
    Tenant {
        /// Which.
        tenant: TenantName,
        /// The identifier, with its kind.
        identifier: String,
    },
    /// This process does not know who held what at that time.
    Unknown,
}

#[derive(Debug, Default)]
struct State {
    continuous_since_ms: Option<i64>,
    holders: BTreeMap<Identifier, Vec<Holding>>,
    /// The identifiers that each tenant holds now.
    held: BTreeMap<TenantName, BTreeSet<Identifier>>,
    changed: bool,
}

/// The record of a process.
#[derive(Debug, Default)]
pub struct Holders(Mutex<State>);

fn of_tenant(ir: &IdentifiersIr) -> BTreeSet<Identifier> {
    let IdentifiersIr {
        claims: _,
        whats_app_phone_number_ids,
        whats_app_business_account_ids,
        genesys_integration_ids,
    } = ir;
    let phones = whats_app_phone_number_ids.iter().map(|id| Identifier::PhoneNumber(id.to_string()));
    let accounts = whats_app_business_account_ids.iter().map(|id| Identifier::BusinessAccount(id.to_string()));
    let integrations = genesys_integration_ids.iter().map(|id| Identifier::Integration(id.to_string()));
    phones.chain(accounts).chain(integrations).collect()
}

fn of_entry(entry: &EntryIdentifiers) -> Vec<Identifier> {
    let EntryIdentifiers { phone_number_id, business_account_id, integration_id } = entry.clone();
    let phone = phone_number_id.map(Identifier::PhoneNumber);
    let account = business_account_id.map(Identifier::BusinessAccount);
    [phone, account, integration_id.map(Identifier::Integration)].into_iter().flatten().collect()
}

impl Holders {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what an earlier process wrote.
    pub(super) fn resume(&self, record: Record) {
        let mut state = self.lock();
        state.continuous_since_ms = record.continuous_since_ms;
        state.holders = record.holders.into_iter().collect();
        let mut held: BTreeMap<TenantName, BTreeSet<Identifier>> = BTreeMap::new();
        for (identifier, holdings) in &state.holders {
            for holding in holdings.iter().filter(|holding| holding.until_ms.is_none()) {
                held.entry(holding.tenant.clone()).or_default().insert(identifier.clone());
            }
        }
        state.held = held;
    }

    /// Returns the record, if it differs from the one written last.
    pub(super) fn unwritten(&self) -> Option<Record> {
        let mut state = self.lock();
        let holders = |state: &State| state.holders.iter().map(|(id, all)| (id.clone(), all.clone())).collect();
        std::mem::take(&mut state.changed)
            .then(|| Record { continuous_since_ms: state.continuous_since_ms, holders: holders(&state) })
    }

    /// From here on changes may be missed.
    pub(super) fn interrupted(&self) {
        self.lock().continuous_since_ms = None;
    }

    /// All that there is was given: nothing is missed from here on.
    pub(super) fn complete(&self, now_ms: i64) {
        let mut state = self.lock();
        if state.continuous_since_ms.is_none() {
            state.continuous_since_ms = Some(now_ms);
            state.changed = true;
        }
    }

    /// A tenant holds these and no other.
    pub(super) fn holds(&self, tenant: &TenantName, identifiers: &IdentifiersIr, now_ms: i64) {
        let wanted = of_tenant(identifiers);
        let mut state = self.lock();
        let before = state.held.get(tenant).cloned().unwrap_or_default();
        if before == wanted {
            return;
        }
        state.changed = true;
        for identifier in before.difference(&wanted) {
            state.release(identifier, tenant, now_ms);
        }
        for identifier in wanted.difference(&before) {
            let holdings = state.holders.entry(identifier.clone()).or_default();
            holdings.retain(|holding| holding.tenant != *tenant);
            holdings.push(Holding { tenant: tenant.clone(), until_ms: None });
        }
        if wanted.is_empty() {
            state.held.remove(tenant);
        } else {
            state.held.insert(tenant.clone(), wanted);
        }
        state.bound();
    }

    /// A tenant is gone.
    pub(super) fn gone(&self, tenant: &TenantName, now_ms: i64) {
        self.holds(tenant, &IdentifiersIr::default(), now_ms);
    }

    /// Every tenant that holds something.
    pub(super) fn tenants(&self) -> Vec<TenantName> {
        self.lock().held.keys().cloned().collect()
    }

    /// Returns why a tenant may not be the only one that held the identifiers of an entry since an instant, in
    /// milliseconds since the epoch.
    pub(crate) fn held_elsewhere(
        &self,
        entry: &EntryIdentifiers,
        tenant: &TenantName,
        since_ms: i64,
    ) -> Option<HeldElsewhere> {
        let state = self.lock();
        for identifier in of_entry(entry) {
            let holdings = state.holders.get(&identifier).map(Vec::as_slice).unwrap_or_default();
            let other = |holding: &&Holding| {
                holding.tenant != *tenant && holding.until_ms.is_none_or(|until_ms| until_ms >= since_ms)
            };
            if let Some(other) = holdings.iter().find(other) {
                let (tenant, identifier) = (other.tenant.clone(), identifier.to_string());
                return Some(HeldElsewhere::Tenant { tenant, identifier });
            }
        }
        let known = state.continuous_since_ms.is_some_and(|continuous_ms| continuous_ms <= since_ms);
        (!known).then_some(HeldElsewhere::Unknown)
    }
}

impl State {
    fn release(&mut self, identifier: &Identifier, tenant: &TenantName, now_ms: i64) {
        let Some(holdings) = self.holders.get_mut(identifier) else { return };
        for holding in holdings.iter_mut().filter(|holding| holding.tenant == *tenant) {
            holding.until_ms = Some(now_ms);
        }
        // The latest come first; those that hold it still are not counted.
        holdings.sort_by_key(|holding| std::cmp::Reverse(holding.until_ms.unwrap_or(i64::MAX)));
        let mut former = 0;
        holdings.retain(|holding| {
            former += usize::from(holding.until_ms.is_some());
            holding.until_ms.is_none() || former <= FORMER
        });
    }

    /// Forgets the oldest of what nobody holds. What is forgotten is not known: the record begins after it.
    fn bound(&mut self) {
        let last = |holdings: &Vec<Holding>| holdings.iter().map(|one| one.until_ms.unwrap_or(i64::MAX)).max();
        let released = |holdings: &Vec<Holding>| holdings.iter().all(|holding| holding.until_ms.is_some());
        let count = self.holders.len().saturating_sub(self.held.values().map(BTreeSet::len).sum());
        if count <= MAX_RELEASED {
            return;
        }
        let mut ends: Vec<i64> = self.holders.values().filter(|all| released(all)).filter_map(last).collect();
        ends.sort_unstable();
        let Some(forgotten_ms) = ends.get(ends.len() / 2).copied() else { return };
        self.holders.retain(|_, all| !released(all) || last(all).is_some_and(|last_ms| last_ms > forgotten_ms));
        let since_ms = self.continuous_since_ms.map(|since_ms| since_ms.max(forgotten_ms.saturating_add(1)));
        self.continuous_since_ms = since_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantName {
        TenantName::parse(name).unwrap()
    }

    fn phones(ids: &[&str]) -> IdentifiersIr {
        let whats_app_phone_number_ids = ids.iter().map(|id| (*id).into()).collect();
        IdentifiersIr { whats_app_phone_number_ids, ..IdentifiersIr::default() }
    }

    fn entry(phone: &str) -> EntryIdentifiers {
        EntryIdentifiers { phone_number_id: Some(phone.to_owned()), ..EntryIdentifiers::default() }
    }

    fn other(name: &str) -> Option<HeldElsewhere> {
        Some(HeldElsewhere::Tenant { tenant: tenant(name), identifier: "phone number 9".to_owned() })
    }

    #[test]
    fn number_that_another_tenant_held_since_is_told_with_that_tenant() {
        let (holders, acme, globex) = (Holders::default(), tenant("acme"), tenant("globex"));
        holders.complete(10);
        holders.holds(&globex, &phones(&["9"]), 100);
        holders.gone(&globex, 200);
        holders.holds(&acme, &phones(&["9"]), 300);
        let since = |since_ms| holders.held_elsewhere(&entry("9"), &acme, since_ms);
        assert_eq!((since(50), since(150), since(250)), (other("globex"), other("globex"), None));
        assert_eq!(since(5), other("globex"));
        assert_eq!(holders.held_elsewhere(&entry("9"), &globex, 400), other("acme"), "acme holds it still");
        assert_eq!(holders.held_elsewhere(&entry("1"), &acme, 5), Some(HeldElsewhere::Unknown));
        // A number that goes to and fro is remembered for each of them.
        for turn in 0..5 {
            holders.holds(&acme, &phones(&[]), 1_000 + 10 * turn);
            holders.holds(&globex, &phones(&["9"]), 1_002 + 10 * turn);
            holders.gone(&globex, 1_004 + 10 * turn);
            holders.holds(&acme, &phones(&["9"]), 1_006 + 10 * turn);
        }
        assert_eq!((since(1_044), since(1_045)), (other("globex"), None));
    }

    #[test]
    fn record_outlives_its_process_and_an_interruption_makes_what_was_before_unknown() {
        let (holders, acme, globex) = (Holders::default(), tenant("acme"), tenant("globex"));
        holders.complete(10);
        holders.holds(&globex, &phones(&["9"]), 100);
        let record = holders.unwritten().unwrap();
        assert!(holders.unwritten().is_none(), "it is written once");
        let next = Holders::default();
        next.resume(record);
        assert_eq!(next.tenants(), std::slice::from_ref(&globex));
        next.gone(&globex, 500);
        next.holds(&acme, &phones(&["9"]), 500);
        let since = |since_ms| next.held_elsewhere(&entry("9"), &acme, since_ms);
        assert_eq!((since(50), since(501)), (other("globex"), None));
        next.interrupted();
        assert_eq!((since(50), since(501)), (other("globex"), Some(HeldElsewhere::Unknown)));
        next.complete(600);
        assert_eq!((since(599), since(600)), (Some(HeldElsewhere::Unknown), None));
    }

    #[test]
    fn forgotten_numbers_are_unknown_and_not_free() {
        let (holders, acme, globex) = (Holders::default(), tenant("acme"), tenant("globex"));
        holders.complete(0);
        let ids: Vec<String> = (0..=MAX_RELEASED).map(|n| n.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        holders.holds(&globex, &phones(&ids), 1);
        holders.gone(&globex, 2);
        assert!(holders.lock().holders.len() <= MAX_RELEASED);
        assert_eq!(holders.held_elsewhere(&entry("7"), &acme, 1), Some(HeldElsewhere::Unknown));
        assert_eq!(holders.held_elsewhere(&entry("7"), &acme, 3), None);
    }
}
