//! A request that no rule takes.

use http::Response;
use policy::refusal::Refusal;
use policy::request::RequestHead;
use policy::route::Outcome;

use super::Ended;
use super::api::Origin;
use crate::answer::Body;
use crate::http::Parsed;
use crate::runtime::{Rule, Target, TenantRuntime};

/// Refuses the request in a response that a page of an allowed origin can read.
pub(super) fn answer(tenant: &TenantRuntime, parsed: &Parsed, refusal: &Refusal, ended: &mut Ended) -> Response<Body> {
    let mut response = ended.refuse(refusal);
    if let Some(rule) = nearest(tenant, parsed).or(tenant.cors_rule.as_deref()) {
        Origin::of(parsed).apply(rule, response.headers_mut());
    }
    response
}

/// The rule that takes the path under another method.
fn nearest<'t>(tenant: &'t TenantRuntime, parsed: &Parsed) -> Option<&'t Rule> {
    let head = parsed.head();
    let Outcome::MethodNotAllowed(methods) = tenant.matcher.find(&head) else { return None };
    methods.into_iter().find_map(|method| match tenant.matcher.find(&RequestHead { method, ..head }) {
        Outcome::Matched(Target::Rule(rule)) => Some(&**rule),
        Outcome::Matched(Target::Source(_) | Target::NotProgrammed(_))
        | Outcome::MethodNotAllowed(_)
        | Outcome::NotFound => None,
    })
}
