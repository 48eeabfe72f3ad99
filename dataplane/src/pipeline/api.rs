//! A request to a rule of a Route: filters in order, then forwarded.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use policy::authorization::authorize;
use policy::cors::Cors;
use policy::costly::Costly;
use policy::credentials;
use policy::error::chain;
use policy::headers::SecurityHeaders;
use policy::refusal::{Extra, Reason, Refusal};
use policy::request::Caller;
use policy::stage::Filter;

use super::{Core, Ended, on_failure, schema};
use crate::answer::{self, Body};
use crate::http::memory::Sender;
use crate::http::{Connection, Ids, Parsed, RequestBodyError, Slots};
use crate::runtime::{Guard, Rule, TenantRuntime};
use crate::upstream::upgrade::{TunnelLimits, tunnel};
use crate::upstream::{self, Attempts, ForwardError, ForwardPlan, Forwarded, RequestHead};

/// What the filters say to a request that they do not refuse.
enum Decision {
    /// Go on, as this caller.
    Admitted(Option<Arc<Caller>>),
    /// It was a preflight.
    Preflight(HeaderMap),
}

/// Answers a request to a rule. What the browser and the caller must be told is told with a refusal too.
pub(super) async fn answer(
    core: &Rc<Core>,
    tenant: &Arc<TenantRuntime>,
    rule: &Arc<Rule>,
    ids: &Ids,
    parsed: Parsed,
    ended: &mut Ended,
) -> Response<Body> {
    ended.object = Some((rule.object.clone(), rule.name.clone()));
    let origin = Origin::of(&parsed);
    let mut told = HeaderMap::new();
    let decided = filters(core, tenant, rule, &parsed, ended, &mut told);
    // A granted preflight says all that the browser needs; what is applied to other responses would replace it.
    let granted = matches!(decided, Ok(Decision::Preflight(_)));
    let answered = match decided {
        Ok(Decision::Admitted(caller)) => forward(core, (tenant, rule), ids, parsed, caller, (ended, &mut told)).await,
        Ok(Decision::Preflight(headers)) => Ok(preflight(headers)),
        Err(refusal) => Err(refusal),
    };
    let mut response = answered.unwrap_or_else(|refusal| ended.refuse(&refusal));
    let headers = response.headers_mut();
    for (name, value) in &told {
        headers.insert(name.clone(), value.clone());
    }
    if !granted {
        change(Filter::Cors, rule.cors.as_ref(), headers, ended, |cors, headers| cors.apply(&origin.0, headers));
    }
    change(Filter::ResponseHeaders, rule.security_headers.as_ref(), headers, ended, SecurityHeaders::apply);
    response
}

/// Lets a policy change the header fields of a response; one that audits changes a copy.
fn change<T>(
    filter: Filter,
    guard: Option<&Guard<T>>,
    headers: &mut HeaderMap,
    ended: &mut Ended,
    apply: impl FnOnce(&T, &mut HeaderMap),
) {
    match guard {
        Some(guard) if guard.audits() => {
            let mut changed = headers.clone();
            apply(&guard.decider, &mut changed);
            let recorded = ended.would_act.iter().any(|(known, _)| *known == filter);
            if changed != *headers && !recorded {
                ended.would_act.push((filter, None));
            }
        }
        Some(guard) => apply(&guard.decider, headers),
        None => {}
    }
}

/// The `Origin` of a request, kept while its head goes to the upstream.
pub(super) struct Origin(HeaderMap);

impl Origin {
    pub(super) fn of(parsed: &Parsed) -> Self {
        let mut kept = HeaderMap::new();
        for value in parsed.headers.get_all(http::header::ORIGIN) {
            kept.append(http::header::ORIGIN, value.clone());
        }
        Self(kept)
    }

    /// Writes into a response whether pages of this origin may read it, as the `cors` of the rule says.
    pub(super) fn apply(&self, rule: &Rule, headers: &mut HeaderMap) {
        if let Some(cors) = rule.cors.as_ref().filter(|cors| !cors.audits()) {
            cors.decider.apply(&self.0, headers);
        }
    }
}

fn preflight(headers: HeaderMap) -> Response<Body> {
    let mut response = answer::empty(StatusCode::NO_CONTENT);
    *response.headers_mut() = headers;
    response
}

/// The filters, in the order of [`Filter`].
fn filters(
    core: &Core,
    tenant: &TenantRuntime,
    rule: &Rule,
    parsed: &Parsed,
    ended: &mut Ended,
    told: &mut HeaderMap,
) -> Result<Decision, Refusal> {
    if !rule.broken_security.is_empty() {
        return Err(broken(&rule.broken_security));
    }
    let head = parsed.head();
    if let Some(guard) = &rule.addresses {
        let decided = guard.decider.check(head.address, || core.clock.now_secs());
        guard.judge(Filter::Addresses, decided, &mut ended.would_refuse)?;
    }
    if let Some(guard) = &rule.cors
        && let Some(Some(headers)) =
            guard.judge(Filter::Cors, guard.decider.preflight(&head), &mut ended.would_refuse)?
    {
        if !guard.audits() {
            return Ok(Decision::Preflight(headers));
        }
        ended.would_act.push((Filter::Cors, None));
    }
    if Cors::is_preflight(&head)
        && rule.cors.as_ref().is_none_or(Guard::audits)
        && rule.authentication.as_ref().is_some_and(closed)
    {
        return Err(Refusal::new(
            Reason::OriginDenied,
            "no page of another origin may call this: the rule has no cors",
        ));
    }
    let caller = authenticate(core, tenant, rule, parsed, ended)?;
    ended.caller.clone_from(&caller);
    if let Some(guard) = &rule.authorization {
        let decided = authorize(&guard.decider, head.method, caller.as_deref());
        guard.judge(Filter::Authorization, decided, &mut ended.would_refuse)?;
    }
    let verdict = rule.limits.check(caller.as_deref(), head.address, core.clock.mono_ns());
    if let Some(standing) = &verdict.standing {
        standing.apply(told);
    }
    ended.would_refuse.extend(verdict.would_refuse.map(|refusal| (Filter::RateLimit, refusal)));
    if let Some(refused) = verdict.refused {
        return Err(refused);
    }
    // Last, because a caller that security refuses learns nothing of the rest.
    if !rule.broken_traffic.is_empty() {
        return Err(super::traffic_broken(&rule.broken_traffic));
    }
    Ok(Decision::Admitted(caller))
}

fn closed(guard: &Guard<policy::authentication::Authenticator>) -> bool {
    !guard.decider.is_open()
}

fn broken(fields: &[Arc<str>]) -> Refusal {
    let detail = format!("the rule refuses until this is corrected: {}", fields.join(", "));
    Refusal::new(Reason::PolicyBroken, detail)
}

fn authenticate(
    core: &Core,
    tenant: &TenantRuntime,
    rule: &Rule,
    parsed: &Parsed,
    ended: &mut Ended,
) -> Result<Option<Arc<Caller>>, Refusal> {
    let Some(guard) = &rule.authentication else { return Ok(None) };
    let now_secs = core.clock.now_secs();
    let check = |costly: &mut Costly| {
        guard.decider.authenticate(&parsed.headers, &mut core.tokens.borrow_mut(), now_secs, costly)
    };
    // An open rule proves nothing and counts nothing.
    let decided = match guard.decider.is_open() {
        true => check(&mut Costly::allowed()),
        false => core.check(&tenant.failures, parsed.address, check),
    };
    if let Err(refusal) = &decided
        && !guard.audits()
        && policy::rate_limit::Failures::counts(refusal.reason)
    {
        tenant.failures.record(parsed.address, core.clock.mono_ns());
    }
    let Some(caller) = guard.judge(Filter::Authentication, decided, &mut ended.would_refuse)?.flatten() else {
        return Ok(None);
    };
    // A caller of another tenant goes on as nobody's where the guard audits.
    let agreed = tenant.agreement.check(&caller);
    Ok(guard.judge(Filter::TenantAgreement, agreed, &mut ended.would_refuse)?.map(|()| caller))
}

async fn forward(
    core: &Rc<Core>,
    (tenant, rule): (&Arc<TenantRuntime>, &Rule),
    ids: &Ids,
    mut parsed: Parsed,
    caller: Option<Arc<Caller>>,
    (ended, told): (&mut Ended, &mut HeaderMap),
) -> Result<Response<Body>, Refusal> {
    parsed.body.limit(rule.max_body_size).map_err(|error| error.refusal())?;
    let sender = if caller.is_some() { Sender::Authenticated } else { Sender::Unauthenticated };
    core.account(&mut parsed, &tenant.name, sender);
    ended.enter(tenant)?;
    let upgrade = websocket(&mut parsed)?;
    prepare(&mut parsed, (tenant, rule), ids, caller.as_deref(), upgrade.is_some());
    let (target, method, host) = (parsed.target(), parsed.method.clone(), Box::from(parsed.head().host));
    // The charge lasts until the upstream has answered: an attempt may send the bytes again.
    let (body, _charge) = schema::body(core, rule, (&method, &parsed.headers), parsed.body, ended).await?;
    let plan = plan(tenant, rule, ended);
    let head = RequestHead { method: &method, target: &target, headers: &parsed.headers };
    let (began, mut seen) = (Instant::now(), Attempts::default());
    let forwarded = match on_failure::concerns(rule, &method) {
        None => {
            let forwarded = upstream::forward(&core.upstreams, &plan, &head, body, &mut seen).await;
            ended.forwarding.took = Some(began.elapsed());
            forwarded
        }
        Some(block) => {
            let (body, kept) = on_failure::Kept::of(body, block.max_body_size);
            let forwarded = Box::pin(upstream::forward(&core.upstreams, &plan, &head, body, &mut seen)).await;
            ended.forwarding.took = Some(began.elapsed());
            if let Some(failure) = on_failure::Failure::of(&forwarded) {
                let (headers, caller) = (&parsed.headers, caller.as_deref());
                let head =
                    on_failure::Head { rule, method: &method, host: &host, target: &target, headers, caller, ids };
                let said = on_failure::keep(core, tenant, block, (head, kept), failure).await;
                told.insert(on_failure::DEAD_LETTER, said);
            }
            forwarded
        }
    };
    ended.forwarded(rule, &forwarded, &seen);
    if let Some(reason) = on_failure::would_keep(rule, &method, &forwarded) {
        ended.would_act.push((Filter::OnFailure, Some(reason)));
    }
    match forwarded {
        Ok(forwarded) => Ok(pass(core, forwarded, upgrade, &parsed.connection, ended)),
        Err(error) => failed(rule, error, ended),
    }
}

fn plan<'r>(tenant: &'r TenantRuntime, rule: &'r Rule, ended: &Ended) -> ForwardPlan<'r> {
    let retry = |audits| rule.retry.as_ref().filter(|retry| retry.audits() == audits).map(|retry| &*retry.decider);
    ForwardPlan {
        tenant: &tenant.name,
        backends: &rule.backends,
        timeouts: &rule.timeouts,
        began: ended.began.into(),
        retry: retry(false),
        audited_retry: retry(true),
    }
}

/// What is answered when the upstream gives no answer. The log line has the whole error; the caller is told no address.
fn failed(rule: &Rule, error: ForwardError, ended: &mut Ended) -> Result<Response<Body>, Refusal> {
    ended.detail = Some(chain(&error).into());
    let reason = error.reason;
    match rule.fallback.as_ref().filter(|_| stands_in(reason)) {
        Some(guard) if guard.audits() => {
            ended.would_act.push((Filter::Fallback, Some(reason)));
            Err(refusal(error))
        }
        Some(guard) => {
            ended.reason = Some(reason);
            Ok(answer::fallback(&guard.decider))
        }
        None => Err(refusal(error)),
    }
}

/// The fallback stands in for an upstream that has no answer, not for what the caller did wrong.
pub(super) fn stands_in(reason: Reason) -> bool {
    [
        Reason::NoEndpoint,
        Reason::BreakerOpen,
        Reason::UpstreamFailed,
        Reason::UpstreamMalformed,
        Reason::UpstreamTimeout,
    ]
    .contains(&reason)
}

fn refusal(error: ForwardError) -> Refusal {
    // A body that the caller sent wrongly is the caller's matter: its own error says what it was.
    if let Some(upstream::ExchangeError::RequestBody(cause)) = &error.cause
        && let Some(error) = cause.downcast_ref::<RequestBodyError>()
    {
        return error.refusal();
    }
    let refusal = Refusal::new(error.reason, error.detail);
    match error.retry_after {
        Some(pause) => refusal.with(Extra::RetryAfter(pause)),
        None => refusal,
    }
}

/// The head as the upstream gets it.
fn prepare(
    parsed: &mut Parsed,
    (tenant, rule): (&TenantRuntime, &Rule),
    ids: &Ids,
    caller: Option<&Caller>,
    upgrade: bool,
) {
    parsed.strip_identity(&rule.forwarded_names);
    for name in &rule.removed_credentials {
        parsed.headers.remove(name);
    }
    identify(&mut parsed.headers, tenant, caller);
    parsed.forwarded();
    ids.apply(&mut parsed.headers);
    for (name, value) in caller.iter().flat_map(|caller| &caller.forward) {
        parsed.headers.insert(name.clone(), value.clone());
    }
    if upgrade {
        parsed.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        parsed.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    // The exchange writes its own framing.
    parsed.headers.remove(CONTENT_LENGTH);
}

/// Tells the upstream who calls, in fields that nobody outside can set.
fn identify(headers: &mut HeaderMap, tenant: &TenantRuntime, caller: Option<&Caller>) {
    headers.insert(credentials::TENANT, tenant.field.clone());
    let Some(caller) = caller else {
        headers.insert(credentials::AUTH, credentials::NOBODY);
        return;
    };
    headers.insert(credentials::AUTH, credentials::VERIFIED);
    for (name, value) in
        [(credentials::CALLER, credentials::caller(caller)), (credentials::ROLES, credentials::roles(caller))]
    {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
}

/// The way to change the protocol, when WebSocket is asked for; any other upgrade is left out of the request,
/// which is then answered as a plain one (RFC 9110, 7.8).
fn websocket(parsed: &mut Parsed) -> Result<Option<hyper::upgrade::OnUpgrade>, Refusal> {
    let Some((to, on_upgrade)) = parsed.upgrade.take() else { return Ok(None) };
    if !to.as_bytes().eq_ignore_ascii_case(b"websocket") {
        return Ok(None);
    }
    if parsed.method != http::Method::GET {
        return Err(Refusal::new(Reason::UpgradeRefused, "a WebSocket starts with GET (RFC 6455, 4.1)"));
    }
    Ok(Some(on_upgrade))
}

fn pass(
    core: &Core,
    forwarded: Forwarded,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
    connection: &Connection,
    ended: &mut Ended,
) -> Response<Body> {
    if let (Some(upgraded), Some(downstream)) = (forwarded.upgraded, upgrade) {
        connection.watch.upgrade();
        let limits =
            TunnelLimits { idle_timeout: core.limits.tunnel_idle_timeout, lifetime: core.limits.tunnel_lifetime };
        // A tunnel holds every slot that its request and its connection had.
        let (in_flight, mut slots) = (ended.in_flight.take(), connection.slots.clone());
        let (open, ends) = (core.metrics.tunnels_open.clone(), core.metrics.tunnels_ended.clone());
        tokio::task::spawn_local(async move {
            let _in_flight = in_flight;
            let Ok(downstream) = downstream.await else { return };
            let io = hyper_util::rt::TokioIo::new(downstream);

            open.inc();
            let carried = tunnel(io, upgraded, limits, drained(&mut slots)).await;
            open.dec();
            ends.with_label_values(&[carried.end.word()]).inc();
        });
    }
    forwarded.response.map(Body::upstream)
}

/// Ends with the drain time.
async fn drained(slots: &mut Slots) {
    if slots.over.wait_for(|over| *over).await.is_err() {
        // The listener is gone without a drain: its end is that of the process.
        std::future::pending().await
    }
}
