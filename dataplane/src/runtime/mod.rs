//! Snapshot to ready routes and filters.
//!
//! Everything that a request needs is resolved here, when a snapshot is swapped in: deciders, metric
//! handles, parsed keys. What must outlive a swap (limiters, breakers, pools, counts) is kept by the
//! [`Builder`] and handed to the new runtime.

mod addresses;
mod builder;
mod guard;
mod rule;
mod source;
mod tenant;

use std::sync::Arc;

use hashbrown::HashMap;
use policy::attach::Attached;
use policy::error::chain;
use policy::names::{Hostname, ObjectRef, TenantName};
use policy::schema::{Schema, SchemaIr};
use policy::webhook_source::Owners;

pub use addresses::Addresses;
pub use builder::{BuildError, Builder};
pub use guard::Guard;
pub use rule::{OnFailure, Rule};
pub use source::{Source, SourceError};
pub use tenant::{InFlight, Object, Target, TenantRuntime};

/// A schema made ready. One that cannot be, though it was compiled, breaks its rule or source at once: what stood
/// there before might check less.
fn schema(
    attached: Option<&Attached<SchemaIr>>,
    field: &str,
    broken_security: &mut Vec<Arc<str>>,
) -> Option<Guard<Arc<Schema>>> {
    let built = Guard::build(attached, |ir| Schema::new(ir).map(Arc::new));
    built.unwrap_or_else(|error| {
        tracing::error!(error = chain(&error), field, "a schema cannot be used");
        broken_security.push(field.into());
        None
    })
}

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// All tenants, ready; shared by the cores and never changed.
#[derive(Debug, Default)]
pub struct Runtime {
    exact: Map<Arc<str>, Arc<TenantRuntime>>,
    wildcard: Map<Arc<str>, Arc<TenantRuntime>>,
    tenants: Map<TenantName, Arc<TenantRuntime>>,
    /// Whose entries are whose, on sources that tenants share.
    pub owners: Owners,
}

impl Runtime {
    /// Orders the tenants by their hosts. Two tenants never hold one host: compile has decided such conflicts,
    /// and should it not have, the one whose name sorts first keeps it.
    pub fn new(tenants: impl Iterator<Item = Arc<TenantRuntime>>) -> Self {
        let mut runtime = Self::default();
        let mut sorted: Vec<_> = tenants.collect();
        sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for tenant in sorted {
            for hostname in &tenant.base.hostnames {
                match hostname {
                    Hostname::Exact(host) => runtime.exact.entry(host.clone()).or_insert_with(|| tenant.clone()),
                    Hostname::Wildcard(suffix) => {
                        runtime.wildcard.entry(suffix.clone()).or_insert_with(|| tenant.clone())
                    }
                };
            }
            runtime.tenants.insert(tenant.name.clone(), tenant);
        }
        runtime.owners = Owners::new(runtime.tenants.values().map(|tenant| (&tenant.name, &tenant.base.identifiers)));
        runtime
    }

    /// The tenant that has a canonical host: by its exact name, else by the longest wildcard.
    #[must_use]
    pub fn tenant_of(&self, host: &str) -> Option<&Arc<TenantRuntime>> {
        if let Some(tenant) = self.exact.get(host) {
            return Some(tenant);
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.').filter(|_| !self.wildcard.is_empty()) {
            if let Some(tenant) = self.wildcard.get(suffix) {
                return Some(tenant);
            }
            rest = suffix;
        }
        None
    }

    /// A tenant by name.
    #[must_use]
    pub fn tenant(&self, name: &TenantName) -> Option<&Arc<TenantRuntime>> {
        self.tenants.get(name)
    }

    /// A source of a tenant.
    #[must_use]
    pub fn source(&self, tenant: &TenantName, source: &ObjectRef) -> Option<&Arc<Source>> {
        self.tenant(tenant)?.sources.iter().find(|(name, _)| name == source).map(|(_, source)| source)
    }

    /// All tenants.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<TenantRuntime>> {
        self.tenants.values()
    }
}
