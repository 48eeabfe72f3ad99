//! A change comes in: it is taken, and what it concerns is marked.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::installation::Installation;
use policy::names::{Kind, ObjectRef, TenantName};
use policy::upstream::ServicePort;
use serde_json::Value;

use super::{Place, World};
use crate::gather::{Gathered, Raw, Written, in_namespace};

/// The ports that are remembered for last goods at most.
const MAX_REMEMBERED: usize = 65_536;

impl World {
    /// An object as it is now.
    pub fn apply(&mut self, raw: Raw) {
        let object = raw.meta.object.clone();
        if self.says_the_same(&raw) {
            return;
        }
        let kept = matches!(object.kind, Kind::Secret | Kind::ConfigMap);
        if kept && !self.index.wants(&object, &raw.meta.labels) {
            self.mark(&object);
            self.gathered.remove(&object);
            self.passed_over.insert(object, raw.meta.labels);
            return;
        }
        let claims = (object.kind == Kind::Tenant).then(|| self.claims(&object));
        // What was, and then what is: a label that goes concerns those who selected by it.
        self.mark(&object);
        self.passed_over.remove(&object);
        self.gathered.take(raw, Vec::new());
        self.mark(&object);
        if claims.is_some_and(|before| before != self.claims(&object)) {
            self.dirty.ownership = true;
        }
    }

    /// Whether an object of the four kinds is known just so: a status was written, and nothing else.
    fn says_the_same(&self, raw: &Raw) -> bool {
        let Gathered { tenants, routes, rate_limit_policies, webhook_sources, .. } = &self.gathered;
        let object = &raw.meta.object;
        let known = match object.kind {
            Kind::Tenant => tenants.get(object).map(|known| (&known.meta, &known.written)),
            Kind::Route => routes.get(object).map(|known| (&known.meta, &known.written)),
            Kind::RateLimitPolicy => rate_limit_policies.get(object).map(|known| (&known.meta, &known.written)),
            Kind::WebhookSource => webhook_sources.get(object).map(|known| (&known.meta, &known.written)),
            Kind::Secret
            | Kind::ConfigMap
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::Namespace
            | Kind::ReferenceGrant => None,
        };
        known.is_some_and(|(meta, written)| *meta == raw.meta && *written == Written::of(&raw.value))
    }

    /// A Secret or ConfigMap that was fetched because it is named now; the watch may have been faster.
    pub fn apply_fetched(&mut self, raw: Raw) {
        if self.passed_over.contains_key(&raw.meta.object) {
            self.apply(raw);
        }
    }

    /// An object that is gone.
    pub fn remove(&mut self, object: &ObjectRef) {
        self.mark(object);
        self.gathered.remove(object);
        self.passed_over.remove(object);
        match object.kind {
            Kind::Tenant => self.dirty.ownership = true,
            Kind::Route | Kind::WebhookSource | Kind::RateLimitPolicy => {
                self.dirty.homeless.insert(object.clone());
            }
            Kind::Namespace
            | Kind::Secret
            | Kind::ConfigMap
            | Kind::Service
            | Kind::EndpointSlice
            | Kind::ReferenceGrant => {}
        }
    }

    /// The objects of a kind that are known, all or those of one namespace: what a list does not name is gone.
    #[must_use]
    pub fn objects(&self, kind: Kind, namespace: Option<&str>) -> Vec<ObjectRef> {
        let gathered = &self.gathered;
        let all: Box<dyn Iterator<Item = &ObjectRef>> = match kind {
            Kind::Tenant => Box::new(gathered.tenants.keys()),
            Kind::Route => Box::new(gathered.routes.keys()),
            Kind::RateLimitPolicy => Box::new(gathered.rate_limit_policies.keys()),
            Kind::WebhookSource => Box::new(gathered.webhook_sources.keys()),
            Kind::Secret => Box::new(gathered.secrets.keys().chain(self.passed_over.keys())),
            Kind::ConfigMap => Box::new(gathered.config_maps.keys().chain(self.passed_over.keys())),
            Kind::Service => Box::new(gathered.services.keys()),
            Kind::EndpointSlice => Box::new(gathered.endpoint_slices.keys()),
            Kind::ReferenceGrant => Box::new(gathered.grants.keys()),
            Kind::Namespace => {
                let named = |name: &Arc<str>| ObjectRef::new(Kind::Namespace, "", Arc::clone(name));
                return gathered.namespaces.keys().map(named).collect();
            }
        };
        let here = |object: &&ObjectRef| {
            object.kind == kind && namespace.is_none_or(|namespace| *object.namespace == *namespace)
        };
        all.filter(here).cloned().collect()
    }

    /// A place was read to its end.
    pub fn known(&mut self, place: Place) {
        self.dirty.tenants.extend(self.index.who_looks_into(place.0, &place.1));
        self.unreadable.remove(&place);
        self.known.insert(place);
    }

    /// A place cannot be read. What was read there before stays.
    pub fn unreadable(&mut self, place: Place, why: String) {
        if !self.known.contains(&place) && self.unreadable.get(&place) != Some(&why) {
            self.dirty.tenants.extend(self.index.who_looks_into(place.0, &place.1));
            self.unreadable.insert(place, why);
        }
    }

    /// What whoever runs the operator provides beside the objects. Anybody may name it, so it concerns everybody; it
    /// changes once a week.
    pub fn provide(&mut self, installation: Installation) {
        if self.gathered.installation != installation {
            self.gathered.installation = installation;
            self.dirty.tenants.extend(self.ownership.tenants.keys().cloned());
        }
    }

    /// A place is not watched any more: what was seen there is forgotten.
    pub fn forget(&mut self, place: &Place) {
        for object in self.objects(place.0, Some(&place.1)) {
            self.remove(&object);
        }
        self.known.remove(place);
        self.unreadable.remove(place);
    }

    /// Ports that a dataplane needs for what it runs: a last good that nobody here knows may be among it.
    pub fn remember(&mut self, services: impl IntoIterator<Item = ServicePort>) {
        for service in services {
            if self.remembered.len() < MAX_REMEMBERED && !self.index.needs(&service) {
                self.dirty.services.insert((Arc::clone(&service.namespace), Arc::clone(&service.name)));
                self.remembered.insert(service);
            }
        }
    }

    /// Marks what an object concerns, as it is known now.
    fn mark(&mut self, object: &ObjectRef) {
        let ObjectRef { kind, namespace, name } = object;
        match kind {
            Kind::Tenant => self.dirty.tenants.extend(TenantName::parse(name)),
            Kind::Route | Kind::RateLimitPolicy => self.mark_owned(object),
            Kind::WebhookSource => {
                self.mark_owned(object);
                self.dirty.tenants.extend(self.index.who_names(object).cloned());
            }
            Kind::ConfigMap => self.dirty.tenants.extend(self.index.who_names(object).cloned()),
            Kind::Secret => {
                self.dirty.tenants.extend(self.index.who_names(object).cloned());
                if let Some(secret) = self.gathered.secrets.get(object) {
                    self.dirty.tenants.extend(self.index.who_selects(namespace, &secret.meta.labels).cloned());
                }
            }
            Kind::Service => {
                self.dirty.tenants.extend(self.index.who_names(object).cloned());
                self.dirty.services.insert((Arc::clone(namespace), Arc::clone(name)));
            }
            Kind::EndpointSlice => {
                if let Some(slice) = self.gathered.endpoint_slices.get(object) {
                    self.dirty.services.insert((Arc::clone(namespace), slice.service.as_str().into()));
                }
            }
            Kind::Namespace => self.dirty.ownership |= self.anyone_selects_namespaces(),
            Kind::ReferenceGrant => {
                for kind in [Kind::Secret, Kind::ConfigMap, Kind::Service] {
                    self.dirty.tenants.extend(self.index.who_looks_into(kind, namespace));
                }
            }
        }
    }

    fn mark_owned(&mut self, object: &ObjectRef) {
        let owners = self.ownership.owners.get(&object.namespace).into_iter().flatten();
        self.dirty.tenants.extend(owners.cloned());
        self.dirty.homeless.insert(object.clone());
    }

    fn anyone_selects_namespaces(&self) -> bool {
        let selects = |spec: &policy::tenant::TenantSpec| spec.namespaces.selector.is_some();
        self.gathered.tenants.values().any(|declared| declared.spec.as_ref().is_some_and(selects))
    }

    /// What ownership reads of a Tenant.
    fn claims(&self, object: &ObjectRef) -> Option<(i64, bool, BTreeMap<&'static str, Value>)> {
        let declared = self.gathered.tenants.get(object)?;
        let value = declared.written.value();
        let field = |name: &'static str| Some((name, value.pointer(&format!("/spec/{name}"))?.clone()));
        let fields = ["hostnames", "identifiers", "namespaces"].into_iter().filter_map(field).collect();
        Some((declared.meta.created_secs, declared.spec.is_some(), fields))
    }

    /// The namespaced objects of a namespace, for a look at whose they are.
    pub(super) fn owned_in(&self, namespace: &str) -> Vec<ObjectRef> {
        let gathered = &self.gathered;
        let routes = in_namespace(&gathered.routes, Kind::Route, namespace).map(|(object, _)| object);
        let sources = in_namespace(&gathered.webhook_sources, Kind::WebhookSource, namespace).map(|(object, _)| object);
        let policies =
            in_namespace(&gathered.rate_limit_policies, Kind::RateLimitPolicy, namespace).map(|(object, _)| object);
        routes.chain(sources).chain(policies).cloned().collect()
    }
}
