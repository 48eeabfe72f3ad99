//! What is marked is looked at again, and what is different comes out.

use std::collections::BTreeSet;
use std::sync::Arc;

use policy::names::{Kind, ObjectRef, TenantName};
use policy::problem::{Problem, Problems};
use policy::upstream::ServicePort;

use super::{Delta, Place, Settled, World};
use crate::compile::{CompiledTenant, compile_tenant, endpoints};
use crate::resolve::Ownership;
use crate::resolve::references::Named;

impl World {
    /// Looks again at all that the changes since the last time concern.
    pub fn settle(&mut self) -> Delta {
        let mut delta = Delta::default();
        if std::mem::take(&mut self.dirty.ownership) {
            self.settle_ownership(&mut delta);
        }
        for name in std::mem::take(&mut self.dirty.tenants) {
            if self.ownership.tenants.contains_key(&name) {
                self.settle_tenant(&name, &mut delta);
            }
        }
        for object in std::mem::take(&mut self.dirty.homeless) {
            match self.ownership.problem(&self.gathered, &object) {
                Some(problem) => drop(self.homeless.insert(object.clone(), problem)),
                None => drop(self.homeless.remove(&object)),
            }
            delta.judged_homeless.insert(object);
        }
        self.settle_endpoints(&mut delta);
        delta
    }

    fn settle_ownership(&mut self, delta: &mut Delta) {
        let now = Ownership::of(&self.gathered);
        let before = std::mem::replace(&mut self.ownership, now);
        let now = &self.ownership;
        for (name, owned) in &now.tenants {
            let problems = |of: &Ownership| of.problems.get(&owned.object).cloned();
            if before.tenants.get(name) != Some(owned) || problems(&before) != problems(now) {
                self.dirty.tenants.insert(name.clone());
            }
        }
        let namespaces: BTreeSet<&Arc<str>> = before.owners.keys().chain(now.owners.keys()).collect();
        let mut moved = Vec::new();
        for namespace in namespaces {
            let (old, new) = (before.owners.get(namespace), now.owners.get(namespace));
            if old != new {
                self.dirty.tenants.extend(old.into_iter().chain(new).flatten().cloned());
                moved.extend(self.owned_in(namespace));
            }
        }
        self.dirty.homeless.extend(moved);
        let gone: Vec<TenantName> =
            before.tenants.keys().filter(|name| !self.ownership.tenants.contains_key(*name)).cloned().collect();
        for name in gone {
            if let Some(settled) = self.tenants.remove(&name) {
                self.leave(&name, &settled.named, &Named::default());
                self.index.note_services(&name, &settled.services, false);
                self.dirty.services.extend(settled.services.iter().map(of_service));
            }
            self.labels.remove(&name);
            delta.judged.insert(name.clone());
            delta.removed.push(name);
        }
    }

    fn settle_tenant(&mut self, name: &TenantName, delta: &mut Delta) {
        delta.judged.insert(name.clone());
        self.settle_labels(name, delta);
        let before = self.tenants.remove(name).unwrap_or_default();
        let Some(compiled) = compile_tenant(&self.gathered, &self.ownership, name) else {
            // A Tenant that cannot be read keeps all that is in force.
            let problems = self.ownership.declared_problems(&self.gathered, name);
            if before.snapshot.is_none() {
                delta.tenants.push((name.clone(), None));
            }
            self.tenants.insert(name.clone(), Settled { problems, ..before });
            return;
        };
        let CompiledTenant { snapshot, mut problems, named, any_broken } = compiled;
        self.index.note(name, &named, true);
        let waits_for = self.waits_for(&named);
        let mut fetched = self.passed_over_but_named(&named);
        let waits = !waits_for.is_empty() || !fetched.is_empty();
        delta.fetch.append(&mut fetched);
        if waits {
            // Both what is in force and what is to come are named, until it has come.
            let named = both(&before.named, named);
            self.say_what_is_missing(name, &waits_for, &mut problems);
            if before.snapshot.is_none() {
                delta.tenants.push((name.clone(), None));
            }
            self.tenants.insert(name.clone(), Settled { problems, named, waits_for, ..before });
            return;
        }
        self.leave(name, &before.named, &named);
        let mut services = named.services.clone();
        if any_broken {
            services.extend(before.services.iter().cloned());
        }
        let services = if *before.services == services {
            before.services
        } else {
            self.index.note_services(name, &before.services, false);
            self.index.note_services(name, &services, true);
            self.dirty.services.extend(before.services.symmetric_difference(&services).map(of_service));
            let services = Arc::new(services);
            delta.services.push((name.clone(), Arc::clone(&services)));
            services
        };
        let same = before.snapshot.as_ref().filter(|known| known.hash == snapshot.hash);
        let snapshot = same.cloned().unwrap_or_else(|| {
            let snapshot = Arc::new(snapshot);
            delta.tenants.push((name.clone(), Some(Arc::clone(&snapshot))));
            snapshot
        });
        let settled = Settled { snapshot: Some(snapshot), problems, named, services, waits_for: BTreeSet::new() };
        self.tenants.insert(name.clone(), settled);
    }

    fn settle_labels(&mut self, name: &TenantName, delta: &mut Delta) {
        let declared = self.ownership.tenants.get(name).and_then(|owned| self.gathered.tenants.get(&owned.object));
        let labels = declared.map(|declared| declared.meta.labels.clone()).unwrap_or_default();
        if self.labels.get(name).map_or(labels.is_empty(), |known| *known == labels) {
            return;
        }
        delta.labels.push((name.clone(), labels.clone()));
        self.labels.insert(name.clone(), labels);
    }

    /// Places that are named and were not read to their end yet.
    fn waits_for(&self, named: &Named) -> BTreeSet<Place> {
        let objects = named.objects.iter().filter(|object| matches!(object.kind, Kind::Secret | Kind::ConfigMap));
        let objects = objects.map(|object| (object.kind, Arc::clone(&object.namespace)));
        let selectors = named.selectors.iter().map(|(namespace, _)| (Kind::Secret, Arc::clone(namespace)));
        objects.chain(selectors).filter(|place| !self.known.contains(place)).collect()
    }

    fn passed_over_but_named(&self, named: &Named) -> BTreeSet<ObjectRef> {
        let mut found: BTreeSet<ObjectRef> =
            named.objects.iter().filter(|object| self.passed_over.contains_key(object)).cloned().collect();
        for (namespace, _) in &named.selectors {
            let here = crate::gather::in_namespace(&self.passed_over, Kind::Secret, namespace);
            found.extend(here.filter(|(_, labels)| named.selects(namespace, labels)).map(|(object, _)| object.clone()));
        }
        found
    }

    fn say_what_is_missing(&self, name: &TenantName, waits_for: &BTreeSet<Place>, problems: &mut Vec<Problem>) {
        let Some(owned) = self.ownership.tenants.get(name) else { return };
        // What is missing only because nothing was read yet is no problem of the objects'.
        problems.clear();
        for place in waits_for {
            let Some(why) = self.unreadable.get(place) else { continue };
            let (kind, namespace) = place;
            let mut problems = Problems::of(&owned.object, problems);
            let message = format!("the {kind}s of namespace {namespace} cannot be read: {why}");
            let help = format!("give the operator the Role for that namespace: get, list, watch on {kind}s");
            problems.at("spec.namespaces").unresolved(message, help);
        }
    }

    /// Forgets that a tenant named what it does not name now, and drops what nobody names any more.
    fn leave(&mut self, name: &TenantName, before: &Named, now: &Named) {
        let without = |all: &BTreeSet<ObjectRef>, kept: &BTreeSet<ObjectRef>| all.difference(kept).cloned().collect();
        let left = Named {
            objects: without(&before.objects, &now.objects),
            denied: without(&before.denied, &now.denied),
            selectors: before.selectors.difference(&now.selectors).cloned().collect(),
            services: BTreeSet::new(),
        };
        self.index.note(name, &left, false);
        let selected = left.selectors.iter().flat_map(|(namespace, _)| {
            crate::gather::in_namespace(&self.gathered.secrets, Kind::Secret, namespace).map(|(object, _)| object)
        });
        let maybe: Vec<ObjectRef> = left.objects.iter().chain(selected).cloned().collect();
        for object in maybe {
            let labels = match object.kind {
                Kind::Secret => self.gathered.secrets.get(&object).map(|secret| &secret.meta.labels),
                Kind::ConfigMap => self.gathered.config_maps.get(&object).map(|map| &map.meta.labels),
                Kind::Tenant
                | Kind::Route
                | Kind::RateLimitPolicy
                | Kind::WebhookSource
                | Kind::Service
                | Kind::EndpointSlice
                | Kind::Namespace
                | Kind::ReferenceGrant => None,
            };
            if let Some(labels) = labels.filter(|labels| !self.index.wants(&object, labels)).cloned() {
                self.gathered.remove(&object);
                self.passed_over.insert(object, labels);
            }
        }
    }

    fn settle_endpoints(&mut self, delta: &mut Delta) {
        let broken = |settled: &Settled| settled.services.len() > settled.named.services.len();
        if !self.remembered.is_empty() && !self.tenants.values().any(|one| one.snapshot.is_none() || broken(one)) {
            let forgotten = std::mem::take(&mut self.remembered);
            self.dirty.services.extend(forgotten.iter().map(of_service));
        }
        for (namespace, name) in std::mem::take(&mut self.dirty.services) {
            let first = ServicePort { namespace: Arc::clone(&namespace), name: Arc::clone(&name), port: 0 };
            let range = first.clone()..=ServicePort { port: u16::MAX, ..first };
            let known = self.endpoints.range(range.clone()).map(|(service, _)| service.clone());
            let named = self.index.ports(&namespace, &name).cloned();
            let beside = self.own.range(range.clone()).chain(self.remembered.range(range)).cloned();
            let ports: BTreeSet<ServicePort> = named.chain(beside).chain(known).collect();
            for port in ports {
                if !self.index.needs(&port) && !self.own.contains(&port) && !self.remembered.contains(&port) {
                    self.endpoints.remove(&port);
                    delta.endpoints_removed.push(port);
                    continue;
                }
                let now = endpoints::of(&self.gathered, &port);
                if self.endpoints.get(&port) != Some(&now) {
                    delta.endpoints.push(now.clone());
                    self.endpoints.insert(port, now);
                }
            }
        }
    }
}

fn of_service(service: &ServicePort) -> (Arc<str>, Arc<str>) {
    (Arc::clone(&service.namespace), Arc::clone(&service.name))
}

fn both(before: &Named, mut now: Named) -> Named {
    now.objects.extend(before.objects.iter().cloned());
    now.denied.extend(before.denied.iter().cloned());
    now.selectors.extend(before.selectors.iter().cloned());
    now
}
