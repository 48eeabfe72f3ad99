//! Who owns what: objects to tenants, hosts and identifiers to the tenant that holds them. Compiles nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::names::{Hostname, ObjectRef, TenantName};
use policy::problem::{Problem, Problems};
use policy::rate_limit::RateLimitPolicySpec;
use policy::reference::selects;
use policy::route::RouteSpec;
use policy::tenant::{IdentifiersSpec, NamespacesSpec, TenantSpec};
use policy::webhook_source::WebhookSourceSpec;
use serde_json::Value;

use crate::gather::{Declared, Gathered};

mod claims;
pub mod references;

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

/// A tenant that has a name, readable or not.
struct Named<'a> {
    name: TenantName,
    declared: &'a Declared<TenantSpec>,
    namespaces: BTreeSet<Arc<str>>,
}

/// Puts everything in its place.
#[must_use]
pub fn resolve(gathered: &Gathered) -> Resolved<'_> {
    let mut resolved = Resolved::default();
    let mut tenants = Vec::new();
    for (object, declared) in &gathered.tenants {
        match TenantName::parse(&object.name) {
            Ok(name) => tenants.push(Named { name, declared, namespaces: namespaces(declared, gathered) }),
            Err(error) => Problems::of(object, &mut resolved.problems)
                .at("metadata.name")
                .invalid(format!("{:?} is no name for a tenant", object.name), format!("it {error}")),
        }
    }
    let mut held = claims::settle(tenants.iter().map(|tenant| tenant.declared), &mut resolved.problems);
    let owners = Owners::of(&tenants);
    let routes = owners.sort(&gathered.routes, &mut resolved.problems);
    let sources = owners.sort(&gathered.webhook_sources, &mut resolved.problems);
    let policies = owners.sort(&gathered.rate_limit_policies, &mut resolved.problems);
    for Named { name, declared, namespaces } in tenants {
        let Some(spec) = &declared.spec else {
            resolved.unreadable.push(name);
            continue;
        };
        let held = held.remove(&declared.meta.object).unwrap_or_default();
        resolved.slices.push(Slice {
            tenant: declared,
            spec,
            namespaces,
            hostnames: held.hostnames,
            identifiers: held.identifiers,
            routes: routes.get(&name).cloned().unwrap_or_default(),
            sources: sources.get(&name).cloned().unwrap_or_default(),
            policies: policies.get(&name).cloned().unwrap_or_default(),
            name,
        });
    }
    resolved
}

/// The namespaces that a Tenant lists or selects; of one that cannot be read, those that it lists readably.
fn namespaces(declared: &Declared<TenantSpec>, gathered: &Gathered) -> BTreeSet<Arc<str>> {
    let Some(spec) = &declared.spec else {
        return texts(&declared.value, "/spec/namespaces/names").map(Arc::from).collect();
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

/// Which tenants list a namespace.
struct Owners<'t>(BTreeMap<Arc<str>, Vec<&'t TenantName>>);

impl<'t> Owners<'t> {
    fn of(tenants: &'t [Named<'_>]) -> Self {
        let mut owners: BTreeMap<Arc<str>, Vec<&TenantName>> = BTreeMap::new();
        for tenant in tenants {
            for namespace in &tenant.namespaces {
                owners.entry(Arc::clone(namespace)).or_default().push(&tenant.name);
            }
        }
        Self(owners)
    }

    /// Every object to its tenant; who has none is told.
    fn sort<'a, S>(
        &self,
        objects: &'a BTreeMap<ObjectRef, Declared<S>>,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<TenantName, Vec<&'a Declared<S>>> {
        let mut sorted: BTreeMap<TenantName, Vec<&'a Declared<S>>> = BTreeMap::new();
        for (object, declared) in objects {
            let wanted = declared.value.pointer("/spec/tenant").and_then(Value::as_str);
            if let Some(owner) = self.owner(object, wanted, Problems::of(object, problems)) {
                sorted.entry(owner).or_default().push(declared);
            }
        }
        sorted
    }

    fn owner(&self, object: &ObjectRef, wanted: Option<&str>, mut problems: Problems<'_>) -> Option<TenantName> {
        let listed = self.0.get(&object.namespace).map(Vec::as_slice).unwrap_or_default();
        match (listed, wanted) {
            ([], _) => {
                let message = format!("no Tenant lists namespace {}", object.namespace);
                let help = "add it to spec.namespaces of the Tenant that owns this object";
                problems.at("metadata.namespace").invalid(message, help);
                None
            }
            ([one], None) => Some((*one).clone()),
            (several, None) => {
                let message = format!("namespace {} serves several tenants", object.namespace);
                let help = format!("write spec.tenant: one of {}", names(several));
                problems.at("spec.tenant").invalid(message, help);
                None
            }
            (listed, Some(wanted)) => {
                let found = listed.iter().find(|name| name.as_str() == wanted);
                if found.is_none() {
                    let message = format!("Tenant {wanted} does not list namespace {}", object.namespace);
                    let help = format!("write one that does ({}), or have the Tenant list it", names(listed));
                    problems.at("spec.tenant").invalid(message, help);
                }
                found.map(|name| (*name).clone())
            }
        }
    }
}

fn names(tenants: &[&TenantName]) -> String {
    tenants.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}
