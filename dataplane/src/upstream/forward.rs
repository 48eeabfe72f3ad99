//! Forwards one request: backend, breaker, endpoint, attempts, answer.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;
use policy::circuit_breaker::{BreakerState, Permit, is_failure};
use policy::names::TenantName;
use policy::refusal::Reason;
use policy::retry::{Attempt, Ending, RetryIr, backoff, is_idempotent, may_retry};
use policy::route::TimeoutsIr;
use tokio::time::{Instant, sleep, timeout_at};

use super::balance::{self, Picked};
use super::clock::since_origin;
use super::hop_by_hop;
use super::http1::connection::Connection;
use super::http1::error::BoxError;
use super::http1::exchange::{Begun, exchange};
use super::http1::{ExchangeError, RequestBody, RequestHead, Sent, UpgradedIo, UpstreamBody};
use super::pool::{InFlight, UpstreamCore};
use super::registry::Upstream;
use super::split;
use crate::telemetry::Outcome;

/// How long a connect may take, and the first lookup of a name.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// An upstream with its share.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Which.
    pub upstream: Arc<Upstream>,
    /// Its share among the rule's backends.
    pub weight: u32,
}

/// What a rule says of forwarding.
#[derive(Clone, Copy, Debug)]
pub struct ForwardPlan<'a> {
    /// Whose request.
    pub tenant: &'a TenantName,
    /// Where it may go.
    pub backends: &'a [Backend],
    /// How long it may take.
    pub timeouts: &'a TimeoutsIr,
    /// When the request's head was complete: its deadlines count from here.
    pub began: Instant,
    /// Whether it is tried again; nothing means never.
    pub retry: Option<&'a RetryIr>,
    /// A retry in mode `Audit`: whether it would be tried again is recorded.
    pub audited_retry: Option<&'a RetryIr>,
}

/// The attempts of one request, whatever their result.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    /// How each ended, in order.
    pub outcomes: Outcomes,
    /// True when a breaker in mode `Audit` would have refused the request.
    pub breaker_would_refuse: bool,
    /// Why a retry in mode `Audit` would have tried again.
    pub would_retry: Option<Reason>,
}

/// The outcomes of attempts: nearly always one.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    first: Option<Outcome>,
    more: Vec<Outcome>,
}

impl Outcomes {
    fn push(&mut self, outcome: Outcome) {
        if self.first.is_none() {
            self.first = Some(outcome);
        } else {
            self.more.push(outcome);
        }
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = Outcome> {
        self.first.into_iter().chain(self.more.iter().copied())
    }
}

/// An upstream's answer.
#[derive(Debug)]
pub struct Forwarded {
    /// The answer, without hop-by-hop fields (a 101 keeps Connection and Upgrade).
    pub response: Response<UpstreamBody>,
    /// The upstream's side of the new protocol, with a 101.
    pub upgraded: Option<UpgradedIo>,
    /// How often it was tried.
    pub attempts: u32,
    /// Who answered.
    pub upstream: Arc<Upstream>,
    /// At which address.
    pub endpoint: SocketAddr,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct ForwardError {
    /// The word for it.
    pub reason: Reason,
    /// How often it was tried.
    pub attempts: u32,
    /// For the caller; names no address.
    pub detail: Cow<'static, str>,
    /// When another try makes sense, if that is known.
    pub retry_after: Option<Duration>,
    /// The upstream that was picked.
    pub upstream: Option<Arc<Upstream>>,
    /// The last attempt's failure.
    #[source]
    pub cause: Option<ExchangeError>,
}

/// The failure of one attempt.
enum AttemptError {
    NoEndpoint,
    Exchange(ExchangeError),
}

struct Call<'a> {
    core: &'a UpstreamCore,
    plan: &'a ForwardPlan<'a>,
    head: &'a RequestHead<'a>,
    upstream: &'a Arc<Upstream>,
    /// For the head of the response.
    deadline: Option<Instant>,
    /// For the end of the response.
    stream_deadline: Option<Instant>,
    attempts: u32,
    tried: Vec<SocketAddr>,
    seen: &'a mut Attempts,
}

struct Answered {
    begun: Begun,
    in_flight: InFlight,
    endpoint: SocketAddr,
}

/// Forwards a request. Dropping the future gives everything up that it holds; the caller leaving counts
/// against nobody.
///
/// # Errors
/// [`ForwardError`]: nothing was answered; the pipeline makes the answer.
pub async fn forward<B>(
    core: &UpstreamCore,
    plan: &ForwardPlan<'_>,
    head: &RequestHead<'_>,
    body: RequestBody<B>,
    seen: &mut Attempts,
) -> Result<Forwarded, ForwardError>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let picked = split::pick(plan.backends.iter().map(|backend| backend.weight), core.random());
    let Some(Backend { upstream, .. }) = picked.and_then(|at| plan.backends.get(at)) else {
        return Err(no_endpoint(None, 0));
    };
    let started = Instant::now();
    if plan.retry.is_some() {
        upstream.budget.deposit(since_origin(started));
    }
    let stream_deadline = after(plan.began, plan.timeouts.stream_ms);
    let deadline = earlier(after(plan.began, plan.timeouts.request_ms), stream_deadline);
    let (attempts, tried) = (0, Vec::new());
    let mut call = Call { core, plan, head, upstream, deadline, stream_deadline, attempts, tried, seen };
    let mut body = Some(body);
    let mut last = None;
    loop {
        let permit = match call.admit() {
            Ok(permit) => permit,
            Err(refused) => return Err(last.unwrap_or(refused)),
        };
        let outcome = call.attempt(&mut body).await;
        tell(upstream, permit, &outcome);
        call.record(&outcome, body.is_some());
        let pause = call.pause(&outcome, body.is_some());
        match (outcome, pause) {
            (Ok(answered), None) => return Ok(call.finish(answered)),
            (Err(error), None) => return Err(call.fail(error)),
            (Ok(_), Some(pause)) => sleep(pause).await,
            (Err(error), Some(pause)) => {
                last = Some(call.fail(error));
                sleep(pause).await;
            }
        }
    }
}

impl Call<'_> {
    fn admit(&mut self) -> Result<Option<Permit>, ForwardError> {
        let Some(breaker) = &self.upstream.breaker else { return Ok(None) };
        match breaker.admit(since_origin(Instant::now())) {
            Ok(permit) => Ok(Some(permit)),
            Err(_) if self.upstream.breaker_audits => {
                self.seen.breaker_would_refuse = true;
                Ok(None)
            }
            Err(open) => Err(ForwardError {
                reason: Reason::BreakerOpen,
                attempts: self.attempts,
                detail: "The upstream kept failing; it is asked again after a rest.".into(),
                retry_after: Some(open.retry_after),
                upstream: Some(Arc::clone(self.upstream)),
                cause: None,
            }),
        }
    }

    /// Records how an attempt ended. Where no endpoint was there to try, there was no attempt.
    fn record(&mut self, outcome: &Result<Answered, AttemptError>, replayable: bool) {
        let ended = match outcome {
            Ok(answered) => Outcome::Answered(answered.begun.head.status),
            Err(AttemptError::Exchange(error)) => Outcome::Failed(error.reason()),
            Err(AttemptError::NoEndpoint) => return,
        };
        self.seen.outcomes.push(ended);

        let again = self.plan.audited_retry.is_some_and(|retry| self.may_retry(retry, outcome, replayable));
        self.seen.would_retry = again.then_some(match ended {
            Outcome::Answered(_) => Reason::UpstreamFailed,
            Outcome::Failed(reason) => reason,
        });
    }

    async fn attempt<B>(&mut self, body: &mut Option<RequestBody<B>>) -> Result<Answered, AttemptError>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let now = Instant::now();
        let until = earlier(self.deadline, after(now, self.plan.timeouts.backend_request_ms));
        let Picked { address, slot } = self.pick(now, until).await?;
        self.attempts += 1;
        let in_flight = InFlight::new(slot.clone());
        let mut idle = slot.take(now);
        loop {
            let reused = idle.is_some();
            let connection = match idle.take() {
                Some(connection) => connection,
                None => self.connect(&Picked { address, slot: slot.clone() }, until).await?,
            };
            let sending = match body.take() {
                Some(RequestBody::Whole(bytes)) => {
                    *body = Some(RequestBody::Whole(bytes.clone()));
                    RequestBody::Whole(bytes)
                }
                Some(streaming @ RequestBody::Streaming(_)) => streaming,
                None => return Err(AttemptError::Exchange(ExchangeError::RequestLength)),
            };
            match exchange(connection, self.head, sending, until).await {
                Ok(begun) => return Ok(Answered { begun, in_flight, endpoint: address }),
                // The upstream closed an idle connection as we took it: that says nothing of the request.
                Err(ExchangeError::Closed { answer_began: false, sent, .. })
                    if reused && body.is_some() && (sent == Sent::Nothing || is_idempotent(self.head.method)) => {}
                Err(error) => return Err(AttemptError::Exchange(error)),
            }
        }
    }

    async fn pick(&mut self, now: Instant, until: Option<Instant>) -> Result<Picked, AttemptError> {
        if self.upstream.is_url() && self.upstream.load().is_none() {
            let until = earlier(until, Some(now + CONNECT_TIMEOUT)).unwrap_or(now);
            timeout_at(until, self.upstream.known()).await.map_err(|_| AttemptError::NoEndpoint)?;
        }
        let endpoints = self.upstream.load();
        let endpoints = endpoints.as_ref().map(|all| all.as_slice()).unwrap_or_default();
        let picked = balance::pick(self.core, self.plan.tenant, endpoints, &self.tried, now);
        let picked = picked.ok_or(AttemptError::NoEndpoint)?;
        if self.plan.retry.is_some() {
            self.tried.push(picked.address);
        }
        Ok(picked)
    }

    async fn connect(&self, picked: &Picked, until: Option<Instant>) -> Result<Connection, AttemptError> {
        if self.upstream.is_url() {
            let checked = self.core.guard().check(picked.address.ip());
            checked.map_err(|forbidden| AttemptError::Exchange(forbidden.into()))?;
        }
        let now = Instant::now();
        let until = earlier(until, Some(now + CONNECT_TIMEOUT)).unwrap_or(now);
        let opened = Connection::open(picked.address, until).await;
        match &opened {
            Ok(_) => picked.slot.connected(),
            Err(_) => picked.slot.connect_failed(Instant::now()),
        }
        opened.map_err(AttemptError::Exchange)
    }

    fn may_retry(&self, retry: &RetryIr, outcome: &Result<Answered, AttemptError>, replayable: bool) -> bool {
        let ending = match outcome {
            Ok(answered) => Ending::Answered(answered.begun.head.status),
            Err(AttemptError::NoEndpoint) => return false,
            Err(AttemptError::Exchange(error)) if error.sent_nothing() => Ending::Unsent,
            Err(AttemptError::Exchange(ExchangeError::Timeout { .. })) => Ending::TimedOut,
            Err(AttemptError::Exchange(_)) => Ending::Broken,
        };
        may_retry(retry, Attempt { method: self.head.method, made: self.attempts, replayable, ending })
    }

    /// The pause before another attempt, or nothing when there is none.
    fn pause(&self, outcome: &Result<Answered, AttemptError>, replayable: bool) -> Option<Duration> {
        let retry = self.plan.retry?;
        if !self.may_retry(retry, outcome, replayable) {
            return None;
        }
        let now = Instant::now();
        let pause = backoff(retry, self.attempts, self.core.random());
        if self.deadline.is_some_and(|deadline| now + pause >= deadline) {
            return None;
        }
        self.upstream.budget.withdraw(retry, since_origin(now)).then_some(pause)
    }

    fn finish(&self, answered: Answered) -> Forwarded {
        let Answered { mut begun, in_flight, endpoint } = answered;
        let upstream = Arc::clone(self.upstream);
        let attempts = self.attempts;
        if begun.head.status == StatusCode::SWITCHING_PROTOCOLS {
            let mut response = Response::new(UpstreamBody::empty());
            *response.status_mut() = begun.head.status;
            *response.headers_mut() = clean_upgrade(begun.head.headers);
            let upgraded = Some(begun.connection.into_upgraded(in_flight));
            return Forwarded { response, upgraded, attempts, upstream, endpoint };
        }
        clean(&mut begun.head.headers, begun.head.status);
        let (parts, body) = UpstreamBody::new(begun, self.stream_deadline, in_flight);
        Forwarded { response: Response::from_parts(parts, body), upgraded: None, attempts, upstream, endpoint }
    }

    fn fail(&self, error: AttemptError) -> ForwardError {
        match error {
            AttemptError::NoEndpoint => no_endpoint(Some(Arc::clone(self.upstream)), self.attempts),
            AttemptError::Exchange(cause) => ForwardError {
                reason: cause.reason(),
                attempts: self.attempts,
                detail: cause.to_string().into(),
                retry_after: None,
                upstream: Some(Arc::clone(self.upstream)),
                cause: Some(cause),
            },
        }
    }
}

fn no_endpoint(upstream: Option<Arc<Upstream>>, attempts: u32) -> ForwardError {
    let detail = "No endpoint of the upstream is ready.".into();
    ForwardError { reason: Reason::NoEndpoint, attempts, detail, retry_after: None, upstream, cause: None }
}

/// A permit that is told nothing counts as nothing: no endpoint, or the caller's own doing.
fn tell(upstream: &Upstream, permit: Option<Permit>, outcome: &Result<Answered, AttemptError>) {
    let Some(permit) = permit else { return };
    let now = since_origin(Instant::now());
    let changed = match outcome {
        Ok(answered) if is_failure(answered.begun.head.status) => permit.fail(now),
        Ok(_) => permit.succeed(now),
        Err(AttemptError::Exchange(error)) if error.is_upstreams() => permit.fail(now),
        Err(AttemptError::Exchange(_) | AttemptError::NoEndpoint) => None,
    };
    let (tenant, name, audits) = (&upstream.tenant, &upstream.name, upstream.breaker_audits);
    match changed {
        Some(BreakerState::Open) => {
            tracing::warn!(%tenant, upstream = %name, audits, "circuit breaker opened: the upstream kept failing");
        }
        Some(BreakerState::Closed) => {
            tracing::info!(%tenant, upstream = %name, audits, "circuit breaker closed: the upstream answers again");
        }
        Some(BreakerState::HalfOpen) | None => {}
    }
}

fn clean(headers: &mut HeaderMap, status: StatusCode) {
    hop_by_hop::strip(headers);
    if status == StatusCode::NO_CONTENT {
        headers.remove(CONTENT_LENGTH);
    } else if headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some()
        && let Some(length) = headers.get(CONTENT_LENGTH).cloned()
    {
        // Several that agree were taken as one; the caller gets one.
        headers.insert(CONTENT_LENGTH, length);
    }
}

fn clean_upgrade(mut headers: HeaderMap) -> HeaderMap {
    let protocol = headers.remove(UPGRADE);
    hop_by_hop::strip(&mut headers);
    headers.remove(CONTENT_LENGTH);
    if let Some(protocol) = protocol {
        headers.insert(UPGRADE, protocol);
    }
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers
}

/// The instant so many milliseconds later; nothing when they are 0.
fn after(now: Instant, ms: u64) -> Option<Instant> {
    if ms == 0 { None } else { now.checked_add(Duration::from_millis(ms)) }
}

fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
