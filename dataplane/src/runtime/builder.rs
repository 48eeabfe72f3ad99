//! IR to what decides; and what outlives a swap.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use http::HeaderName;
use http::header::AUTHORIZATION;
use policy::attach::Attached;
use policy::authentication::{Authenticator, Methods};
use policy::cors::Cors;
use policy::credentials::Credentials;
use policy::headers::{HeadersError, SecurityHeaders};
use policy::mode::Mode;
use policy::names::{ObjectRef, TenantName};
use policy::on_failure::OnFailureIr;
use policy::rate_limit::{Failures, LimitCounts, Limits, RateLimitIr};
use policy::route::{MatchError, Matcher, Place, RouteIr, RuleIr};
use policy::snapshot::{ObjectEntry, ObjectIr, TenantSnapshot};
use policy::upstream::{EndpointIr, ServiceEndpoints, ServicePort, UpstreamKey};

use super::source::{Source, SourceError};
use super::{Addresses, Guard, Object, OnFailure, Rule, Runtime, TenantRuntime};
use crate::outside::CountryDatabase;
use crate::telemetry::Metrics;
use crate::upstream::{Backend, Registry};

/// Why an object cannot be made ready, though it was compiled.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A match in it cannot be used.
    #[error("a match cannot be used")]
    Match(#[from] MatchError),
    /// A header field in it cannot be used.
    #[error("a security header cannot be used")]
    Headers(#[from] HeadersError),
    /// Its verification cannot be used.
    #[error("the source cannot be used")]
    Source(#[from] SourceError),
}

/// What a tenant keeps over its swaps.
#[derive(Debug, Default)]
struct Carried {
    in_flight: Arc<AtomicU32>,
    failures: Arc<Failures>,
}

/// Builds tenants, and keeps what must outlive a swap.
#[derive(Debug)]
pub struct Builder {
    metrics: Metrics,
    upstreams: Arc<Registry>,
    countries: Option<Arc<CountryDatabase>>,
    counts: LimitCounts,
    carried: Mutex<HashMap<TenantName, Arc<Carried>>>,
}

impl Builder {
    /// A builder with nothing to carry yet.
    #[must_use]
    pub fn new(metrics: Metrics, upstreams: Arc<Registry>) -> Self {
        Self { metrics, upstreams, countries: None, counts: LimitCounts::default(), carried: Mutex::default() }
    }

    /// The same with a country database, without which a block that names countries refuses.
    #[must_use]
    pub fn with_countries(self, countries: Option<Arc<CountryDatabase>>) -> Self {
        Self { countries, ..self }
    }

    /// New endpoints; they are swapped in at once, before the tenants that name them.
    pub fn endpoints(&self, endpoints: &[ServiceEndpoints]) {
        self.upstreams.set_services(endpoints);
    }

    /// The endpoints of one Service, different from before.
    pub fn endpoints_of(&self, endpoints: &ServiceEndpoints) {
        self.upstreams.set_service(endpoints);
    }

    /// The endpoints of one Service, once they are known.
    #[must_use]
    pub fn endpoints_now(&self, service: &ServicePort) -> Option<Vec<EndpointIr>> {
        self.upstreams.service(service)
    }

    /// A Service that no tenant names any more.
    pub fn endpoints_gone(&self, service: &ServicePort) {
        self.upstreams.forget_service(service);
    }

    /// Forgets the Services that no tenant of now leads to and that are not among those to keep: which.
    pub fn retain_endpoints(&self, keep: &HashSet<ServicePort>) -> Vec<ServicePort> {
        self.upstreams.retain_services(keep)
    }

    /// The Services that the tenants of now lead to.
    #[must_use]
    pub fn services(&self) -> Vec<ServicePort> {
        let of = |key: &UpstreamKey| match key {
            UpstreamKey::Service(service) => Some(service.clone()),
            UpstreamKey::Url { .. } => None,
        };
        self.upstreams.all().iter().filter_map(|upstream| of(&upstream.key)).collect()
    }

    /// Forgets a tenant that is gone.
    pub fn forget(&self, tenant: &TenantName) {
        self.carried.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        self.metrics.forget_tenant(tenant);
    }

    fn carried(&self, tenant: &TenantName) -> Arc<Carried> {
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        carried.entry(tenant.clone()).or_default().clone()
    }

    /// Makes one object ready.
    ///
    /// # Errors
    /// [`BuildError`]; the object refuses then.
    pub fn object(&self, snapshot: &TenantSnapshot, entry: &ObjectEntry, ir: ObjectIr) -> Result<Object, BuildError> {
        Ok(match ir {
            ObjectIr::Route(route) => {
                check_matches(&entry.object, &route)?;
                let methods = Methods::new(&snapshot.tenant, &snapshot.base.methods);
                let rule = |ir| self.rule(snapshot, &entry.object, ir, &methods).map(Arc::new);
                let rules = route.rules.iter().map(rule).collect::<Result<_, _>>()?;
                Object::Route(entry.object.clone(), route, rules)
            }
            ObjectIr::WebhookSource(mut ir) => {
                let policies = snapshot.rate_limits.iter().filter(|policy| policy.covers_source(&entry.object));
                ir.broken_security.extend(policies.flat_map(RateLimitIr::refuses));
                let limits = self.limits(snapshot, |policy| policy.covers_source(&entry.object));
                let around = (limits, self.countries.as_ref());
                let source = Source::new(&snapshot.tenant, &entry.object, *ir, around, &self.upstreams)?;
                Object::Source(entry.object.clone(), Arc::new(source))
            }
        })
    }

    fn limits(&self, snapshot: &TenantSnapshot, covers: impl Fn(&RateLimitIr) -> bool) -> Limits {
        Limits::new(&snapshot.tenant, snapshot.rate_limits.iter().filter(|policy| covers(policy)), &self.counts)
    }

    fn rule(
        &self,
        snapshot: &TenantSnapshot,
        object: &ObjectRef,
        ir: &RuleIr,
        methods: &Methods,
    ) -> Result<Rule, BuildError> {
        let limits = self.limits(snapshot, |policy| policy.covers_rule(object, &ir.name));
        let addresses = |ir: &_| Ok::<_, BuildError>(Box::new(Addresses::new(ir, self.countries.as_ref())));
        let addresses = Guard::build(ir.addresses.as_ref(), addresses)?;
        let cors = Guard::build(ir.cors.as_ref(), |ir| Ok::<_, BuildError>(Box::new(Cors::new(ir))))?;
        let authorization = Guard::build(ir.authorization.as_ref(), |ir| Ok::<_, BuildError>(ir.clone()))?;
        let breaker = ir.circuit_breaker.as_ref().filter(|attached| attached.mode.runs());
        let breaker_audits = breaker.is_some_and(|attached| attached.mode == Mode::Audit);
        let breaker = breaker.map(|attached| &attached.ir);
        let backends = ir.backends.iter();
        let backends = backends.map(|backend| Backend {
            upstream: self.upstreams.get_or_build(&snapshot.tenant, &backend.upstream, breaker, breaker_audits),
            weight: backend.weight,
        });
        let backends: Vec<Backend> = backends.collect();
        let route: Arc<str> = format!("{}/{}", object.namespace, object.name).into();
        let counters = &self.metrics.upstream_attempts;
        let attempts = backends.iter().map(|backend| counters.of(&snapshot.tenant, &route, &backend.upstream.name));
        let attempts = attempts.collect();
        let mut broken_security = ir.broken_security.clone();
        let policies = snapshot.rate_limits.iter().filter(|policy| policy.covers_rule(object, &ir.name));
        broken_security.extend(policies.flat_map(RateLimitIr::refuses));
        let schema = super::schema(ir.request_schema.as_ref(), "requestSchema", &mut broken_security);
        let authentication = authenticator(&ir.authentication, methods);
        let removed_credentials = removed_credentials(ir, authentication.as_ref());
        Ok(Rule {
            object: object.to_string().into(),
            name: ir.name.clone(),
            path_forms: ir.path_forms.clone(),
            broken_security,
            broken_traffic: ir.broken_traffic.clone(),
            addresses,
            cors,
            authentication,
            authorization,
            limits,
            schema,
            security_headers: Guard::build(ir.security_headers.as_ref(), SecurityHeaders::new)?,
            forwarded_names: methods.forwarded_names().cloned().collect(),
            removed_credentials,
            timeouts: ir.timeouts.clone(),
            retry: Guard::build(ir.retry.as_ref(), |ir| Ok::<_, BuildError>(Box::new(ir.clone())))?,
            fallback: Guard::build(ir.fallback.as_ref(), |ir| Ok::<_, BuildError>(ir.clone()))?,
            on_failure: Guard::build(ir.on_failure.as_ref(), |ir| {
                Ok::<_, BuildError>(Box::new(on_failure(object, ir)))
            })?,
            max_body_size: ir.max_body_size,
            backends,
            attempts,
        })
    }

    /// Puts a tenant together from objects that are ready.
    #[must_use]
    pub fn tenant(&self, snapshot: &TenantSnapshot, objects: &[Object]) -> TenantRuntime {
        let Carried { in_flight, failures } = &*self.carried(&snapshot.tenant);
        let metrics = self.metrics.tenant(Some(&snapshot.tenant));
        TenantRuntime::new(snapshot, metrics, in_flight.clone(), failures.clone(), objects)
    }

    /// All tenants as one runtime.
    #[must_use]
    pub fn runtime(&self, tenants: impl Iterator<Item = Arc<TenantRuntime>>) -> Runtime {
        let runtime = Runtime::new(tenants);
        let sources = runtime.tenants().flat_map(|tenant| &tenant.sources);
        let addresses = sources.filter_map(|(_, source)| source.ir.addresses.as_ref());
        self.metrics.provider_ranges(addresses.flat_map(|attached| &attached.ir.providers));
        runtime
    }
}

fn on_failure(route: &ObjectRef, ir: &OnFailureIr) -> OnFailure {
    let OnFailureIr { retention_secs, max_body_size } = *ir;
    OnFailure { route: route.clone(), retention: Duration::from_secs(retention_secs), max_body_size }
}

/// An open rule in mode `Off` is still an open rule; a method in mode `Off` asks nobody.
fn authenticator(
    attached: &Attached<policy::authentication::AuthenticationIr>,
    methods: &Methods,
) -> Option<Guard<Authenticator>> {
    let built = Guard::build(Some(attached), |ir| Ok::<_, std::convert::Infallible>(Authenticator::new(ir, methods)));
    built.unwrap_or_default()
}

/// Only what the rule's own methods take is removed: API keys unless the rule forwards them, and tokens where another
/// party's server is among the backends.
fn removed_credentials(ir: &RuleIr, guard: Option<&Guard<Authenticator>>) -> Vec<HeaderName> {
    let Some(Guard { decider, .. }) = guard else { return Vec::new() };
    let leaves = ir.backends.iter().any(|backend| matches!(backend.upstream, UpstreamKey::Url { .. }));
    let mut fields: Vec<HeaderName> = match ir.credentials {
        Credentials::Remove => decider.key_fields().cloned().collect(),
        Credentials::Forward => Vec::new(),
    };
    if leaves && decider.takes_tokens() {
        fields.push(AUTHORIZATION);
    }
    fields
}

/// Adds every match to a matcher that is thrown away, so that a tenant is never put together in part.
fn check_matches(object: &ObjectRef, route: &RouteIr) -> Result<(), MatchError> {
    let mut matcher = Matcher::default();
    for (index, one) in route.rules.iter().flat_map(|rule| &rule.matches).enumerate() {
        let place = Place { object: object.clone(), created_secs: route.created_secs, index, broken: false };
        matcher.add(&route.hostnames, one, &place, &())?;
    }
    Ok(())
}
