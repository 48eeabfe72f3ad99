//! One attempt: the POST, its answer, and what follows from it.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body::Body;
use policy::error::chain;
use policy::ordering::{Outcome, Verdict};
use policy::refusal::Reason;
use policy::route::TimeoutsIr;

use super::pauses::jitter;
use super::{Destination, now_ms, signature};
use crate::event::Event;
use crate::event::die::{self, Point};
use crate::event::outcomes::{EventOutcome, OutcomeKind};
use crate::event::spool::{Death, LastAttempt, Pending, Settlement};
use crate::http::RequestBody as NoBody;
use crate::upstream::{Attempts, Backend, ForwardPlan, RequestBody, RequestHead, UpstreamBody, UpstreamCore, forward};

/// Bytes of an answer that are kept with the attempt.
const EXCERPT_BYTES: usize = 1024;
/// What an answer may take longer in all than until its head.
const GRACE: Duration = Duration::from_secs(1);
/// How soon a resting destination is tried again when its breaker does not say.
const REST: Duration = Duration::from_secs(1);

/// No attempt was made; not before this pause is over.
pub(super) struct NotNow(pub(super) Duration);

/// An attempt was made.
pub(super) struct Tried {
    pub(super) settlement: Settlement,
    /// The receiver's status; none without a response.
    status: Option<u16>,
    /// How many attempts were made.
    attempts: u32,
    /// Until the next, when there is one.
    pub(super) pause: Option<Duration>,
}

struct Answer {
    outcome: Outcome,
    status: Option<u16>,
    text: String,
}

/// Attempts to deliver an event.
pub(super) async fn attempt(core: &UpstreamCore, pending: &Pending, to: &Destination) -> Result<Tried, NotNow> {
    let made = pending.attempts.saturating_add(1);
    let mut envelope = pending.envelope.clone();
    envelope.redelivered |= pending.attempts > 0;
    let Ok(body) = envelope.to_json() else {
        let last = LastAttempt { attempts: made, status: None, answer: "no CloudEvent can be made of it".to_owned() };
        let settlement = dead(last, Death::Malformed, to);
        return Ok(Tried { settlement, status: None, attempts: made, pause: None });
    };
    let headers = headers(&pending.envelope.event, to, &body);
    let answer = match tokio::time::timeout(to.timeout + GRACE, post(core, pending, to, &headers, body.into())).await {
        Ok(answer) => answer?,
        Err(_) => Answer { outcome: Outcome::Unanswered, status: None, text: format!("no answer in {:?}", to.timeout) },
    };
    die::at(Point::Attempted);
    let status = answer.status;
    let last = LastAttempt { attempts: made, status, answer: answer.text };
    let (settlement, pause) = match to.schedule.judge(answer.outcome, made, jitter()) {
        Verdict::Delivered => (Settlement::Delivered, None),
        Verdict::RetryAfter(pause) => {
            let due_ms = now_ms().saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
            (Settlement::Parked { last, due_ms }, Some(pause))
        }
        Verdict::Gone => (dead(last, Death::Gone, to), None),
        Verdict::OutOfAttempts => (dead(last, Death::OutOfAttempts, to), None),
    };
    Ok(Tried { settlement, status, attempts: made, pause })
}

impl Tried {
    /// The outcome of the attempt, for the log and the counts.
    pub(super) fn outcome(&self, event: &Event) -> EventOutcome {
        let outcome = |kind| EventOutcome::of(event, kind, now_ms()).after(self.attempts, self.status);
        match &self.settlement {
            Settlement::Delivered => outcome(OutcomeKind::Delivered),
            Settlement::Parked { .. } => outcome(OutcomeKind::Retried).because(answered(self.status)),
            Settlement::Dead { death, .. } => outcome(OutcomeKind::Dead).because(death.as_str()),
            Settlement::Damaged => outcome(OutcomeKind::Dead).because("damaged"),
        }
    }
}

/// The class of a response, as the reason of a retry.
fn answered(status: Option<u16>) -> &'static str {
    match status {
        None => "unanswered",
        Some(..=299) => "answered_2xx",
        Some(300..=399) => "answered_3xx",
        Some(400..=499) => "answered_4xx",
        Some(500..) => "answered_5xx",
    }
}

fn dead(last: LastAttempt, death: Death, to: &Destination) -> Settlement {
    let kept = i64::try_from(to.retention.as_millis()).unwrap_or(i64::MAX);
    Settlement::Dead { last, death, expires_ms: now_ms().saturating_add(kept) }
}

fn headers(event: &Event, to: &Destination, body: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(HOST, to.host.clone());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json; charset=utf-8"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("postern/", env!("CARGO_PKG_VERSION"))));
    if let Some(Ok(request)) = event.request_id.as_deref().map(HeaderValue::from_str) {
        headers.insert(HeaderName::from_static("x-request-id"), request);
    }
    if let Some(Ok(parent)) = event.traceparent.as_deref().map(HeaderValue::from_str) {
        headers.insert(HeaderName::from_static("traceparent"), parent);
    }
    signature::sign(&mut headers, &to.sign_with, &event.id, now_ms() / 1000, body);
    headers
}

async fn post(
    core: &UpstreamCore,
    pending: &Pending,
    to: &Destination,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Answer, NotNow> {
    // Timed here too, so that a destination that hangs counts for its breaker; from outside for a body that trickles.
    let backend_request_ms = u64::try_from(to.timeout.as_millis()).unwrap_or(u64::MAX);
    let timeouts = TimeoutsIr { request_ms: 0, backend_request_ms, stream_ms: 0 };
    let backends = [Backend { upstream: to.upstream.clone(), weight: 1 }];
    let tenant = &pending.envelope.event.tenant;
    let began = tokio::time::Instant::now();
    let plan =
        ForwardPlan { tenant, backends: &backends, timeouts: &timeouts, began, retry: None, audited_retry: None };
    let head = RequestHead { method: &Method::POST, target: &to.path, headers };
    match forward::<NoBody>(core, &plan, &head, RequestBody::Whole(body), &mut Attempts::default()).await {
        Ok(forwarded) => {
            let (parts, body) = forwarded.response.into_parts();
            let retry_after = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = retry_after.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
            let status = parts.status.as_u16();
            let text = excerpt(body).await;
            Ok(Answer { outcome: Outcome::Answered { status, retry_after }, status: Some(status), text })
        }
        Err(error) if error.reason == Reason::BreakerOpen => Err(NotNow(error.retry_after.unwrap_or(REST))),
        Err(error) => Ok(Answer { outcome: Outcome::Unanswered, status: None, text: chain(&error) }),
    }
}

/// The beginning of an answer; all of it is read, so that the connection can be used again.
async fn excerpt(mut body: UpstreamBody) -> String {
    const MOST_READ: usize = 64 * 1024;
    let (mut kept, mut read) = (Vec::new(), 0);
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Some(data) = frame.data_ref() else { continue };
        read += data.len();
        let room = EXCERPT_BYTES.saturating_sub(kept.len()).min(data.len());
        kept.extend_from_slice(data.get(..room).unwrap_or_default());
        if read > MOST_READ {
            break;
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}
