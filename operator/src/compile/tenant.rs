//! One tenant to its sub-snapshot: a function of its slice.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use policy::attach::{Attached, Origin};
use policy::authentication::AuthenticationIr;
use policy::error::chain;
use policy::mode::Mode;
use policy::names::{Kind, ObjectRef};
use policy::problem::{Problem, Problems};
use policy::route::settings::{self, Level, Settings};
use policy::route::{self, MatchIr, PathMatchIr, RouteIr, RouteSpec, RuleIr, Surroundings, TimeoutsIr};
use policy::snapshot::{Blob, ContentHash, Footprint, ObjectEntry, ObjectIr, ObjectState, Revision, TenantSnapshot};
use policy::tenant::{GatewaysSpec, TenantIr, compile_ceilings, compile_identifiers, compile_methods, method_name};
use policy::upstream::{ServicePort, UpstreamKey};
use policy::webhook_source::{self, SourceSurroundings, WebhookSourceSpec};

use super::{footprint, limits};
use crate::gather::{Declared, Gathered};
use crate::resolve::Slice;
use crate::resolve::references::{Named, Referrer};

/// Compiles a tenant; `named` gets what its objects name.
pub(super) fn compile(
    (gathered, slice): (&Gathered, &Slice<'_>),
    previous: Option<&TenantSnapshot>,
    revision: Revision,
    named: &RefCell<Named>,
    problems: &mut Vec<Problem>,
) -> TenantSnapshot {
    let around = Around { gathered, slice, named };
    let base = base(around, problems);
    let methods: Vec<Arc<str>> = base.methods.iter().map(|method| Arc::clone(method_name(method))).collect();
    let object = &slice.tenant.meta.object;
    let level = Level::of_tenant(slice.spec);
    let unread = &slice.tenant.broken;
    let settings =
        settings::compile(level, &methods, &gathered.installation, unread, Problems::of(object, problems).at("spec"));
    let rate_limits = limits::compile(gathered, slice, &base.ceilings, previous, problems);
    let mut objects = Vec::with_capacity(slice.routes.len());
    for declared in &slice.routes {
        objects.push(route(around, (&base, &methods, &settings), declared, problems));
    }
    for declared in &slice.sources {
        objects.push(source(around, &base, declared, problems));
    }
    let hash = hash(&(&base, &rate_limits, &objects));
    TenantSnapshot { tenant: slice.name.clone(), revision, hash, base, rate_limits, objects }
}

/// What every step has around it.
#[derive(Clone, Copy)]
struct Around<'a> {
    gathered: &'a Gathered,
    slice: &'a Slice<'a>,
    named: &'a RefCell<Named>,
}

impl<'a> Around<'a> {
    fn refs(self, object: &'a ObjectRef) -> Referrer<'a> {
        let Self { gathered, slice, named } = self;
        Referrer { gathered, object, tenant: &slice.name, namespaces: &slice.namespaces, named }
    }
}

fn base(around: Around<'_>, problems: &mut Vec<Problem>) -> TenantIr {
    let Around { slice, .. } = around;
    let object = &slice.tenant.meta.object;
    let refs = around.refs(object);
    let mut problems = Problems::of(object, problems);
    let mut problems = problems.at("spec");
    if !slice.spec.tls.is_empty() {
        problems.at("tls").not_enforced("leave it out, and put a TLS-terminating proxy in front of the gateway");
    }
    if slice.spec.ceilings.as_ref().is_some_and(|ceilings| ceilings.max_events_per_second.is_some()) {
        problems.at("ceilings").at("maxEventsPerSecond").not_enforced("leave it out; pendingBytes bounds what waits");
    }
    TenantIr {
        hostnames: slice.hostnames.clone(),
        identifiers: compile_identifiers(&slice.identifiers, problems.at("identifiers")),
        ceilings: compile_ceilings(slice.spec.ceilings.as_ref()),
        methods: compile_methods(slice.spec, &slice.tenant.broken_methods, &refs, problems.reborrow()),
        canary: slice.spec.rollout.as_ref().is_some_and(|rollout| rollout.gateways == GatewaysSpec::Canary),
    }
}

fn route(
    outer: Around<'_>,
    (base, methods, settings): (&TenantIr, &[Arc<str>], &Settings),
    declared: &Declared<RouteSpec>,
    problems: &mut Vec<Problem>,
) -> ObjectEntry {
    let Around { gathered, slice, .. } = outer;
    let object = &declared.meta.object;
    let refs = outer.refs(object);
    let footprint = footprint::of_route(&declared.written.value(), &slice.hostnames);
    let around = Surroundings {
        tenant: settings,
        methods,
        hostnames: &slice.hostnames,
        max_body_size: base.ceilings.max_body_size,
        refs: &refs,
        installation: &gathered.installation,
        unread: &declared.broken,
        created_secs: declared.meta.created_secs,
    };
    let mut problems = Problems::of(object, problems);
    let compiled = match &declared.spec {
        Some(spec) => route::compile(spec, around, problems.at("spec")),
        None => refusing(declared, &footprint),
    };
    entry(declared, footprint, compiled.map(ObjectIr::Route), problems)
}

fn source(
    outer: Around<'_>,
    base: &TenantIr,
    declared: &Declared<WebhookSourceSpec>,
    problems: &mut Vec<Problem>,
) -> ObjectEntry {
    let Around { gathered, slice, .. } = outer;
    let object = &declared.meta.object;
    let refs = outer.refs(object);
    let footprint = footprint::of_source(&declared.written.value(), &slice.hostnames);
    let around = SourceSurroundings {
        hostnames: &slice.hostnames,
        max_body_size: base.ceilings.max_body_size,
        refs: &refs,
        installation: &gathered.installation,
        unread: &declared.broken,
    };
    let mut problems = Problems::of(object, problems);
    let compiled = declared.spec.as_ref().and_then(|spec| {
        shared(outer, spec, problems.at("spec"));
        webhook_source::compile(spec, around, problems.at("spec"))
    });
    entry(declared, footprint, compiled.map(|ir| ObjectIr::WebhookSource(Box::new(ir))), problems)
}

/// The source that verifies for this one must be there, speak its format, and share with its tenant.
fn shared(around: Around<'_>, spec: &WebhookSourceSpec, mut problems: Problems<'_>) {
    let Around { gathered, slice, named } = around;
    let Some(reference) = &spec.shared else { return };
    let mut problems = problems.at("shared");
    let other = ObjectRef::new(Kind::WebhookSource, reference.namespace.as_str(), reference.name.as_str());
    named.borrow_mut().objects.insert(other.clone());
    let Some(found) = gathered.webhook_sources.get(&other).and_then(|declared| declared.spec.as_ref()) else {
        problems.unresolved(format!("{other} does not exist, or cannot be read"), "create it, or name another");
        return;
    };
    let shares =
        found.shared_with.as_ref().is_some_and(|with| with.tenants.iter().any(|name| *name == *slice.name.as_str()));
    if !shares {
        let help = format!("add {} to sharedWith.tenants there", slice.name);
        problems.unresolved(format!("{other} does not share with this tenant"), help);
    }
    if found.provider != spec.provider {
        problems.invalid(format!("{other} speaks another provider's format"), "use the same provider in both");
    }
}

/// An object's place in the sub-snapshot.
fn entry<S>(
    declared: &Declared<S>,
    footprint: Footprint,
    compiled: Option<ObjectIr>,
    mut problems: Problems<'_>,
) -> ObjectEntry {
    let state = compiled.map_or(ObjectState::Broken, |ir| match Blob::encode(&ir) {
        Ok(blob) => ObjectState::Compiled(blob),
        Err(error) => {
            problems.at("spec").invalid(chain(&error), "report this: it is a defect of the gateway");
            ObjectState::Broken
        }
    });
    ObjectEntry { object: declared.meta.object.clone(), uid: Arc::clone(&declared.meta.uid), footprint, state }
}

/// A Route that cannot be read keeps its last good, unless its security is part of what cannot be read: the
/// last good might lack the new security, so then its hosts and paths refuse.
fn refusing(declared: &Declared<RouteSpec>, footprint: &Footprint) -> Option<RouteIr> {
    const SECURITY: [&str; 5] = ["authentication", "authorization", "authorizationMode", "addresses", "requestSchema"];
    let is_security =
        |field: &str| field.split('.').any(|part| SECURITY.contains(&part.split('[').next().unwrap_or(part)));
    let fields: BTreeSet<Arc<str>> = declared
        .problems
        .iter()
        .filter(|problem| is_security(&problem.field))
        .map(|problem| problem.field.as_str().into())
        .collect();
    if fields.is_empty() || footprint.hostnames.is_empty() {
        return None;
    }
    let prefix = |path: &Arc<str>| MatchIr {
        path: PathMatchIr::Prefix(if path.is_empty() { "/".into() } else { Arc::clone(path) }),
        methods: Vec::new(),
        headers: Vec::new(),
        query: Vec::new(),
    };
    let mut matches: Vec<MatchIr> = footprint.paths.iter().map(prefix).collect();
    if matches.is_empty() {
        matches.push(prefix(&"/".into()));
    }
    let nobody = AuthenticationIr::AnyOf(Vec::new());
    let rule = RuleIr {
        name: "rule-0".into(),
        matches,
        broken_security: fields.into_iter().collect(),
        addresses: None,
        cors: None,
        authentication: Attached { ir: nobody, mode: Mode::Enforce, origin: Origin::Default },
        authorization: None,
        request_schema: None,
        security_headers: None,
        timeouts: TimeoutsIr::default(),
        retry: None,
        circuit_breaker: None,
        fallback: None,
        on_failure: None,
        max_body_size: 0,
        backends: Vec::new(),
    };
    let created_secs = declared.meta.created_secs;
    Some(RouteIr { hostnames: footprint.hostnames.clone(), created_secs, rules: vec![rule] })
}

/// SHA-256 of the encoded content. What cannot be encoded has an all-zero hash, which no content has.
fn hash<T: serde::Serialize>(content: &T) -> ContentHash {
    let mut hash = [0; 32];
    if let Ok(blob) = Blob::encode(content) {
        let digest = ring::digest::digest(&ring::digest::SHA256, blob.bytes());
        hash.copy_from_slice(digest.as_ref());
    }
    ContentHash(hash)
}

/// The Service ports that a tenant's objects name.
pub(super) fn services(tenant: &TenantSnapshot) -> Vec<ServicePort> {
    let mut named = Vec::new();
    for entry in &tenant.objects {
        let ObjectState::Compiled(blob) = &entry.state else { continue };
        match blob.decode::<ObjectIr>() {
            Ok(ObjectIr::Route(route)) => {
                let backends = route.rules.iter().flat_map(|rule| &rule.backends);
                named.extend(backends.filter_map(|backend| match &backend.upstream {
                    UpstreamKey::Service(service) => Some(service.clone()),
                    UpstreamKey::Url { .. } => None,
                }));
            }
            Ok(ObjectIr::WebhookSource(source)) => match source.destination.map(|destination| destination.upstream) {
                Some(UpstreamKey::Service(service)) => named.push(service),
                Some(UpstreamKey::Url { .. }) | None => {}
            },
            Err(_) => {}
        }
    }
    named
}

/// Whether an object of the tenant could not be compiled.
pub(super) fn any_broken(tenant: &TenantSnapshot) -> bool {
    tenant.objects.iter().any(|entry| entry.state == ObjectState::Broken)
}
