//! The world as it is known, one change at a time: a change costs the tenants that it concerns, and no others.
//!
//! Pure: changes go in, and what is different comes out. After any changes in any order the sum of what came out
//! is what [`crate::compile::compile`] says of the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::names::{Kind, ObjectRef, TenantName};
use policy::problem::Problem;
use policy::snapshot::TenantSnapshot;
use policy::upstream::{ServiceEndpoints, ServicePort};

use crate::gather::{Gathered, Meta};
use crate::resolve::Ownership;
use crate::resolve::references::Named;

mod change;
mod index;
mod settle;
#[cfg(test)]
pub(crate) mod tests;
mod would;

use index::Index;

/// A kind in a namespace: where Secrets and ConfigMaps are watched.
pub type Place = (Kind, Arc<str>);

/// What is said of one tenant.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// What is in force; none while nothing can be said of it.
    pub snapshot: Option<Arc<TenantSnapshot>>,
    /// What is wrong with the Tenant and its objects.
    pub problems: Vec<Problem>,
    /// What its objects name.
    pub named: Named,
    /// Ports of Services that it needs, those of a last good with them.
    pub services: Arc<BTreeSet<ServicePort>>,
    /// What has to be read before it can be compiled: what is in force stays until then.
    pub waits_for: BTreeSet<Place>,
}

/// What is different after some changes.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// Tenants; without a snapshot nothing can be said of it, and what a dataplane has stays.
    pub tenants: Vec<(TenantName, Option<Arc<TenantSnapshot>>)>,
    /// Labels of tenants, where they are others than before.
    pub labels: Vec<(TenantName, BTreeMap<String, String>)>,
    /// Ports of Services that tenants need, where they are others than before.
    pub services: Vec<(TenantName, Arc<BTreeSet<ServicePort>>)>,
    /// Tenants that are gone.
    pub removed: Vec<TenantName>,
    /// Endpoints.
    pub endpoints: Vec<ServiceEndpoints>,
    /// Ports of Services that nobody names any more.
    pub endpoints_removed: Vec<ServicePort>,
    /// Tenants of which something was said anew, different or not.
    pub judged: BTreeSet<TenantName>,
    /// Objects of no tenant of which something was said anew.
    pub judged_homeless: BTreeSet<ObjectRef>,
    /// Secrets and ConfigMaps that are there, were not kept, and are now named: to be fetched.
    pub fetch: BTreeSet<ObjectRef>,
}

/// Everything that was seen, and what follows from it.
#[derive(Debug, Default)]
pub struct World {
    gathered: Gathered,
    ownership: Ownership,
    tenants: BTreeMap<TenantName, Settled>,
    /// Labels of tenants that have some.
    labels: BTreeMap<TenantName, BTreeMap<String, String>>,
    homeless: BTreeMap<ObjectRef, Problem>,
    index: Index,
    endpoints: BTreeMap<ServicePort, ServiceEndpoints>,
    /// Ports that the installation itself needs, whoever its tenants are.
    own: BTreeSet<ServicePort>,
    /// Ports that a dataplane's last good needs, while there are broken objects.
    remembered: BTreeSet<ServicePort>,
    /// Secrets and ConfigMaps that nobody names: their labels only.
    passed_over: BTreeMap<ObjectRef, BTreeMap<String, String>>,
    known: BTreeSet<Place>,
    /// Why a place cannot be read.
    unreadable: BTreeMap<Place, String>,
    dirty: Dirty,
}

/// What has to be looked at again.
#[derive(Clone, Debug, Default)]
struct Dirty {
    ownership: bool,
    tenants: BTreeSet<TenantName>,
    /// Namespaces and names of Services.
    services: BTreeSet<(Arc<str>, Arc<str>)>,
    homeless: BTreeSet<ObjectRef>,
}

impl World {
    /// One whose dataplanes are told of these ports too, whatever tenants need.
    #[must_use]
    pub fn new(own: impl IntoIterator<Item = ServicePort>) -> Self {
        let own: BTreeSet<ServicePort> = own.into_iter().collect();
        let services = own.iter().map(|port| (Arc::clone(&port.namespace), Arc::clone(&port.name))).collect();
        Self { own, dirty: Dirty { services, ..Dirty::default() }, ..Self::default() }
    }

    /// What is said of a tenant.
    #[must_use]
    pub fn tenant(&self, name: &TenantName) -> Option<&Settled> {
        self.tenants.get(name)
    }

    /// Everything that was seen.
    #[must_use]
    pub fn gathered(&self) -> &Gathered {
        &self.gathered
    }

    /// What every object has, of an object of the four kinds.
    #[must_use]
    pub fn meta(&self, object: &ObjectRef) -> Option<&Meta> {
        let Gathered { tenants, routes, rate_limit_policies, webhook_sources, .. } = &self.gathered;
        let tenant = || tenants.get(object).map(|known| &known.meta);
        let route = || routes.get(object).map(|known| &known.meta);
        let policy = || rate_limit_policies.get(object).map(|known| &known.meta);
        let source = || webhook_sources.get(object).map(|known| &known.meta);
        tenant().or_else(route).or_else(policy).or_else(source)
    }

    /// Who owns what.
    #[must_use]
    pub fn ownership(&self) -> &Ownership {
        &self.ownership
    }

    /// Why an object is no tenant's.
    #[must_use]
    pub fn homeless(&self, object: &ObjectRef) -> Option<&Problem> {
        self.homeless.get(object)
    }

    /// Where Secrets and ConfigMaps are named, and so have to be watched.
    #[must_use]
    pub fn places(&self) -> BTreeSet<Place> {
        self.index.places().cloned().collect()
    }

    /// All that is in force, as if all of it were new: for a publisher that begins.
    #[must_use]
    pub fn everything(&self) -> Delta {
        Delta {
            tenants: self.tenants.iter().map(|(name, settled)| (name.clone(), settled.snapshot.clone())).collect(),
            labels: self.labels.iter().map(|(name, labels)| (name.clone(), labels.clone())).collect(),
            services: self
                .tenants
                .iter()
                .map(|(name, settled)| (name.clone(), Arc::clone(&settled.services)))
                .collect(),
            endpoints: self.endpoints.values().cloned().collect(),
            judged: self.tenants.keys().cloned().collect(),
            judged_homeless: self.homeless.keys().cloned().collect(),
            ..Delta::default()
        }
    }
}
