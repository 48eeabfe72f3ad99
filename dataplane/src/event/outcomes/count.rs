//! Outcomes by tenant, source, kind and reason, with bounds on every label.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::names::TenantName;

use super::{EventOutcome, OutcomeKind};

/// Sources of a tenant that are counted by name; the others count together.
const MAX_SOURCES: usize = 16;
/// Reasons of a tenant's source that are counted by word. The vocabulary is closed and smaller; a newer process may
/// send a word of its own.
const MAX_REASONS: usize = 64;
/// Tenants that are counted by name.
const MAX_TENANTS: usize = 20_000;
/// Stands for the sources, tenants and reasons over their bound.
pub const OTHER_SOURCES: &str = "other";

/// A count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The tenant.
    pub tenant: Arc<str>,
    /// `namespace/name` of the source.
    pub source: Arc<str>,
    /// The outcome of the events.
    pub kind: OutcomeKind,
    /// Why; empty without a reason.
    pub reason: Arc<str>,
    /// How many.
    pub count: u64,
}

type BySource = BTreeMap<Arc<str>, BTreeMap<(OutcomeKind, Arc<str>), u64>>;

/// Counts of every tenant.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<Arc<str>, BySource>);

/// The key itself while there is room or it is known, else `other`.
fn bounded<V>(map: &BTreeMap<Arc<str>, V>, key: &str, most: usize) -> Arc<str> {
    let known = map.get_key_value(key).map(|(known, _)| known.clone());
    known.unwrap_or_else(|| if map.len() < most { key.into() } else { OTHER_SOURCES.into() })
}

impl Counts {
    pub(super) fn add(&mut self, outcome: &EventOutcome) {
        let tenant = bounded(&self.0, TenantName::as_str(&outcome.tenant), MAX_TENANTS);
        let sources = self.0.entry(tenant).or_default();
        let source = bounded(sources, &outcome.source, MAX_SOURCES);
        let counts = sources.entry(source).or_default();

        let reason = outcome.reason.clone().unwrap_or_default();
        let key = (outcome.kind, reason);
        let key = if counts.len() < MAX_REASONS || counts.contains_key(&key) {
            key
        } else {
            (outcome.kind, OTHER_SOURCES.into())
        };
        *counts.entry(key).or_default() += 1;
    }

    pub(super) fn all(&self) -> Vec<Counted> {
        let sources =
            self.0.iter().flat_map(|(tenant, sources)| sources.iter().map(move |(s, counts)| (tenant, s, counts)));
        let counted = sources.flat_map(|(tenant, source, counts)| {
            counts.iter().map(move |((kind, reason), count)| Counted {
                tenant: tenant.clone(),
                source: source.clone(),
                kind: *kind,
                reason: reason.clone(),
                count: *count,
            })
        });
        counted.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::sample::event;

    #[test]
    fn seventeenth_source_of_a_tenant_counts_as_other_and_crowds_out_no_tenant() {
        let mut counts = Counts::default();
        let outcome = |tenant: &str, source: usize| EventOutcome {
            source: format!("acme/s{source:02}").into(),
            ..EventOutcome::of(&event(tenant, "a", "1", 1).event, OutcomeKind::Delivered, 0)
        };
        for source in 0..20 {
            counts.add(&outcome("acme", source));
        }
        counts.add(&outcome("acme", 3));
        counts.add(&outcome("globex", 19));

        let all = counts.all();
        let count = |tenant: &str, source: &str| {
            all.iter().find(|one| (&*one.tenant, &*one.source) == (tenant, source)).map(|one| one.count)
        };
        assert_eq!(all.len(), MAX_SOURCES + 2);
        assert_eq!((count("acme", "acme/s03"), count("acme", OTHER_SOURCES)), (Some(2), Some(4)));
        assert_eq!((count("acme", "acme/s16"), count("globex", "acme/s19")), (None, Some(1)));
    }
}
