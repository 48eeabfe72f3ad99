//! Upstreams with what they remember, shared by the cores and carried over swaps.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use hashbrown::{HashMap, HashSet};
use policy::circuit_breaker::{Breaker, CircuitBreakerIr};
use policy::names::TenantName;
use policy::retry::RetryBudget;
use policy::upstream::{EndpointIr, ServiceEndpoints, ServicePort, UpstreamKey};
use tokio::sync::Notify;

/// The set is swept of upstreams that no snapshot names when it has grown to this, and again each time it
/// has doubled since.
const FIRST_SWEEP: usize = 64;

/// An upstream of one tenant.
#[derive(Debug)]
pub struct Upstream {
    /// Whose.
    pub tenant: TenantName,
    /// Which.
    pub key: UpstreamKey,
    /// The same as a word, for the log and the metrics.
    pub name: Arc<str>,
    /// Given a rest when it keeps failing.
    pub breaker: Option<Arc<Breaker>>,
    /// True when the breaker is in mode `Audit`: it counts, and refuses nothing.
    pub breaker_audits: bool,
    /// What retries it may get.
    pub budget: RetryBudget,
    /// Nothing while they are not known yet; an empty list is a known, empty set.
    endpoints: ArcSwapOption<Vec<EndpointIr>>,
    known: Notify,
}

impl Upstream {
    /// Whether its addresses come from an URL, and are checked before they are connected to.
    #[must_use]
    pub fn is_url(&self) -> bool {
        matches!(self.key, UpstreamKey::Url { .. })
    }

    /// Its endpoints, once they are known.
    #[must_use]
    pub fn endpoints(&self) -> Option<Arc<Vec<EndpointIr>>> {
        self.endpoints.load_full()
    }

    pub(crate) fn load(&self) -> arc_swap::Guard<Option<Arc<Vec<EndpointIr>>>> {
        self.endpoints.load()
    }

    /// Waits until its endpoints are known.
    pub async fn known(&self) {
        loop {
            let notified = self.known.notified();
            if self.endpoints.load().is_some() {
                return;
            }
            notified.await;
        }
    }

    /// Replaces its endpoints. Connections to those that are gone are used up, then not again.
    pub fn set_endpoints(&self, endpoints: Vec<EndpointIr>) {
        self.endpoints.store(Some(Arc::new(endpoints)));
        self.known.notify_waiters();
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    tenant: TenantName,
    key: UpstreamKey,
    breaker: Option<CircuitBreakerIr>,
    audits: bool,
}

#[derive(Debug)]
struct Core {
    upstreams: HashMap<Identity, Weak<Upstream>, foldhash::fast::RandomState>,
    /// The same by the Service that they lead to, so that a change of endpoints looks at no others.
    by_service: HashMap<ServicePort, Vec<Weak<Upstream>>, foldhash::fast::RandomState>,
    services: HashMap<ServicePort, Vec<EndpointIr>, foldhash::fast::RandomState>,
    sweep_at: usize,
}

impl Core {
    fn named(&mut self, service: &ServicePort) -> Vec<Arc<Upstream>> {
        let Some(upstreams) = self.by_service.get_mut(service) else { return Vec::new() };
        upstreams.retain(|weak| weak.strong_count() > 0);
        upstreams.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Every upstream that a snapshot names. An upstream lives as long as somebody holds it, so one that the
/// next snapshot names too keeps its breaker and budget; one that none names is forgotten.
#[derive(Debug)]
pub struct Registry {
    core: Mutex<Core>,
    pub(super) new_name: Notify,
}

impl Default for Registry {
    fn default() -> Self {
        let core = Core {
            upstreams: HashMap::default(),
            by_service: HashMap::default(),
            services: HashMap::default(),
            sweep_at: FIRST_SWEEP,
        };
        Self { core: Mutex::new(core), new_name: Notify::new() }
    }
}

impl Registry {
    /// The upstream with this name and breaker; the one that exists, if it does. Rules of a tenant with the
    /// same upstream, the same breaker settings and the same mode share the breaker.
    pub fn get_or_build(
        &self,
        tenant: &TenantName,
        key: &UpstreamKey,
        breaker: Option<&CircuitBreakerIr>,
        breaker_audits: bool,
    ) -> Arc<Upstream> {
        let (tenant, key) = (tenant.clone(), key.clone());
        let identity = Identity { tenant, key, breaker: breaker.cloned(), audits: breaker_audits };
        let mut core = self.lock();
        if let Some(known) = core.upstreams.get(&identity).and_then(Weak::upgrade) {
            return known;
        }
        let (tenant, key) = (&identity.tenant, &identity.key);
        let endpoints = match key {
            UpstreamKey::Service(service) => core.services.get(service).cloned(),
            UpstreamKey::Url { host, port, .. } => {
                literal(host).map(|ip| vec![EndpointIr { address: SocketAddr::new(ip, *port), ready: true }])
            }
        };
        if endpoints.is_none() {
            self.new_name.notify_one();
        }
        let upstream = Arc::new(Upstream {
            tenant: tenant.clone(),
            key: key.clone(),
            name: key.to_string().into(),
            breaker: breaker.cloned().map(|ir| Arc::new(Breaker::new(ir))),
            breaker_audits,
            budget: RetryBudget::default(),
            endpoints: ArcSwapOption::new(endpoints.map(Arc::new)),
            known: Notify::new(),
        });
        core.upstreams.insert(identity, Arc::downgrade(&upstream));
        if let UpstreamKey::Service(service) = &upstream.key {
            core.by_service.entry(service.clone()).or_default().push(Arc::downgrade(&upstream));
        }
        if core.upstreams.len() >= core.sweep_at {
            core.upstreams.retain(|_, weak| weak.strong_count() > 0);
            core.by_service.retain(|_, upstreams| {
                upstreams.retain(|weak| weak.strong_count() > 0);
                !upstreams.is_empty()
            });
            core.sweep_at = (core.upstreams.len() * 2).max(FIRST_SWEEP);
        }
        upstream
    }

    /// The endpoints of a Service, once they are known.
    #[must_use]
    pub fn service(&self, service: &ServicePort) -> Option<Vec<EndpointIr>> {
        self.lock().services.get(service).cloned()
    }

    /// The endpoints of every Service, as the snapshot has them; those that are not named are forgotten.
    pub fn set_services(&self, all: &[ServiceEndpoints]) {
        let mut core = self.lock();
        core.services.clear();
        for ServiceEndpoints { service, endpoints } in all {
            core.services.insert(service.clone(), endpoints.clone());
        }
        for upstream in core.upstreams.values().filter_map(Weak::upgrade) {
            if let UpstreamKey::Service(service) = &upstream.key {
                let now = core.services.get(service).cloned().unwrap_or_default();
                if upstream.load().as_ref().is_none_or(|known| **known != now) {
                    upstream.set_endpoints(now);
                }
            }
        }
    }

    /// The endpoints of one Service, which are different now.
    pub fn set_service(&self, ServiceEndpoints { service, endpoints }: &ServiceEndpoints) {
        let mut core = self.lock();
        core.services.insert(service.clone(), endpoints.clone());
        for upstream in core.named(service) {
            if upstream.load().as_ref().is_none_or(|known| **known != *endpoints) {
                upstream.set_endpoints(endpoints.clone());
            }
        }
    }

    /// A Service that no snapshot names any more.
    pub fn forget_service(&self, service: &ServicePort) {
        self.lock().services.remove(service);
    }

    /// Forgets the Services that no upstream leads to and that are not among those to keep: which.
    pub fn retain_services(&self, keep: &HashSet<ServicePort>) -> Vec<ServicePort> {
        let mut core = self.lock();
        let known: Vec<ServicePort> =
            core.services.keys().filter(|service| !keep.contains(*service)).cloned().collect();
        let forgotten: Vec<ServicePort> = known.into_iter().filter(|service| core.named(service).is_empty()).collect();
        for service in &forgotten {
            core.services.remove(service);
        }
        forgotten
    }

    /// Every upstream that somebody holds: for the admin port, metrics and name resolution.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Upstream>> {
        self.lock().upstreams.values().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that a host is, if it is no name.
pub(super) fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> ServicePort {
        ServicePort { namespace: "acme".into(), name: name.into(), port: 80 }
    }

    #[test]
    fn an_upstream_is_carried_over_while_somebody_holds_it() {
        let registry = Registry::default();
        let tenant = TenantName::parse("acme").unwrap();
        let key = UpstreamKey::Service(service("a"));
        let one = registry.get_or_build(&tenant, &key, None, false);
        assert!(Arc::ptr_eq(&one, &registry.get_or_build(&tenant, &key, None, false)));
        let other = registry.get_or_build(&TenantName::parse("other").unwrap(), &key, None, false);
        assert!(!Arc::ptr_eq(&one, &other), "tenants share nothing");
        drop((one, other));
        assert!(registry.all().is_empty());
    }

    #[test]
    fn what_no_snapshot_names_does_not_pile_up() {
        let registry = Registry::default();
        let tenant = TenantName::parse("acme").unwrap();
        for n in 0..10_000 {
            registry.get_or_build(&tenant, &UpstreamKey::Service(service(&n.to_string())), None, false);
        }
        assert!(registry.lock().upstreams.len() <= FIRST_SWEEP);
    }

    #[test]
    fn endpoints_reach_upstreams_that_exist_and_those_that_come_later() {
        let registry = Registry::default();
        let tenant = TenantName::parse("acme").unwrap();
        let key = UpstreamKey::Service(service("a"));
        let early = registry.get_or_build(&tenant, &key, None, false);
        assert!(early.endpoints().is_none());
        let endpoints = vec![EndpointIr { address: ([10, 0, 0, 1], 80).into(), ready: true }];
        registry.set_services(&[ServiceEndpoints { service: service("a"), endpoints: endpoints.clone() }]);
        assert_eq!(*early.endpoints().unwrap(), endpoints);
        drop(early);
        assert_eq!(*registry.get_or_build(&tenant, &key, None, false).endpoints().unwrap(), endpoints);
        registry.set_services(&[]);
        assert!(registry.get_or_build(&tenant, &key, None, false).endpoints().is_none());
    }
}
