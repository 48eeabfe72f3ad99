//! What a cluster would have after manifests were applied: their objects in the place of those of the same name, the
//! others as they are.

use std::collections::BTreeMap;

use policy::names::ObjectRef;

use super::{Declared, Gathered, Meta, core};

/// An object that says what every object has.
trait HasMeta: Clone {
    fn meta(&mut self) -> &mut Meta;
}

impl<S: Clone> HasMeta for Declared<S> {
    fn meta(&mut self) -> &mut Meta {
        &mut self.meta
    }
}

macro_rules! has_meta {
    ($($kind:ty),+) => {
        $(impl HasMeta for $kind {
            fn meta(&mut self) -> &mut Meta {
                &mut self.meta
            }
        })+
    };
}

has_meta!(core::Secret, core::ConfigMap, core::Service, core::EndpointSlice, core::ReferenceGrant);

/// An object that is there keeps its UID and its age: it is changed, not made anew.
fn put<T: HasMeta>(into: &mut BTreeMap<ObjectRef, T>, from: &BTreeMap<ObjectRef, T>) {
    for (object, applied) in from {
        let mut applied = applied.clone();
        if let Some(there) = into.get_mut(object) {
            let Meta { uid, created_secs, .. } = there.meta();
            let meta = applied.meta();
            (meta.uid, meta.created_secs) = (uid.clone(), *created_secs);
        }
        into.insert(object.clone(), applied);
    }
}

impl Gathered {
    /// Applies these objects.
    pub fn overlay(&mut self, applied: &Self) {
        let Self {
            tenants,
            routes,
            rate_limit_policies,
            webhook_sources,
            secrets,
            config_maps,
            services,
            endpoint_slices,
            namespaces,
            grants,
            installation,
            problems,
        } = applied;
        put(&mut self.tenants, tenants);
        put(&mut self.routes, routes);
        put(&mut self.rate_limit_policies, rate_limit_policies);
        put(&mut self.webhook_sources, webhook_sources);
        put(&mut self.secrets, secrets);
        put(&mut self.config_maps, config_maps);
        put(&mut self.services, services);
        put(&mut self.endpoint_slices, endpoint_slices);
        put(&mut self.grants, grants);
        self.namespaces.extend(namespaces.iter().map(|(name, labels)| (name.clone(), labels.clone())));
        self.installation = installation.clone();
        self.problems.extend(problems.iter().map(|(object, problems)| (object.clone(), problems.clone())));
    }
}
