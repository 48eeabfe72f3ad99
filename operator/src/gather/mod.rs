//! Objects into one value. May not decide: what an object means, and whether it may, is said by `resolve`
//! and `compile`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use policy::installation::Installation;
use policy::names::ObjectRef;
use policy::problem::Problem;
use policy::rate_limit::RateLimitPolicySpec;
use policy::route::RouteSpec;
use policy::tenant::TenantSpec;
use policy::webhook_source::WebhookSourceSpec;
use serde_json::Value;

pub mod cluster;
pub mod core;
pub mod declared;
pub mod fetch;
pub mod files;
pub mod lists;
pub mod observed;
mod overlay;
pub mod place;
pub mod provider_ranges;
pub mod schema;
mod take;
pub mod walk;
pub mod watch;
pub mod yaml;

pub use declared::{Declared, Written};
pub(crate) use take::in_namespace;

/// Everything that compile reads. What is not in it does not exist. Maps, so that the order in which objects
/// came means nothing.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    /// Tenants.
    pub tenants: BTreeMap<ObjectRef, Declared<TenantSpec>>,
    /// Routes.
    pub routes: BTreeMap<ObjectRef, Declared<RouteSpec>>,
    /// RateLimitPolicies.
    pub rate_limit_policies: BTreeMap<ObjectRef, Declared<RateLimitPolicySpec>>,
    /// WebhookSources.
    pub webhook_sources: BTreeMap<ObjectRef, Declared<WebhookSourceSpec>>,
    /// Secrets.
    pub secrets: BTreeMap<ObjectRef, core::Secret>,
    /// ConfigMaps.
    pub config_maps: BTreeMap<ObjectRef, core::ConfigMap>,
    /// Services.
    pub services: BTreeMap<ObjectRef, core::Service>,
    /// EndpointSlices.
    pub endpoint_slices: BTreeMap<ObjectRef, core::EndpointSlice>,
    /// The labels of Namespaces.
    pub namespaces: BTreeMap<Arc<str>, BTreeMap<String, String>>,
    /// ReferenceGrants.
    pub grants: BTreeMap<ObjectRef, core::ReferenceGrant>,
    /// What whoever runs the gateway provides beside the objects.
    pub installation: Installation,
    /// What is wrong with objects of Kubernetes' own kinds.
    pub problems: BTreeMap<ObjectRef, Vec<Problem>>,
}

/// What every object has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Its name.
    pub object: ObjectRef,
    /// Its UID.
    pub uid: Arc<str>,
    /// When it was created, in seconds since the epoch; 0 when nobody knows.
    pub created_secs: i64,
    /// How often what it asks for was changed, where somebody counts.
    pub generation: Option<i64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// An object before its kind is looked at.
#[derive(Clone)]
pub struct Raw {
    /// What every object has.
    pub meta: Meta,
    /// All of it.
    pub value: Value,
}

/// It may be a Secret, so only its name is shown.
impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Raw({})", self.meta.object)
    }
}
