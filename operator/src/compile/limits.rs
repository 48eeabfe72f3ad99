//! The limits of a tenant: its ceiling, and the policies that target it or its objects.

use std::num::NonZeroU32;

use policy::names::ObjectRef;
use policy::problem::{Problem, Problems};
use policy::rate_limit::{self, RateLimitIr, RateLimitPolicySpec, TargetIr};
use policy::snapshot::TenantSnapshot;
use policy::tenant::CeilingsIr;

use crate::gather::{Declared, Gathered};
use crate::resolve::Slice;

/// Compiles them. Policies add up. One that cannot be compiled keeps the limits that are in force: dropping
/// them would loosen what somebody meant to bound.
pub(super) fn compile(
    gathered: &Gathered,
    slice: &Slice<'_>,
    ceilings: &CeilingsIr,
    previous: Option<&TenantSnapshot>,
    problems: &mut Vec<Problem>,
) -> Vec<RateLimitIr> {
    let mut limits = Vec::new();
    if let Some(most) = ceilings.max_requests_per_sec.and_then(NonZeroU32::new) {
        limits.push(rate_limit::compile_ceiling(slice.tenant.meta.object.clone(), most));
    }
    for declared in &slice.policies {
        let object = &declared.meta.object;
        let compiled = declared.spec.as_ref().and_then(|spec| {
            let mut problems = Problems::of(object, problems);
            let ir = rate_limit::compile(spec, &slice.name, problems.at("spec"))?;
            targets_exist(gathered, slice, spec, ir, problems.at("spec"))
        });
        let last_good = || previous?.rate_limits.iter().find(|limit| limit.object == *object).cloned();
        limits.extend(compiled.or_else(last_good));
    }
    limits
}

/// Targets that are not there limit nothing, and their owner wants to know.
fn targets_exist(
    gathered: &Gathered,
    slice: &Slice<'_>,
    spec: &RateLimitPolicySpec,
    mut ir: RateLimitIr,
    mut problems: Problems<'_>,
) -> Option<RateLimitIr> {
    let mut kept = Vec::with_capacity(ir.targets.len());
    // One target was compiled for each that was written.
    for (index, (target, _)) in ir.targets.iter().zip(&spec.target_refs).enumerate() {
        let mut problems = problems.at("targetRefs");
        let mut problems = problems.item(index);
        let found = match target {
            TargetIr::Tenant => true,
            TargetIr::Route { route, rule } => match slice.routes.iter().find(|known| known.meta.object == *route) {
                None => missing(route, &mut problems),
                Some(known) => rule.as_deref().is_none_or(|rule| has_rule(known, rule, &mut problems)),
            },
            TargetIr::WebhookSource(source) => {
                gathered.webhook_sources.contains_key(source) || missing(source, &mut problems)
            }
        };
        if found {
            kept.push(target.clone());
        }
    }
    ir.targets = kept;
    (!ir.targets.is_empty()).then_some(ir)
}

fn missing(object: &ObjectRef, problems: &mut Problems<'_>) -> bool {
    problems.at("name").unresolved(
        format!("{object} does not exist, or is another tenant's"),
        "name one in this namespace, or create it",
    );
    false
}

fn has_rule(route: &Declared<policy::route::RouteSpec>, rule: &str, problems: &mut Problems<'_>) -> bool {
    let Some(spec) = &route.spec else { return true };
    let names = spec.rules.iter().enumerate();
    let names: Vec<String> =
        names.map(|(index, rule)| rule.name.clone().unwrap_or_else(|| format!("rule-{index}"))).collect();
    if names.iter().any(|name| name == rule) {
        return true;
    }
    let message = format!("{} has no rule {rule}", route.meta.object);
    problems.at("sectionName").unresolved(message, format!("name one of {}", names.join(", ")));
    false
}
