//! The limits of a tenant: its ceiling, and the policies that target it or its objects.

use std::num::NonZeroU32;
use std::sync::Arc;

use policy::names::{Kind, ObjectRef};
use policy::problem::{Problem, Problems, Severity};
use policy::rate_limit::{self, RateLimitIr, RateLimitPolicySpec, TargetIr};
use policy::settings::{self, Class};
use policy::tenant::CeilingsIr;
use serde_json::Value;

use crate::gather::{Declared, Gathered};
use crate::resolve::Slice;

/// Compiles them. Policies add up. What is targeted by a policy that cannot be compiled refuses: nobody can say how much
/// it would admit, and the limits of before may be wider than those of now.
pub(super) fn compile(
    gathered: &Gathered,
    slice: &Slice<'_>,
    ceilings: &CeilingsIr,
    problems: &mut Vec<Problem>,
) -> Vec<RateLimitIr> {
    let mut limits = Vec::new();
    if let Some(most) = ceilings.max_requests_per_sec.and_then(NonZeroU32::new) {
        limits.push(rate_limit::compile_ceiling(slice.tenant.meta.object.clone(), most));
    }
    limits.extend(unread_of_tenant(slice));
    for declared in &slice.policies {
        let object = &declared.meta.object;
        let (compiled, fields) = match &declared.spec {
            Some(spec) => {
                let mut problems = Problems::of(object, problems);
                let before = problems.errors();
                let compiled = rate_limit::compile(spec, &slice.name, problems.at("spec"));
                let fields = problems.fields_since(before);
                let found = |ir| targets_exist(gathered, slice, spec, ir, problems.at("spec"));
                (compiled.map(found), fields)
            }
            None => {
                let errors = declared.problems.iter().filter(|problem| problem.severity == Severity::Error);
                (None, errors.map(|problem| problem.field.clone()).collect())
            }
        };
        let broken = || {
            let (value, fields) = (declared.written.value(), fields.iter().map(|field| field.as_str().into()));
            let spec = value.get("spec").cloned().unwrap_or_default();
            rate_limit::compile_broken(&spec, &slice.name, object.clone(), fields.collect(), everything(slice))
        };
        limits.extend(compiled.unwrap_or_else(broken));
    }
    limits
}

/// Parts of the Tenant that bound all of its traffic and could not be read: like a broken limit on everything.
fn unread_of_tenant(slice: &Slice<'_>) -> Option<RateLimitIr> {
    let apart = ["addresses", "cors"];
    let inbound = slice.tenant.broken.iter().filter(|path| {
        let block = settings::block(Kind::Tenant, path);
        let own = path.strip_prefix("spec.").is_some_and(|name| !apart.contains(&name));
        own && block.is_some_and(|block| block.class == Class::InboundSecurity)
            && !path.starts_with("spec.authentication")
    });
    let fields: Vec<Arc<str>> = inbound.map(|path| path.as_str().into()).collect();
    let object = slice.tenant.meta.object.clone();
    let nothing = Value::Null;
    if fields.is_empty() {
        return None;
    }
    rate_limit::compile_broken(&nothing, &slice.name, object, fields, everything(slice))
}

/// All that requests of a tenant can reach.
fn everything(slice: &Slice<'_>) -> Vec<TargetIr> {
    let sources = slice.sources.iter().map(|source| TargetIr::WebhookSource(source.meta.object.clone()));
    std::iter::once(TargetIr::Tenant).chain(sources).collect()
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
    for (index, (target, _)) in ir.targets.iter_mut().zip(&spec.target_refs).enumerate() {
        let mut problems = problems.at("targetRefs");
        let mut problems = problems.item(index);
        let found = match target {
            TargetIr::Tenant => true,
            TargetIr::Route { route, rule } => match slice.routes.iter().find(|known| known.meta.object == *route) {
                None => missing(route, &mut problems),
                Some(known) => {
                    // A rule that is not there may have been renamed: the limit then holds for all of the Route.
                    let named = rule.take();
                    *rule = named.filter(|rule| has_rule(known, rule, &mut problems));
                    true
                }
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
    let Some(spec) = &route.spec else { return false };
    let names: Vec<Arc<str>> = spec.rules.iter().map(policy::route::rule_name).collect();
    if names.iter().any(|name| **name == *rule) {
        return true;
    }
    let message = format!("{} has no rule {rule}, so the limits hold for all of the Route", route.meta.object);
    problems.at("sectionName").unresolved(message, format!("name one of {}", names.join(", ")));
    false
}
