//! Who names what, so that a change finds those whom it concerns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::names::{Kind, ObjectRef, TenantName};
use policy::upstream::ServicePort;

use super::Place;
use crate::resolve::references::Named;

type Labels = BTreeMap<String, String>;
type Tenants = BTreeSet<TenantName>;

/// Tenants by what their objects name.
#[derive(Debug, Default)]
pub(super) struct Index {
    objects: BTreeMap<ObjectRef, Tenants>,
    denied: BTreeMap<ObjectRef, Tenants>,
    selectors: BTreeMap<Arc<str>, BTreeMap<Labels, Tenants>>,
    services: BTreeMap<ServicePort, Tenants>,
    /// How many keys of `objects` and `selectors` are in a place.
    places: BTreeMap<Place, usize>,
}

/// Puts a tenant under a key, or takes it away; a key that nobody has is forgotten. Whether the key came or went.
fn set<K: Ord + Clone>(map: &mut BTreeMap<K, Tenants>, key: &K, tenant: &TenantName, there: bool) -> bool {
    if there {
        let tenants = map.entry(key.clone()).or_default();
        tenants.insert(tenant.clone()) && tenants.len() == 1
    } else if let Some(tenants) = map.get_mut(key) {
        tenants.remove(tenant);
        tenants.is_empty() && map.remove(key).is_some()
    } else {
        false
    }
}

/// Counts a key in, or out of, its place.
fn count(places: &mut BTreeMap<Place, usize>, place: Place, there: bool) {
    let keys = places.get(&place).copied().unwrap_or_default();
    match if there { keys + 1 } else { keys.saturating_sub(1) } {
        0 => drop(places.remove(&place)),
        keys => drop(places.insert(place, keys)),
    }
}

impl Index {
    /// Notes, or forgets, what a tenant names.
    pub(super) fn note(&mut self, tenant: &TenantName, named: &Named, there: bool) {
        let Named { objects, denied, selectors, services: _ } = named;
        for object in objects {
            let changed = set(&mut self.objects, object, tenant, there);
            if changed && matches!(object.kind, Kind::Secret | Kind::ConfigMap) {
                count(&mut self.places, (object.kind, Arc::clone(&object.namespace)), there);
            }
        }
        for object in denied {
            set(&mut self.denied, object, tenant, there);
        }
        for (namespace, labels) in selectors {
            let place = self.selectors.entry(Arc::clone(namespace)).or_default();
            if set(place, labels, tenant, there) {
                count(&mut self.places, (Kind::Secret, Arc::clone(namespace)), there);
            }
            if place.is_empty() {
                self.selectors.remove(namespace);
            }
        }
    }

    /// Notes, or forgets, which ports a tenant needs.
    pub(super) fn note_services(&mut self, tenant: &TenantName, services: &BTreeSet<ServicePort>, there: bool) {
        for service in services {
            set(&mut self.services, service, tenant, there);
        }
    }

    /// Who names an object.
    pub(super) fn who_names(&self, object: &ObjectRef) -> impl Iterator<Item = &TenantName> {
        self.objects.get(object).into_iter().chain(self.denied.get(object)).flatten()
    }

    /// Who selects a Secret with these labels.
    pub(super) fn who_selects<'i>(
        &'i self,
        namespace: &str,
        labels: &'i Labels,
    ) -> impl Iterator<Item = &'i TenantName> {
        let selectors = self.selectors.get(namespace).into_iter().flatten();
        selectors.filter(|(selector, _)| policy::reference::selects(selector, labels)).flat_map(|(_, tenants)| tenants)
    }

    /// Whether anybody names, or selects, a Secret or ConfigMap.
    pub(super) fn wants(&self, object: &ObjectRef, labels: &Labels) -> bool {
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
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.places.keys()
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
