//! The only place that makes a response of our own.
//!
//! Every "no" is an RFC 9457 problem document with a stable `reason`; its status, reason and title come from
//! [`policy::refusal::Reason`], so that callers, logs and graphs share one vocabulary.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};
use policy::fallback::FallbackIr;
use policy::refusal::{Extra, Refusal};
use policy::schema::Violation;
use serde::Serialize;

use crate::pipeline::Ended;
use crate::upstream::{ExchangeError, UpstreamBody};

/// Where the problem types are explained; `reason` follows.
const PROBLEM_TYPE: &str = "https://postern.dev/problems/";

/// The problem document (RFC 9457) with the members that every refusal has.
#[derive(Serialize)]
struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// The stable word.
    reason: &'a str,
    /// Names this occurrence; the same id is in the log.
    instance: String,
    /// Where a body does not fit its schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    violations: Option<&'a [Violation]>,
}

/// A refusal as a response.
#[must_use]
pub fn refusal(refusal: &Refusal, request_id: &str) -> Response<Body> {
    let reason = refusal.reason;
    let problem = Problem {
        r#type: format!("{PROBLEM_TYPE}{}", reason.word()),
        title: reason.title(),
        status: refusal.status().as_u16(),
        detail: &refusal.detail,
        reason: reason.word(),
        instance: format!("urn:postern:request:{request_id}"),
        violations: refusal.extras.iter().find_map(|extra| match extra {
            Extra::Violations(violations) => Some(violations.as_slice()),
            Extra::RetryAfter(_) | Extra::Challenge(_) | Extra::Allow(_) | Extra::Status(_) => None,
        }),
    };
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = full(refusal.status(), "application/problem+json", body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for extra in &refusal.extras {
        let (name, value) = match extra {
            Extra::RetryAfter(pause) => (RETRY_AFTER, HeaderValue::from(seconds_up(*pause))),
            Extra::Challenge(text) => match HeaderValue::from_str(text) {
                Ok(value) => (WWW_AUTHENTICATE, value),
                Err(_) => continue,
            },
            Extra::Allow(methods) => match HeaderValue::from_str(methods) {
                Ok(value) => (ALLOW, value),
                Err(_) => continue,
            },
            Extra::Violations(_) | Extra::Status(_) => continue,
        };
        headers.append(name, value);
    }
    response
}

/// Whole seconds, rounded up: a caller that waits as long as it was told must not come too early.
fn seconds_up(pause: std::time::Duration) -> u64 {
    pause.as_secs() + u64::from(pause.subsec_nanos() > 0)
}

/// The route's own answer in place of the gateway's 502, 503 or 504.
#[must_use]
pub fn fallback(fallback: &FallbackIr) -> Response<Body> {
    let FallbackIr { status, content_type, body } = fallback;
    let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    full(status, content_type, body.as_bytes().to_vec())
}

/// A response with a body of ours.
#[must_use]
pub fn full(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::new(Content::Full(Some(body.into()))));
    *response.status_mut() = status;
    if let Ok(value) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// A response without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::new(Content::Full(None)));
    *response.status_mut() = status;
    response
}

/// What is in a body.
#[derive(Debug)]
enum Content {
    Full(Option<Bytes>),
    Upstream(UpstreamBody),
}

/// The body of an answer. When it is dropped, sent or not, the request has ended: it is counted and logged.
#[derive(Debug)]
pub struct Body {
    content: Content,
    sent: u64,
    ended: Option<Box<Ended>>,
}

impl Body {
    fn new(content: Content) -> Self {
        Self { content, sent: 0, ended: None }
    }

    /// An upstream's body, passed through.
    #[must_use]
    pub fn upstream(body: UpstreamBody) -> Self {
        Self::new(Content::Upstream(body))
    }

    /// Ties the end of the request to the end of this body.
    #[must_use]
    pub(crate) fn then(mut self, ended: Box<Ended>) -> Self {
        self.ended = Some(ended);
        self
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(ended) = self.ended.take() {
            let complete = http_body::Body::is_end_stream(self);
            ended.log(self.sent, complete);
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = ExchangeError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ExchangeError>>> {
        let frame = match &mut self.content {
            Content::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Upstream(body) => Pin::new(body).poll_frame(cx),
        };
        match &frame {
            Poll::Ready(Some(Ok(frame))) => self.sent += frame.data_ref().map_or(0, |data| data.len() as u64),
            // The head has left: the log and the metrics are the only ones who can still learn the reason.
            Poll::Ready(Some(Err(error))) => {
                if let Some(ended) = &mut self.ended {
                    ended.cut(error);
                }
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Full(bytes) => bytes.is_none(),
            Content::Upstream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Content::Upstream(body) => body.size_hint(),
        }
    }
}
