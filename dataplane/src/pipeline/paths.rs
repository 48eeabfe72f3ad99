//! Ambiguous paths: whether the rule allows them, and whether all their readings lead to it.

use std::sync::Arc;

use policy::refusal::{Reason, Refusal};
use policy::request::RequestHead;
use policy::route::paths::{forms, readings};
use policy::route::{Outcome, PathForm};

use crate::http::Parsed;
use crate::runtime::{Target, TenantRuntime};

/// Refuses a path with an ambiguous form that the rule found for it does not allow, or in which an upstream could read
/// the path of another rule.
pub(super) fn check(tenant: &TenantRuntime, parsed: &Parsed, found: Option<&Target>) -> Result<(), Refusal> {
    let head = parsed.head();
    let forms = forms(head.path);
    let Some(first) = forms.first() else { return Ok(()) };
    let Some(Target::Rule(rule)) = found else { return Err(not_allowed(*first)) };
    if let Some(form) = forms.iter().find(|form| !rule.path_forms.contains(form)) {
        return Err(not_allowed(*form));
    }

    let asked = parsed.matched_method();
    let same = |reading: &String| match tenant.matcher.find(&RequestHead { method: &asked, path: reading, ..head }) {
        Outcome::Matched(Target::Rule(other)) => Arc::ptr_eq(rule, other),
        Outcome::Matched(Target::Source(_) | Target::NotProgrammed(_))
        | Outcome::MethodNotAllowed(_)
        | Outcome::NotFound => false,
    };
    match readings(head.path).iter().find(|reading| !same(reading)) {
        None => Ok(()),
        Some(_) => {
            let detail = "an upstream could read a path in it that another rule takes; send the canonical path";
            Err(Refusal::new(Reason::AmbiguousPath, detail))
        }
    }
}

fn not_allowed(form: PathForm) -> Refusal {
    let detail =
        format!("the path holds {}, which paths.allow of a Route's rule has to list as {}", form.sign(), form.word());
    Refusal::new(Reason::AmbiguousPath, detail)
}
