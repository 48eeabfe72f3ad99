//! Other objects as one referrer may see them: its own namespace, or one that grants it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::names::{Kind, ObjectRef, TenantName};
use policy::reference::{BackendRef, ConfigMapKeyRef, SecretKeyRef, SecretSelector, selects};
use policy::refs::{Lookup, RefError, Refs, SelectedSecret};
use policy::secret::Secret;
use policy::upstream::ServicePort;

use crate::gather::{Gathered, in_namespace};

/// What a tenant's objects name, whether it is there and granted or not: a change of it is a change for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Single objects that may be named.
    pub objects: BTreeSet<ObjectRef>,
    /// Those that may not, as long as no grant says otherwise; `*` stands for a selector.
    pub denied: BTreeSet<ObjectRef>,
    /// Secrets by labels: the namespace, and what is selected in it.
    pub selectors: BTreeSet<(Arc<str>, BTreeMap<String, String>)>,
    /// Ports of Services.
    pub services: BTreeSet<ServicePort>,
}

impl Named {
    /// Whether any selector takes a Secret with these labels.
    #[must_use]
    pub fn selects(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.selectors.iter().any(|(place, selector)| **place == *namespace && selects(selector, labels))
    }
}

/// One referrer.
#[derive(Clone, Copy, Debug)]
pub struct Referrer<'a> {
    /// Everything.
    pub gathered: &'a Gathered,
    /// Who refers.
    pub object: &'a ObjectRef,
    /// Its tenant.
    pub tenant: &'a TenantName,
    /// The tenant's namespaces.
    pub namespaces: &'a BTreeSet<Arc<str>>,
    /// Where it is noted what was named.
    pub named: &'a RefCell<Named>,
}

impl Referrer<'_> {
    /// The object that is meant, when this referrer may name it.
    fn target(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Lookup<ObjectRef> {
        let object = ObjectRef::new(kind, namespace.unwrap_or(&self.object.namespace), name);
        let allowed = self.allowed(object.clone());
        let mut named = self.named.borrow_mut();
        if allowed.is_ok() {
            named.objects.insert(object)
        } else {
            named.denied.insert(object)
        };
        allowed
    }

    fn allowed(&self, object: ObjectRef) -> Lookup<ObjectRef> {
        let (own, namespace) = (&*self.object.namespace, &*object.namespace);
        if own.is_empty() {
            // A Tenant has no namespace of its own, and every one that it lists.
            return match namespace {
                "" => Err(RefError::NoNamespace),
                namespace if self.namespaces.contains(namespace) => Ok(object),
                _ => Err(RefError::ForeignNamespace { object, tenant: self.tenant.to_string() }),
            };
        }
        if namespace == own || self.granted(&object) {
            return Ok(object);
        }
        Err(RefError::NotGranted { object, referrer: self.object.clone() })
    }

    fn granted(&self, object: &ObjectRef) -> bool {
        let in_place = in_namespace(&self.gathered.grants, Kind::ReferenceGrant, &object.namespace);
        in_place.into_iter().any(|(_, grant)| {
            let from = grant.from.iter().any(|from| {
                from.group == policy::crd::GROUP
                    && from.kind == self.object.kind.to_string()
                    && *from.namespace == *self.object.namespace
            });
            let to = grant.to.iter().any(|to| {
                let named = to.name.as_ref().is_none_or(|name| **name == *object.name);
                to.group.is_empty() && to.kind == object.kind.to_string() && named
            });
            from && to
        })
    }
}

fn missing_key(object: ObjectRef, key: &str, present: impl Iterator<Item = String>) -> RefError {
    RefError::MissingPart { object, part: "key", wanted: key.to_owned(), present: present.collect() }
}

impl Refs for Referrer<'_> {
    fn secret(&self, reference: &SecretKeyRef) -> Lookup<Secret> {
        let object = self.target(Kind::Secret, reference.namespace.as_deref(), &reference.name)?;
        let Some(secret) = self.gathered.secrets.get(&object) else { return Err(RefError::Missing(object)) };
        let value = secret.data.get(&reference.key).cloned();
        let value = value.ok_or_else(|| missing_key(object.clone(), &reference.key, secret.data.keys().cloned()))?;
        if value.is_blank() {
            let (why, help) = ("is empty under the key that is named", "write the secret there");
            return Err(RefError::Unfit { object, why, help });
        }
        Ok(value)
    }

    fn secrets(&self, selector: &SecretSelector) -> Lookup<Vec<SelectedSecret>> {
        // A grant that names single Secrets does not open the others to a selector: only one for all does.
        let own = &*self.object.namespace;
        let all = ObjectRef::new(Kind::Secret, selector.namespace.as_deref().unwrap_or(own), "*");
        let place = match self.allowed(all.clone()) {
            Ok(place) => place,
            Err(error) => {
                self.named.borrow_mut().denied.insert(all);
                return Err(error);
            }
        };
        self.named.borrow_mut().selectors.insert((Arc::clone(&place.namespace), selector.match_labels.clone()));
        let in_place = in_namespace(&self.gathered.secrets, Kind::Secret, &place.namespace);
        let selected = in_place.filter(|(_, secret)| selects(&selector.match_labels, &secret.meta.labels));
        Ok(selected
            .map(|(_, secret)| secret)
            .map(|secret| SelectedSecret { object: secret.meta.object.clone(), data: secret.data.clone() })
            .collect())
    }

    fn config_map(&self, reference: &ConfigMapKeyRef) -> Lookup<Arc<str>> {
        let object = self.target(Kind::ConfigMap, reference.namespace.as_deref(), &reference.name)?;
        let Some(map) = self.gathered.config_maps.get(&object) else { return Err(RefError::Missing(object)) };
        let value = map.data.get(&reference.key).cloned();
        value.ok_or_else(|| missing_key(object, &reference.key, map.data.keys().cloned()))
    }

    fn service(&self, reference: &BackendRef) -> Lookup<ServicePort> {
        let object = self.target(Kind::Service, reference.namespace.as_deref(), &reference.name)?;
        let Some(service) = self.gathered.services.get(&object) else { return Err(RefError::Missing(object)) };
        if service.external_name {
            let (why, help) = (
                "is of type ExternalName, which could lead anywhere",
                "write the place as url, where it is checked, or name a Service with endpoints",
            );
            return Err(RefError::Unfit { object, why, help });
        }
        if !service.ports.iter().any(|port| port.port == reference.port) {
            let present = service.ports.iter().map(|port| port.port.to_string()).collect();
            let wanted = reference.port.to_string();
            return Err(RefError::MissingPart { object, part: "port", wanted, present });
        }
        let service = ServicePort { namespace: object.namespace, name: object.name, port: reference.port };
        self.named.borrow_mut().services.insert(service.clone());
        Ok(service)
    }
}
