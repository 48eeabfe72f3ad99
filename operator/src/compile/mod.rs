//! Gathered objects to sub-snapshots and problems. Pure: the same objects give the same answer.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use policy::names::TenantName;
use policy::problem::Problem;
use policy::snapshot::{Revision, Snapshot, TenantSnapshot};
use policy::upstream::ServicePort;

use self::tenant::Sent;
use crate::gather::Gathered;
use crate::resolve::references::Named;
use crate::resolve::{Ownership, Resolved, resolve};

pub mod endpoints;
pub mod footprint;
mod limits;
mod tenant;

/// What became of the objects.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    /// What the dataplanes get.
    pub snapshot: Snapshot,
    /// What is wrong, by object and field.
    pub problems: Vec<Problem>,
    /// Tenants that could not be read, and for which what was in force stays.
    pub kept: Vec<TenantName>,
}

/// What became of one tenant.
#[derive(Clone, Debug)]
pub struct CompiledTenant {
    /// What the dataplanes get.
    pub snapshot: TenantSnapshot,
    /// What is wrong with the Tenant and its objects.
    pub problems: Vec<Problem>,
    /// What its objects name.
    pub named: Named,
    /// True when an object needs traffic settings of its last good.
    pub any_broken: bool,
}

/// Compiles one tenant, if it can be read. Its revision is for its publisher to say.
#[must_use]
pub fn compile_tenant(gathered: &Gathered, ownership: &Ownership, name: &TenantName) -> Option<CompiledTenant> {
    let slice = ownership.slice(gathered, name)?;
    let (named, mut problems) = (RefCell::default(), ownership.declared_problems(gathered, name));
    let Sent { snapshot, needs_last_good: any_broken } =
        tenant::compile((gathered, &slice), Revision::default(), &named, &mut problems);
    let named = named.into_inner();
    problems.extend(named.objects.iter().filter_map(|object| gathered.problems.get(object)).flatten().cloned());
    problems.sort_by(|a, b| (&a.object, &a.field, &a.message).cmp(&(&b.object, &b.field, &b.message)));
    problems.dedup();
    Some(CompiledTenant { snapshot, problems, named, any_broken })
}

/// Compiles everything. `previous` is what is in force: a tenant whose content is the same keeps its revision, and one
/// that cannot be read keeps all of it.
#[must_use]
pub fn compile(gathered: &Gathered, previous: &Snapshot, revision: Revision) -> Compiled {
    let Resolved { slices, unreadable, mut problems } = resolve(gathered);
    problems.extend(gathered.problems.values().flatten().cloned());
    problems.extend(gathered.tenants.values().flat_map(|declared| declared.problems.iter().cloned()));
    problems.extend(gathered.routes.values().flat_map(|declared| declared.problems.iter().cloned()));
    problems.extend(gathered.webhook_sources.values().flat_map(|declared| declared.problems.iter().cloned()));
    problems.extend(gathered.rate_limit_policies.values().flat_map(|declared| declared.problems.iter().cloned()));
    let known: HashMap<&TenantName, &Arc<TenantSnapshot>> =
        previous.tenants.iter().map(|tenant| (&tenant.tenant, tenant)).collect();
    let in_force = |name: &TenantName| known.get(name).copied();
    let mut tenants: Vec<Arc<TenantSnapshot>> = Vec::with_capacity(slices.len());
    let mut any_broken = false;
    for slice in &slices {
        let before = in_force(&slice.name);
        let named = RefCell::default();
        let Sent { snapshot: compiled, needs_last_good } =
            tenant::compile((gathered, slice), revision, &named, &mut problems);
        any_broken |= needs_last_good;
        match before {
            Some(before) if before.hash == compiled.hash => tenants.push(Arc::clone(before)),
            Some(_) | None => tenants.push(Arc::new(compiled)),
        }
    }
    tenants.extend(unreadable.iter().filter_map(in_force).cloned());
    tenants.sort_by(|a, b| a.tenant.cmp(&b.tenant));
    let mut named: BTreeSet<ServicePort> = tenants.iter().flat_map(|tenant| tenant::services(tenant)).collect();
    if any_broken || !unreadable.is_empty() {
        // What is in force for a broken object may need any port that was named before.
        named.extend(previous.endpoints.iter().map(|known| known.service.clone()));
        named.extend(previous.tenants.iter().flat_map(|tenant| tenant::services(tenant)));
    }
    let endpoints = endpoints::endpoints(gathered, &named);
    problems.sort_by(|a, b| (&a.object, &a.field, &a.message).cmp(&(&b.object, &b.field, &b.message)));
    problems.dedup();
    Compiled { snapshot: Snapshot { tenants, endpoints }, problems, kept: unreadable }
}
