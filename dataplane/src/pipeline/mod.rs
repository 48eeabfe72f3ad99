//! The life of a request, top to bottom. [`policy::stage::Filter`] holds the reasons for the order.

mod api;
mod core;
mod ended;
mod on_failure;
mod paths;
mod schema;
mod unmatched;
mod webhook;

use std::rc::Rc;
use std::sync::Arc;

use http::Response;
use policy::refusal::{Extra, Reason, Refusal};
use policy::route::Outcome;

pub use self::core::{Clock, Core, CoreShared};
pub use ended::{Ended, Forwarding};

use crate::answer::Body;
use crate::http::{Ids, Inbound, Parsed, X_REQUEST_ID};
use crate::runtime::{Runtime, Target, TenantRuntime};
use crate::telemetry::Traffic;

/// Answers one request, whatever it is. Never fails: a "no" is an answer too.
pub async fn answer(core: &Rc<Core>, inbound: Inbound) -> Response<Body> {
    let ids = inbound.ids();
    let mut ended = Box::new(Ended::begin(core, &inbound, &ids));
    let runtime = core.runtime();
    let answered = run(core, &runtime, &ids, inbound, &mut ended).await;
    let mut response = answered.unwrap_or_else(|refusal| ended.refuse(&refusal));
    if let Ok(id) = http::HeaderValue::from_str(&ids.request) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    ended.status = response.status().as_u16();
    response.map(|body| body.then(ended))
}

async fn run(
    core: &Rc<Core>,
    runtime: &Arc<Runtime>,
    ids: &Ids,
    inbound: Inbound,
    ended: &mut Ended,
) -> Result<Response<Body>, Refusal> {
    let parsed = inbound.parse()?;
    ended.parsed(&parsed);
    let host = parsed.head().host;
    let tenant = runtime.tenant_of(host).ok_or_else(|| unknown_host(core, host))?;
    ended.tenant = Some(tenant.clone());
    let found = find(tenant, &parsed);
    paths::check(tenant, &parsed, found.as_ref().ok().copied())?;
    let target = match found {
        Ok(target) => target,
        Err(refusal) => return Ok(unmatched::answer(tenant, &parsed, &refusal, ended)),
    };
    match target {
        Target::Rule(rule) => Ok(api::answer(core, tenant, rule, ids, parsed, ended).await),
        Target::Source(source) => {
            ended.traffic = Traffic::Webhook;
            webhook::answer(core, (runtime, tenant), source, ids, parsed, ended).await
        }
        Target::NotProgrammed(object) => Err(not_programmed(object)),
    }
}

/// A preflight is matched by the method that it asks about: the rule that will take the call answers for it.
fn find<'t>(tenant: &'t TenantRuntime, parsed: &Parsed) -> Result<&'t Target, Refusal> {
    let (head, method) = (parsed.head(), parsed.matched_method());
    let head = policy::request::RequestHead { method: &method, ..head };
    match tenant.matcher.find(&head) {
        Outcome::Matched(target) => Ok(target),
        Outcome::MethodNotAllowed(methods) => {
            let allow = methods.iter().map(|method| method.as_str()).collect::<Vec<_>>().join(", ");
            let detail = format!("this path takes {allow}");
            Err(Refusal::new(Reason::MethodNotAllowed, detail).with(Extra::Allow(allow)))
        }
        Outcome::NotFound => {
            Err(Refusal::new(Reason::NoRoute, "no rule of this host takes this path with these headers and query"))
        }
    }
}

/// Who has not been told of everything does not know that nobody claims it, and a 4xx would be the end of a webhook.
fn unknown_host(core: &Core, host: &str) -> Refusal {
    if !core.health.knows_all() {
        let detail = "the gateway has just started and has no complete snapshot yet; send it again";
        return Refusal::new(Reason::NotProgrammed, detail).with(Extra::RetryAfter(std::time::Duration::from_secs(1)));
    }
    Refusal::new(
        Reason::UnknownHost,
        format!("no tenant claims `{host}`; check the Host header and the Tenant's hostnames"),
    )
}

fn not_programmed(object: &str) -> Refusal {
    let pause = Extra::RetryAfter(std::time::Duration::from_secs(10));
    let detail = format!("{object} has a problem, and what answers here is not known; its status says which");
    Refusal::new(Reason::NotProgrammed, detail).with(pause)
}

/// What security admitted cannot go on: the traffic part is broken and has no last good.
fn traffic_broken(fields: &[Arc<str>]) -> Refusal {
    let pause = Extra::RetryAfter(std::time::Duration::from_secs(10));
    let detail = format!("this has no last good, and refuses until it is corrected: {}", fields.join(", "));
    Refusal::new(Reason::NotProgrammed, detail).with(pause)
}
