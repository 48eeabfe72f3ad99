//! One tenant, ready: its matcher, its methods, its counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::HeaderValue;
use policy::attach::Origin;
use policy::error::chain;
use policy::names::{ObjectRef, TenantName};
use policy::rate_limit::Failures;
use policy::route::{MatchError, MatchIr, Matcher, PathMatchIr, Place};
use policy::snapshot::{Footprint, Revision, TenantSnapshot};
use policy::tenant::{Agreement, TenantIr};

use super::rule::Rule;
use super::source::Source;
use crate::telemetry::TenantMetrics;

/// What answers a request.
#[derive(Clone, Debug)]
pub enum Target {
    /// A rule of a Route.
    Rule(Arc<Rule>),
    /// A WebhookSource.
    Source(Arc<Source>),
    /// An object that could not be programmed.
    NotProgrammed(Arc<str>),
}

/// One object, ready; made before the tenant that it belongs to.
#[derive(Debug)]
pub enum Object {
    /// A Route: its hosts and rules, each with its matches.
    Route(ObjectRef, policy::route::RouteIr, Vec<Arc<Rule>>),
    /// A WebhookSource.
    Source(ObjectRef, Arc<Source>),
    /// Where an object that could not be read would answer.
    NotProgrammed(ObjectRef, Footprint),
}

/// One tenant.
#[derive(Debug)]
pub struct TenantRuntime {
    /// Its name.
    pub name: TenantName,
    /// Its name as upstreams are told it.
    pub field: HeaderValue,
    /// Its place in time.
    pub revision: Revision,
    /// The tenant itself.
    pub base: TenantIr,
    /// Whether a caller's credentials name this tenant.
    pub agreement: Agreement,
    /// Its handles.
    pub metrics: TenantMetrics,
    /// Its sources, also those without a path of their own.
    pub sources: Vec<(ObjectRef, Arc<Source>)>,
    /// Objects that answer `not_programmed`.
    pub not_programmed: Vec<ObjectRef>,
    /// Hosts and paths to what answers.
    pub matcher: Matcher<Target>,
    /// A rule that has the Tenant's own `cors`, which holds for refusals that no rule makes.
    pub cors_rule: Option<Arc<Rule>>,
    /// Addresses that keep failing to authenticate; kept over swaps.
    pub failures: Arc<Failures>,
    /// Requests in flight; kept over swaps.
    in_flight: Arc<AtomicU32>,
}

fn place(object: &ObjectRef, created_secs: i64, index: usize, broken: bool) -> Place {
    Place { object: object.clone(), created_secs, index, broken }
}

fn any(path: PathMatchIr) -> MatchIr {
    MatchIr { path, methods: Vec::new(), headers: Vec::new(), query: Vec::new() }
}

fn add(matcher: &mut Matcher<Target>, object: &Object) -> Result<(), MatchError> {
    match object {
        Object::Route(name, ir, rules) => {
            for (index, (rule_ir, rule)) in ir.rules.iter().zip(rules).enumerate() {
                for one in &rule_ir.matches {
                    let at = place(name, ir.created_secs, index, false);
                    matcher.add(&ir.hostnames, one, &at, &Target::Rule(rule.clone()))?;
                }
            }
            // With the precedence that they had: a wider rule must not answer there instead.
            let target = Target::NotProgrammed(name.to_string().into());
            for (index, place_ir) in ir.refused.iter().enumerate() {
                for one in &place_ir.matches {
                    matcher.add(&place_ir.hostnames, one, &place(name, ir.created_secs, index, false), &target)?;
                }
            }
        }
        Object::Source(name, source) => {
            // A source that is off answers as if it were not there.
            if let Some(path) = source.path.as_ref().filter(|_| source.ir.mode.runs()) {
                let one = any(PathMatchIr::Exact(path.clone()));
                matcher.add(&source.hostnames, &one, &place(name, 0, 0, false), &Target::Source(source.clone()))?;
            }
        }
        Object::NotProgrammed(name, footprint) => {
            let target = Target::NotProgrammed(name.to_string().into());
            let everything: [Arc<str>; 1] = ["/".into()];
            let paths = if footprint.paths.is_empty() { &everything[..] } else { &footprint.paths };
            for path in paths {
                let one = any(PathMatchIr::Prefix(path.clone()));
                matcher.add(&footprint.hostnames, &one, &place(name, 0, 0, true), &target)?;
            }
        }
    }
    Ok(())
}

/// A rule of the object whose `cors` was written on the Tenant.
fn with_tenant_cors(object: &Object) -> Option<Arc<Rule>> {
    match object {
        Object::Route(_, _, rules) => {
            let of_tenant = |rule: &&Arc<Rule>| rule.cors.as_ref().is_some_and(|cors| cors.origin == Origin::Tenant);
            rules.iter().find(of_tenant).cloned()
        }
        Object::Source(..) | Object::NotProgrammed(..) => None,
    }
}

impl TenantRuntime {
    /// Puts a tenant together.
    #[must_use]
    pub fn new(
        snapshot: &TenantSnapshot,
        metrics: TenantMetrics,
        in_flight: Arc<AtomicU32>,
        failures: Arc<Failures>,
        objects: &[Object],
    ) -> Self {
        let (name, base) = (snapshot.tenant.clone(), snapshot.base.clone());
        let mut matcher = Matcher::default();
        let (mut sources, mut not_programmed) = (Vec::new(), Vec::new());
        for object in objects {
            if let Err(error) = add(&mut matcher, object) {
                // Compile and the object's own build have both refused such a match before.
                tracing::error!(error = chain(&error), "a match could not be added");
            }
            match object {
                Object::Route(..) => {}
                Object::Source(name, source) => sources.push((name.clone(), source.clone())),
                Object::NotProgrammed(name, _) => not_programmed.push(name.clone()),
            }
        }
        let cors_rule = objects.iter().find_map(with_tenant_cors);
        // The name of a Tenant is that of a Kubernetes object: it can stand in a header field.
        let field = HeaderValue::from_str(name.as_str()).unwrap_or(HeaderValue::from_static(""));
        let agreement = Agreement::new(&name, &base.identifiers);
        let revision = snapshot.revision;
        Self {
            agreement,
            name,
            field,
            revision,
            base,
            metrics,
            sources,
            not_programmed,
            matcher,
            cors_rule,
            failures,
            in_flight,
        }
    }

    /// Takes a place among the tenant's requests in flight; none is left past `ceilings.maxConnections`.
    #[must_use]
    pub fn enter(&self) -> Option<InFlight> {
        let place = InFlight(self.in_flight.clone());
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.base.ceilings.max_connections.is_none_or(|most| before < most).then_some(place)
    }
}

/// A place among the requests in flight; given back when it is dropped.
#[derive(Debug)]
pub struct InFlight(Arc<AtomicU32>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
