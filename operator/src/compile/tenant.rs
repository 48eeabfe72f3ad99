//! One tenant to its sub-snapshot: a function of its slice.

use std::cell::RefCell;
use std::sync::Arc;

use policy::error::chain;
use policy::names::{Kind, ObjectRef};
use policy::problem::{Problem, Problems};
use policy::route::settings::{self, Level, Settings};
use policy::route::{self, RouteIr, RouteSpec, Surroundings};
use policy::snapshot::{Blob, ContentHash, Footprint, ObjectEntry, ObjectIr, ObjectState, Revision, TenantSnapshot};
use policy::tenant::{
    GatewaysSpec, MethodIr, TenantIr, compile_ceilings, compile_identifiers, compile_methods, method_name,
};
use policy::upstream::{ServicePort, UpstreamKey};
use policy::webhook_source::{self, SourceSurroundings, WebhookSourceIr, WebhookSourceSpec};

use super::{footprint, limits};
use crate::gather::{Declared, Gathered};
use crate::resolve::Slice;
use crate::resolve::references::{Named, Referrer};

/// A tenant as it is sent, and whether an object of it needs its last good.
pub(super) struct Sent {
    pub(super) snapshot: TenantSnapshot,
    pub(super) needs_last_good: bool,
}

/// Compiles a tenant; `named` gets what its objects name.
pub(super) fn compile(
    (gathered, slice): (&Gathered, &Slice<'_>),
    revision: Revision,
    named: &RefCell<Named>,
    problems: &mut Vec<Problem>,
) -> Sent {
    let around = Around { gathered, slice, named };
    let base = base(around, problems);
    let methods: Vec<Arc<str>> = base.methods.iter().map(|method| Arc::clone(method_name(method))).collect();
    let object = &slice.tenant.meta.object;
    let level = Level::of_tenant(slice.spec);
    let unread = &slice.tenant.broken;
    let settings =
        settings::compile(level, &methods, &gathered.installation, unread, Problems::of(object, problems).at("spec"));
    let rate_limits = limits::compile(gathered, slice, &base.ceilings, problems);
    let mut objects = Vec::with_capacity(slice.routes.len());
    let mut needs_last_good = false;
    for declared in &slice.routes {
        let (compiled, footprint) = route(around, (&base, &methods, &settings), declared, problems);
        needs_last_good |= compiled.as_ref().is_none_or(route_needs_last_good);
        objects.push(entry(declared, footprint, compiled.map(ObjectIr::Route), problems));
    }
    for declared in &slice.sources {
        let (compiled, footprint) = source(around, &base, declared, problems);
        needs_last_good |= compiled.as_ref().is_none_or(|ir| !ir.broken_traffic.is_empty());
        let compiled = compiled.map(|ir| ObjectIr::WebhookSource(Box::new(ir)));
        objects.push(entry(declared, footprint, compiled, problems));
    }
    let hash = hash(&(&base, &rate_limits, &objects));
    let snapshot = TenantSnapshot { tenant: slice.name.clone(), revision, hash, base, rate_limits, objects };
    Sent { snapshot, needs_last_good }
}

fn route_needs_last_good(route: &RouteIr) -> bool {
    route.rules.iter().any(|rule| !rule.broken_traffic.is_empty())
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
) -> (Option<RouteIr>, Footprint) {
    let Around { gathered, slice, .. } = outer;
    let object = &declared.meta.object;
    let refs = outer.refs(object);
    let footprint = footprint::of_route(&declared.written.value(), &slice.hostnames);
    let key_methods: Vec<Arc<str>> = base.methods.iter().filter_map(of_keys).collect();
    let around = Surroundings {
        tenant: settings,
        methods,
        key_methods: &key_methods,
        hostnames: &slice.hostnames,
        max_body_size: base.ceilings.max_body_size,
        refs: &refs,
        installation: &gathered.installation,
        unread: &declared.broken,
        created_secs: declared.meta.created_secs,
    };
    let mut problems = Problems::of(object, problems);
    (declared.spec.as_ref().map(|spec| route::compile(spec, around, problems.at("spec"))), footprint)
}

fn source(
    outer: Around<'_>,
    base: &TenantIr,
    declared: &Declared<WebhookSourceSpec>,
    problems: &mut Vec<Problem>,
) -> (Option<WebhookSourceIr>, Footprint) {
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
    (compiled, footprint)
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
    problems: &mut Vec<Problem>,
) -> ObjectEntry {
    let mut problems = Problems::of(&declared.meta.object, problems);
    let state = compiled.map_or(ObjectState::Broken, |ir| match Blob::encode(&ir) {
        Ok(blob) => ObjectState::Compiled(blob),
        Err(error) => {
            problems.at("spec").invalid(chain(&error), "report this: it is a defect of the gateway");
            ObjectState::Broken
        }
    });
    ObjectEntry { object: declared.meta.object.clone(), uid: Arc::clone(&declared.meta.uid), footprint, state }
}

/// The name of a method that takes API keys.
fn of_keys(method: &MethodIr) -> Option<Arc<str>> {
    match method {
        MethodIr::ApiKey(keys) => Some(Arc::clone(&keys.name)),
        MethodIr::Jwt(_) | MethodIr::Broken(_) => None,
    }
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
            // What is not granted gets no endpoints.
            Ok(ObjectIr::WebhookSource(source)) if !source.broken_outbound.is_empty() => {}
            Ok(ObjectIr::WebhookSource(source)) => match source.destination.map(|destination| destination.upstream) {
                Some(UpstreamKey::Service(service)) => named.push(service),
                Some(UpstreamKey::Url { .. }) | None => {}
            },
            Err(_) => {}
        }
    }
    named
}
