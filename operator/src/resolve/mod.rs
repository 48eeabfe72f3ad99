//! Who owns what: objects to tenants, hosts and identifiers to the tenant that holds them. Compiles nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::names::{Hostname, TenantName};
use policy::problem::Problem;
use policy::rate_limit::RateLimitPolicySpec;
use policy::reference::selects;
use policy::route::RouteSpec;
use policy::tenant::{IdentifiersSpec, NamespacesSpec, TenantSpec};
use policy::webhook_source::WebhookSourceSpec;
use serde_json::Value;

use crate::gather::{Declared, Gathered};

mod claims;
mod ownership;
pub mod references;

pub use ownership::{Owned, Ownership};

/// One tenant with what is its own: all that its sub-snapshot is made of.
#[derive(Clone, Debug)]
pub struct Slice<'a> {
    /// Its name.
    pub name: TenantName,
    /// The Tenant.
    pub tenant: &'a Declared<TenantSpec>,
    /// What the Tenant says.
    pub spec: &'a TenantSpec,
    /// Its namespaces.
    pub namespaces: BTreeSet<Arc<str>>,
    /// The hosts that it holds.
    pub hostnames: Vec<Hostname>,
    /// The identifiers that it holds.
    pub identifiers: IdentifiersSpec,
    /// Its Routes.
    pub routes: Vec<&'a Declared<RouteSpec>>,
    /// Its WebhookSources.
    pub sources: Vec<&'a Declared<WebhookSourceSpec>>,
    /// Its RateLimitPolicies.
    pub policies: Vec<&'a Declared<RateLimitPolicySpec>>,
}

/// Everything in its place.
#[derive(Clone, Debug, Default)]
pub struct Resolved<'a> {
    /// The tenants that could be read, by name.
    pub slices: Vec<Slice<'a>>,
    /// Those that could not: what is in force for them stays.
    pub unreadable: Vec<TenantName>,
    /// What is wrong with who owns what.
    pub problems: Vec<Problem>,
}

/// Puts everything in its place.
#[must_use]
pub fn resolve(gathered: &Gathered) -> Resolved<'_> {
    let ownership = Ownership::of(gathered);
    let mut resolved = Resolved::default();
    for name in ownership.tenants.keys() {
        match ownership.slice(gathered, name) {
            Some(slice) => resolved.slices.push(slice),
            None => resolved.unreadable.push(name.clone()),
        }
    }
    let namespaced = gathered.routes.keys().chain(gathered.webhook_sources.keys());
    let namespaces: BTreeSet<&Arc<str>> =
        namespaced.chain(gathered.rate_limit_policies.keys()).map(|object| &object.namespace).collect();
    resolved.problems = ownership.problems.values().flatten().cloned().collect();
    for namespace in namespaces {
        ownership.homeless(gathered, namespace, &mut resolved.problems);
    }
    resolved
}

/// The namespaces that a Tenant lists or selects; of one that cannot be read, those that it lists readably.
fn namespaces(declared: &Declared<TenantSpec>, gathered: &Gathered) -> BTreeSet<Arc<str>> {
    let Some(spec) = &declared.spec else {
        return texts(&declared.written.value(), "/spec/namespaces/names").map(Arc::from).collect();
    };
    let NamespacesSpec { names, selector } = &spec.namespaces;
    let named = names.iter().map(|name| Arc::from(name.as_str()));
    let selected = gathered
        .namespaces
        .iter()
        .filter(|(_, labels)| selector.as_ref().is_some_and(|selector| selects(&selector.match_labels, labels)));
    named.chain(selected.map(|(name, _)| Arc::clone(name))).collect()
}

/// The texts of a list, where they can be read.
pub(crate) fn texts<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v str> {
    let list = value.pointer(pointer).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}
