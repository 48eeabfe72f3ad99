//! Who names what, so that a change finds those whom it concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::names::{Kind, ObjectRef, TenantName};
use policy::upstream::ServicePort;

use super::Place;
use crate::resolve::references::Named;

/// Tenants by what their objects name.
#[derive(Debug, Default)]
pub(super) struct Index {
    objects: BTreeMap<ObjectRef, BTreeSet<TenantName>>,
    denied: BTreeMap<ObjectRef, BTreeSet<TenantName>>,
    selectors: BTreeMap<Arc<str>, BTreeMap<BTreeMap<String, String>, BTreeSet<TenantName>>>,
    services: BTreeMap<ServicePort, BTreeSet<TenantName>>,
}

/// Puts a tenant under a key, or takes it away; a key that nobody has is forgotten.
fn set<K: Ord + Clone>(map: &mut BTreeMap<K, BTreeSet<TenantName>>, key: &K, tenant: &TenantName, there: bool) {
    if there {
        map.entry(key.clone()).or_default().insert(tenant.clone());
    } else if let Some(tenants) = map.get_mut(key) {
        tenants.remove(tenant);
        if tenants.is_empty() {
            map.remove(key);
        }
    }
}

impl Index {
    /// Notes, or forgets, what a tenant names.
    pub(super) fn note(&mut self, tenant: &TenantName, named: &Named, there: bool) {
        let Named { objects, denied, selectors, services: _ } = named;
        objects.iter().for_each(|object| set(&mut self.objects, object, tenant, there));
        denied.iter().for_each(|object| set(&mut self.denied, object, tenant, there));
        for (namespace, labels) in selectors {
            let place = self.selectors.entry(Arc::clone(namespace)).or_default();
            set(place, labels, tenant, there);
            if place.is_empty() {
                self.selectors.remove(namespace);
            }
        }
    }

    /// Notes, or forgets, which ports a tenant needs.
    pub(super) fn note_services(&mut self, tenant: &TenantName, services: &BTreeSet<ServicePort>, there: bool) {
        services.iter().for_each(|service| set(&mut self.services, service, tenant, there));
    }

    /// Who names an object.
    pub(super) fn who_names(&self, object: &ObjectRef) -> impl Iterator<Item = &TenantName> {
        self.objects.get(object).into_iter().chain(self.denied.get(object)).flatten()
    }

    /// Who selects a Secret with these labels.
    pub(super) fn who_selects<'i>(
        &'i self,
        namespace: &str,
        labels: &'i BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'i TenantName> {
        let selectors = self.selectors.get(namespace).into_iter().flatten();
        selectors.filter(|(selector, _)| policy::reference::selects(selector, labels)).flat_map(|(_, tenants)| tenants)
    }

    /// Whether anybody names, or selects, a Secret or ConfigMap.
    pub(super) fn wants(&self, object: &ObjectRef, labels: &BTreeMap<String, String>) -> bool {
        let selected = || object.kind == Kind::Secret && self.who_selects(&object.namespace, labels).next().is_some();
        self.objects.contains_key(object) || selected()
    }

    /// Who names anything in a place, granted or not.
    pub(super) fn who_looks_into(&self, kind: Kind, namespace: &str) -> BTreeSet<TenantName> {
        let mut found = BTreeSet::new();
        for map in [&self.objects, &self.denied] {
            let first = ObjectRef::new(kind, namespace, "");
            let here = map.range(first..).take_while(|(o, _)| o.kind == kind && *o.namespace == *namespace);
            found.extend(here.flat_map(|(_, tenants)| tenants.iter().cloned()));
        }
        if kind == Kind::Secret {
            let selectors = self.selectors.get(namespace).into_iter().flatten();
            found.extend(selectors.flat_map(|(_, tenants)| tenants.iter().cloned()));
        }
        found
    }

    /// Where Secrets and ConfigMaps are named.
    pub(super) fn places(&self) -> BTreeSet<Place> {
        let named = self.objects.keys().filter(|object| matches!(object.kind, Kind::Secret | Kind::ConfigMap));
        let named = named.map(|object| (object.kind, Arc::clone(&object.namespace)));
        named.chain(self.selectors.keys().map(|namespace| (Kind::Secret, Arc::clone(namespace)))).collect()
    }

    /// Whether anybody needs a port.
    pub(super) fn needs(&self, service: &ServicePort) -> bool {
        self.services.contains_key(service)
    }

    /// The ports of a Service that somebody needs.
    pub(super) fn ports(&self, namespace: &Arc<str>, name: &Arc<str>) -> impl Iterator<Item = &ServicePort> {
        let first = ServicePort { namespace: Arc::clone(namespace), name: Arc::clone(name), port: 0 };
        let last = ServicePort { port: u16::MAX, ..first.clone() };
        self.services.range(first..=last).map(|(service, _)| service)
    }
}
