//! One object into, or out of, what is gathered.

use std::collections::BTreeMap;

use policy::names::{Kind, ObjectRef};
use policy::problem::{Problem, Problems};
use serde::de::DeserializeOwned;

use super::{Declared, Gathered, Raw, core};

impl Gathered {
    /// Puts an object in its place.
    pub fn take(&mut self, raw: Raw, mut problems: Vec<Problem>) {
        let object = raw.meta.object.clone();
        if matches!(object.kind, Kind::Tenant | Kind::Route | Kind::RateLimitPolicy | Kind::WebhookSource) {
            unknown_roots(&raw, &mut Problems::of(&object, &mut problems));
        }
        let collector = &mut Problems::of(&object, &mut problems);
        match object.kind {
            Kind::Tenant => return declare(&mut self.tenants, raw, problems),
            Kind::Route => return declare(&mut self.routes, raw, problems),
            Kind::RateLimitPolicy => return declare(&mut self.rate_limit_policies, raw, problems),
            Kind::WebhookSource => return declare(&mut self.webhook_sources, raw, problems),
            Kind::Secret => put(&mut self.secrets, core::Secret::read(&raw, collector), &object),
            Kind::ConfigMap => put(&mut self.config_maps, core::ConfigMap::read(&raw, collector), &object),
            Kind::Service => put(&mut self.services, core::Service::read(&raw, collector), &object),
            Kind::EndpointSlice => put(&mut self.endpoint_slices, core::EndpointSlice::read(&raw, collector), &object),
            Kind::Namespace => {
                self.namespaces.insert(raw.meta.object.name, raw.meta.labels);
            }
            Kind::ReferenceGrant => put(&mut self.grants, core::ReferenceGrant::read(&raw, collector), &object),
        }
        if problems.is_empty() {
            self.problems.remove(&object);
        } else {
            self.problems.insert(object, problems);
        }
    }

    /// Takes an object out.
    pub fn remove(&mut self, object: &ObjectRef) {
        match object.kind {
            Kind::Tenant => drop(self.tenants.remove(object)),
            Kind::Route => drop(self.routes.remove(object)),
            Kind::RateLimitPolicy => drop(self.rate_limit_policies.remove(object)),
            Kind::WebhookSource => drop(self.webhook_sources.remove(object)),
            Kind::Secret => drop(self.secrets.remove(object)),
            Kind::ConfigMap => drop(self.config_maps.remove(object)),
            Kind::Service => drop(self.services.remove(object)),
            Kind::EndpointSlice => drop(self.endpoint_slices.remove(object)),
            Kind::Namespace => drop(self.namespaces.remove(&object.name)),
            Kind::ReferenceGrant => drop(self.grants.remove(object)),
        }
        self.problems.remove(object);
    }
}

/// The objects of one namespace, without a look at the others.
pub(crate) fn in_namespace<'m, T>(
    map: &'m BTreeMap<ObjectRef, T>,
    kind: Kind,
    namespace: &'m str,
) -> impl Iterator<Item = (&'m ObjectRef, &'m T)> {
    let first = ObjectRef::new(kind, namespace, "");
    map.range(first..).take_while(move |(object, _)| object.kind == kind && &*object.namespace == namespace)
}

fn declare<S: DeserializeOwned>(map: &mut BTreeMap<ObjectRef, Declared<S>>, raw: Raw, problems: Vec<Problem>) {
    map.insert(raw.meta.object.clone(), Declared::read(raw, problems));
}

/// One that cannot be read stands for nothing, whatever it said before.
fn put<T>(map: &mut BTreeMap<ObjectRef, T>, value: Option<T>, object: &ObjectRef) {
    match value {
        Some(value) => drop(map.insert(object.clone(), value)),
        None => drop(map.remove(object)),
    }
}

fn unknown_roots(raw: &Raw, problems: &mut Problems<'_>) {
    const ROOTS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    for name in raw.value.as_object().into_iter().flat_map(|map| map.keys()) {
        if !ROOTS.contains(&name.as_str()) {
            problems.at(name).invalid("is an unknown field", "move it into spec, or take it out");
        }
    }
}
