//! Which tenant has what: its namespaces, hosts and identifiers, and through its namespaces every object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::names::{Hostname, Kind, ObjectRef, TenantName};
use policy::problem::{Problem, Problems};
use policy::tenant::IdentifiersSpec;

use super::{Slice, claims, namespaces};
use crate::gather::{Declared, Gathered, in_namespace};

/// What a Tenant has, readable or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Owned {
    /// The Tenant.
    pub object: ObjectRef,
    /// Its namespaces.
    pub namespaces: BTreeSet<Arc<str>>,
    /// The hosts that it holds.
    pub hostnames: Vec<Hostname>,
    /// The identifiers that it holds.
    pub identifiers: IdentifiersSpec,
}

/// Who owns what. It follows from the Tenants and the labels of Namespaces, and from nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ownership {
    /// Every Tenant that has a name for one.
    pub tenants: BTreeMap<TenantName, Owned>,
    /// Which tenants list a namespace, in the order of their names.
    pub owners: BTreeMap<Arc<str>, Vec<TenantName>>,
    /// What is wrong with the claims, by Tenant.
    pub problems: BTreeMap<ObjectRef, Vec<Problem>>,
}

impl Ownership {
    /// Settles it.
    #[must_use]
    pub fn of(gathered: &Gathered) -> Self {
        let mut ownership = Self::default();
        let mut problems = Vec::new();
        let mut named = Vec::new();
        for (object, declared) in &gathered.tenants {
            match TenantName::parse(&object.name) {
                Ok(name) => named.push((name, declared)),
                Err(error) => Problems::of(object, &mut problems)
                    .at("metadata.name")
                    .invalid(format!("{:?} is no name for a tenant", object.name), format!("it {error}")),
            }
        }
        let mut held = claims::settle(named.iter().map(|(_, declared)| *declared), &mut problems);
        for (name, declared) in named {
            let object = declared.meta.object.clone();
            let namespaces = namespaces(declared, gathered);
            for namespace in &namespaces {
                ownership.owners.entry(Arc::clone(namespace)).or_default().push(name.clone());
            }
            let claims::Held { hostnames, identifiers } = held.remove(&object).unwrap_or_default();
            ownership.tenants.insert(name, Owned { object, namespaces, hostnames, identifiers });
        }
        for problem in problems {
            ownership.problems.entry(problem.object.clone()).or_default().push(problem);
        }
        ownership
    }

    /// One tenant with its objects, if it can be read.
    #[must_use]
    pub fn slice<'a>(&self, gathered: &'a Gathered, name: &TenantName) -> Option<Slice<'a>> {
        let Owned { object, namespaces, hostnames, identifiers } = self.tenants.get(name)?;
        let tenant = gathered.tenants.get(object)?;
        let spec = tenant.spec.as_ref()?;
        Some(Slice {
            name: name.clone(),
            tenant,
            spec,
            namespaces: namespaces.clone(),
            hostnames: hostnames.clone(),
            identifiers: identifiers.clone(),
            routes: self.objects(&gathered.routes, Kind::Route, name, namespaces),
            sources: self.objects(&gathered.webhook_sources, Kind::WebhookSource, name, namespaces),
            policies: self.objects(&gathered.rate_limit_policies, Kind::RateLimitPolicy, name, namespaces),
        })
    }

    /// What was wrong with a tenant's objects, and its claims, before any of them was compiled.
    #[must_use]
    pub fn declared_problems(&self, gathered: &Gathered, name: &TenantName) -> Vec<Problem> {
        let Some(Owned { object, namespaces, .. }) = self.tenants.get(name) else { return Vec::new() };
        let mut problems: Vec<Problem> = self.problems.get(object).into_iter().flatten().cloned().collect();
        let tenant = gathered.tenants.get(object).into_iter();
        problems.extend(tenant.flat_map(|declared| &declared.problems).cloned());
        let routes = self.objects(&gathered.routes, Kind::Route, name, namespaces);
        problems.extend(routes.iter().flat_map(|declared| &declared.problems).cloned());
        let sources = self.objects(&gathered.webhook_sources, Kind::WebhookSource, name, namespaces);
        problems.extend(sources.iter().flat_map(|declared| &declared.problems).cloned());
        let policies = self.objects(&gathered.rate_limit_policies, Kind::RateLimitPolicy, name, namespaces);
        problems.extend(policies.iter().flat_map(|declared| &declared.problems).cloned());
        problems
    }

    /// The names of a tenant's objects.
    #[must_use]
    pub fn objects_of(&self, gathered: &Gathered, name: &TenantName) -> Vec<ObjectRef> {
        let Some(Owned { namespaces, .. }) = self.tenants.get(name) else { return Vec::new() };
        let routes = self.objects(&gathered.routes, Kind::Route, name, namespaces);
        let sources = self.objects(&gathered.webhook_sources, Kind::WebhookSource, name, namespaces);
        let policies = self.objects(&gathered.rate_limit_policies, Kind::RateLimitPolicy, name, namespaces);
        let routes = routes.iter().map(|declared| declared.meta.object.clone());
        let sources = sources.iter().map(|declared| declared.meta.object.clone());
        routes.chain(sources).chain(policies.iter().map(|declared| declared.meta.object.clone())).collect()
    }

    fn objects<'a, S>(
        &self,
        all: &'a BTreeMap<ObjectRef, Declared<S>>,
        kind: Kind,
        name: &TenantName,
        namespaces: &BTreeSet<Arc<str>>,
    ) -> Vec<&'a Declared<S>> {
        let mut found = Vec::new();
        for namespace in namespaces {
            let first = ObjectRef::new(kind, Arc::clone(namespace), "");
            let here = all.range(first..).take_while(|(object, _)| object.namespace == *namespace);
            found.extend(here.map(|(_, declared)| declared).filter(|one| self.owner(one).is_ok_and(|own| own == name)));
        }
        found
    }

    /// What is wrong with the objects of a namespace that are no tenant's.
    pub fn homeless(&self, gathered: &Gathered, namespace: &str, problems: &mut Vec<Problem>) {
        let routes = in_namespace(&gathered.routes, Kind::Route, namespace);
        problems.extend(routes.filter_map(|(_, declared)| self.owner(declared).err()));
        let sources = in_namespace(&gathered.webhook_sources, Kind::WebhookSource, namespace);
        problems.extend(sources.filter_map(|(_, declared)| self.owner(declared).err()));
        let policies = in_namespace(&gathered.rate_limit_policies, Kind::RateLimitPolicy, namespace);
        problems.extend(policies.filter_map(|(_, declared)| self.owner(declared).err()));
    }

    /// Why one object is no tenant's, if that is so.
    #[must_use]
    pub fn problem(&self, gathered: &Gathered, object: &ObjectRef) -> Option<Problem> {
        let route = || self.owner(gathered.routes.get(object)?).err();
        let source = || self.owner(gathered.webhook_sources.get(object)?).err();
        let policy = || self.owner(gathered.rate_limit_policies.get(object)?).err();
        route().or_else(source).or_else(policy)
    }

    /// Whose an object is, if it is anybody's.
    #[must_use]
    pub fn owner_of(&self, gathered: &Gathered, object: &ObjectRef) -> Option<TenantName> {
        let route = || self.owner(gathered.routes.get(object)?).ok();
        let source = || self.owner(gathered.webhook_sources.get(object)?).ok();
        let policy = || self.owner(gathered.rate_limit_policies.get(object)?).ok();
        route().or_else(source).or_else(policy).cloned()
    }

    /// Whose an object is, or why it is nobody's.
    fn owner<S>(&self, declared: &Declared<S>) -> Result<&TenantName, Problem> {
        let object = &declared.meta.object;
        let wanted = declared.tenant.as_deref();
        let listed = self.owners.get(&object.namespace).map(Vec::as_slice).unwrap_or_default();
        let (field, message, help) = match (listed, wanted) {
            ([], _) => {
                let message = format!("no Tenant lists namespace {}", object.namespace);
                let help = "add it to spec.namespaces of the Tenant that owns this object".to_owned();
                ("metadata.namespace", message, help)
            }
            ([one], None) => return Ok(one),
            (several, None) => {
                let message = format!("namespace {} serves several tenants", object.namespace);
                ("spec.tenant", message, format!("write spec.tenant: one of {}", names(several)))
            }
            (listed, Some(wanted)) => match listed.iter().find(|name| name.as_str() == wanted) {
                Some(found) => return Ok(found),
                None => {
                    let message = format!("Tenant {wanted} does not list namespace {}", object.namespace);
                    let help = format!("write one that does ({}), or have the Tenant list it", names(listed));
                    ("spec.tenant", message, help)
                }
            },
        };
        let (kind, severity) = (policy::problem::ProblemKind::NotAllowed, policy::problem::Severity::Error);
        Err(Problem { object: object.clone(), field: field.to_owned(), message, help, severity, kind })
    }
}

fn names(tenants: &[TenantName]) -> String {
    tenants.iter().map(TenantName::as_str).collect::<Vec<_>>().join(", ")
}
