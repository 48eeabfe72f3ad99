//! RateLimitPolicies, and the ceiling of a Tenant, to limits.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::{
    LimitIr, LimitSpec, OnExceeded, Per, RateLimitIr, RateLimitPolicySpec, TargetIr, TargetKind, TargetRefSpec,
    WhenUnavailable,
};
use crate::mode::Mode;
use crate::names::{Kind, ObjectRef, TenantName};
use crate::problem::Problems;
use serde_json::Value;

/// The longest window.
const MAX_WINDOW_MS: u64 = 86_400_000;

/// The longest that an empty bucket may take to fill again.
const MAX_FILL_MS: u64 = 31 * 86_400_000;

/// A policy, for the tenant that it belongs to; `None` when a problem was recorded. Whether the Routes, rules
/// and WebhookSources that it names exist is for the caller to check, who knows them.
pub fn compile(spec: &RateLimitPolicySpec, tenant: &TenantName, mut problems: Problems<'_>) -> Option<RateLimitIr> {
    let RateLimitPolicySpec { tenant: _, target_refs, limits, quotas, when_unavailable, on_exceeded, mode } = spec;
    let before = problems.errors();
    let object = problems.object().clone();
    if target_refs.is_empty() {
        problems.at("targetRefs").invalid("is empty", "name what it limits, such as {kind: Tenant, name: acme}");
    }
    let mut targets = Vec::with_capacity(target_refs.len());
    for (index, spec) in target_refs.iter().enumerate() {
        targets.extend(target(spec, tenant, &object, problems.at("targetRefs").item(index)));
    }
    if !quotas.is_empty() {
        problems.at("quotas").not_enforced("leave it out; limits with a window of up to 1d are enforced");
    }
    if limits.is_empty() && quotas.is_empty() {
        problems
            .at("limits")
            .invalid("is empty", "name a limit, such as {name: all, per: Tenant, requests: 100, window: 1s}");
    }
    match when_unavailable {
        WhenUnavailable::LocalShare => {}
        WhenUnavailable::Allow | WhenUnavailable::Refuse => {
            problems.at("whenUnavailable").not_enforced("leave it out: counts are local, and always available");
        }
    }
    exceeded(*on_exceeded, &targets, problems.at("onExceeded"));
    let mut compiled: Vec<LimitIr> = Vec::with_capacity(limits.len());
    for (index, spec) in limits.iter().enumerate() {
        let mut problems = problems.at("limits");
        let mut problems = problems.item(index);
        if compiled.iter().any(|limit| *limit.name == *spec.name) {
            problems.at("name").invalid(format!("{} names two limits", spec.name), "give each limit a name of its own");
        }
        compiled.extend(limit(spec, problems));
    }
    let (when_unavailable, mode) = (*when_unavailable, *mode);
    let ir = RateLimitIr { object, targets, limits: compiled, when_unavailable, mode, broken: Vec::new() };
    (problems.errors() == before).then_some(ir)
}

/// The limit that a Tenant's `ceilings.maxRequestsPerSecond` is: over all of its Routes, never audited.
#[must_use]
pub fn compile_ceiling(object: ObjectRef, max_requests_per_sec: NonZeroU32) -> RateLimitIr {
    let limit = LimitIr {
        name: "ceiling".into(),
        per: Per::Tenant,
        requests: max_requests_per_sec,
        window_ms: 1000,
        burst: max_requests_per_sec,
    };
    RateLimitIr {
        object,
        targets: vec![TargetIr::Tenant],
        limits: vec![limit],
        when_unavailable: WhenUnavailable::LocalShare,
        mode: Mode::Enforce,
        broken: Vec::new(),
    }
}

/// A policy that could not be compiled: what it targets refuses. `spec` is what was written, and `everything` what the
/// policy covers when its targets cannot be read either. `None` when it names nothing that is its tenant's.
#[must_use]
pub fn compile_broken(
    spec: &Value,
    tenant: &TenantName,
    object: ObjectRef,
    broken: Vec<Arc<str>>,
    everything: Vec<TargetIr>,
) -> Option<RateLimitIr> {
    let mut unheard = Vec::new();
    let mut read = |written: &Value| {
        let spec: TargetRefSpec = serde_json::from_value(written.clone()).ok()?;
        if spec.kind == TargetKind::Tenant && *spec.name != *tenant.as_str() {
            return Some(None);
        }
        target(&spec, tenant, &object, Problems::of(&object, &mut unheard)).map(Some)
    };
    let targets = spec.get("targetRefs").and_then(Value::as_array).filter(|targets| !targets.is_empty());
    let targets = targets.and_then(|targets| targets.iter().map(&mut read).collect::<Option<Vec<_>>>());
    let targets = targets.map_or(everything, |targets| targets.into_iter().flatten().collect());
    let mode = spec.get("mode").and_then(|mode| serde_json::from_value(mode.clone()).ok()).unwrap_or_default();
    let (limits, when_unavailable) = (Vec::new(), WhenUnavailable::LocalShare);
    (!targets.is_empty()).then_some(RateLimitIr { object, targets, limits, when_unavailable, mode, broken })
}

fn exceeded(on_exceeded: Option<OnExceeded>, targets: &[TargetIr], mut problems: Problems<'_>) {
    let sources = targets.iter().any(|target| matches!(target, TargetIr::WebhookSource(_)));
    match on_exceeded {
        Some(OnExceeded::Pace) => {
            problems.not_enforced("write onExceeded: Refuse, or leave it out for Tenants and Routes");
        }
        None if sources => problems.not_enforced(
            "events are not paced yet, which is what a WebhookSource gets by default: write onExceeded: Refuse, or target a Route",
        ),
        Some(OnExceeded::Refuse) | None => {}
    }
}

fn target(
    spec: &TargetRefSpec,
    tenant: &TenantName,
    policy: &ObjectRef,
    mut problems: Problems<'_>,
) -> Option<TargetIr> {
    let TargetRefSpec { group: _, kind, name, section_name } = spec;
    let object = |kind| ObjectRef::new(kind, Arc::clone(&policy.namespace), name.as_str());
    match kind {
        TargetKind::Tenant | TargetKind::WebhookSource if section_name.is_some() => {
            problems
                .at("sectionName")
                .invalid("names a rule, which only a Route has", "leave it out, or write kind: Route");
            None
        }
        TargetKind::Tenant if *name == *tenant.as_str() => Some(TargetIr::Tenant),
        TargetKind::Tenant => {
            problems.at("name").unresolved(
                format!("{name} is not the tenant of this policy, which is {tenant}"),
                format!("write name: {tenant}"),
            );
            None
        }
        TargetKind::Route => {
            let rule = section_name.as_deref().map(Arc::from);
            Some(TargetIr::Route { route: object(Kind::Route), rule })
        }
        TargetKind::WebhookSource => Some(TargetIr::WebhookSource(object(Kind::WebhookSource))),
    }
}

fn limit(spec: &LimitSpec, mut problems: Problems<'_>) -> Option<LimitIr> {
    let LimitSpec { name, per, requests, window, burst, when } = spec;
    let before = problems.errors();
    if when.is_some() {
        problems.at("when").not_enforced("leave it out, or target a rule of a Route with sectionName");
    }
    let window_ms = window.millis();
    if !(1..=MAX_WINDOW_MS).contains(&window_ms) {
        problems.at("window").invalid(format!("is {window}"), "write 1ms to 1d");
    }
    let number = |value: u32, field: &str, problems: &mut Problems<'_>| {
        let number = NonZeroU32::new(value);
        if number.is_none() {
            problems.at(field).invalid("is 0, which would refuse everything", "write at least 1");
        }
        number
    };
    let requests = number(*requests, "requests", &mut problems);
    let burst = match burst {
        Some(burst) => number(*burst, "burst", &mut problems),
        None => requests,
    };
    let (requests, burst) = requests.zip(burst)?;
    let window_ns = u128::from(window_ms) * 1_000_000;
    if u128::from(requests.get()) > window_ns {
        problems.at("requests").invalid("is more than one a nanosecond", "write less, or a longer window");
    }
    if u128::from(burst.get()) * u128::from(window_ms) > u128::from(requests.get()) * u128::from(MAX_FILL_MS) {
        problems.at("burst").invalid("would take more than 31 days to come back", "write less, or allow more requests");
    }
    let ir = LimitIr { name: name.as_str().into(), per: *per, requests, window_ms, burst };
    (problems.errors() == before).then_some(ir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    fn acme() -> TenantName {
        TenantName::parse("acme").unwrap()
    }

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("rate_limit", |spec: &RateLimitPolicySpec, _, problems| compile(spec, &acme(), problems));
        golden::check_page("rate_limit", "/spec", |spec: &RateLimitPolicySpec, _, problems| {
            compile(spec, &acme(), problems)
        });
    }
}
