//! What would be wrong with an object, were it applied: the same compile, and nothing of it stays.

use policy::names::{Kind, ObjectRef, TenantName};
use policy::problem::Problem;

use super::World;
use crate::compile::compile_tenant;
use crate::gather::{Meta, Raw, Written};
use crate::resolve::Ownership;

impl World {
    /// The problems of an object of the four kinds, as if it were there. Costs its tenant; a Tenant costs a look at
    /// all claims.
    pub fn would(&mut self, raw: Raw) -> Vec<Problem> {
        let object = raw.meta.object.clone();
        let before = self.as_written(&object);
        self.gathered.take(raw, Vec::new());
        let of_tenants = (object.kind == Kind::Tenant).then(|| Ownership::of(&self.gathered));
        let ownership = of_tenants.as_ref().unwrap_or(&self.ownership);
        let mut problems: Vec<Problem> = ownership.problem(&self.gathered, &object).into_iter().collect();
        let owner = match object.kind {
            Kind::Tenant => TenantName::parse(&object.name).ok(),
            Kind::Route
            | Kind::RateLimitPolicy
            | Kind::WebhookSource
            | Kind::Secret
            | Kind::ConfigMap
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::Namespace
            | Kind::ReferenceGrant => ownership.owner_of(&self.gathered, &object),
        };
        if let Some(name) = owner {
            let compiled = compile_tenant(&self.gathered, ownership, &name).map(|compiled| compiled.problems);
            let all = compiled.unwrap_or_else(|| ownership.declared_problems(&self.gathered, &name));
            problems.extend(all.into_iter().filter(|problem| problem.object == object));
        }
        match before {
            Some(before) => self.gathered.take(before, Vec::new()),
            None => self.gathered.remove(&object),
        }
        problems
    }

    fn as_written(&self, object: &ObjectRef) -> Option<Raw> {
        let raw = |meta: &Meta, written: &Written| Raw { meta: meta.clone(), value: written.value() };
        let tenant = || self.gathered.tenants.get(object).map(|known| raw(&known.meta, &known.written));
        let route = || self.gathered.routes.get(object).map(|known| raw(&known.meta, &known.written));
        let policy = || self.gathered.rate_limit_policies.get(object).map(|known| raw(&known.meta, &known.written));
        let source = || self.gathered.webhook_sources.get(object).map(|known| raw(&known.meta, &known.written));
        tenant().or_else(route).or_else(policy).or_else(source)
    }
}
