//! A request that the upstream did not answer, kept as a dead letter of its tenant.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderName, IF_MATCH, IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use policy::error::chain;
use policy::on_failure::OnFailureIr;
use policy::refusal::Reason;
use policy::request::Caller;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Core;
use crate::event::claim::digest;
use crate::event::{Entry, Event, NewEvent};
use crate::http::memory::Charge;
use crate::http::{Copied, Ids, NotCopied, Passing, RequestBody as Incoming, copied};
use crate::runtime::{Guard, OnFailure, Rule, TenantRuntime};
use crate::upstream::{ForwardError, Forwarded, RequestBody};

/// What the answer says of what was kept.
pub(super) const DEAD_LETTER: HeaderName = HeaderName::from_static("postern-dead-letter");

/// The CloudEvents `type` of a request that failed.
const KIND: &str = "postern.request.failed";

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const MAX_KEY_BYTES: usize = 255;

/// How long the answer to a failed request waits for what of its body is still to come.
const REST_PATIENCE: Duration = Duration::from_secs(5);

/// For how long the repeat of an `Idempotency-Key` adds nothing.
const DEDUPE_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Ids are remembered to the end of an hour: never longer than what has them is kept.
const HOUR: Duration = Duration::from_secs(3600);

/// JSON that nests deeper than this is kept as bytes, so that whoever reads the event can parse it.
const MAX_JSON_DEPTH: usize = 64;

/// Fields that are kept. A list of what is safe: a key may travel under any name.
const KEPT_FIELDS: [HeaderName; 11] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_TYPE,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_UNMODIFIED_SINCE,
    HeaderName::from_static("prefer"),
    USER_AGENT,
];

/// Why a block in mode `Audit` would have kept this request.
pub(super) fn would_keep(rule: &Rule, method: &Method, forwarded: &Result<Forwarded, ForwardError>) -> Option<Reason> {
    let audits = rule.on_failure.as_ref().is_some_and(Guard::audits) && OnFailureIr::concerns(method);
    Failure::of(forwarded).filter(|_| audits).map(|failure| failure.reason)
}

/// The block that keeps this request, should it fail.
pub(super) fn concerns<'r>(rule: &'r Rule, method: &Method) -> Option<&'r OnFailure> {
    let guard = rule.on_failure.as_ref().filter(|guard| OnFailureIr::concerns(method) && !guard.audits());
    guard.map(|guard| &*guard.decider)
}

/// The body of a request that may have to be kept.
pub(super) enum Kept {
    Whole(Bytes),
    Copied(Copied),
}

impl Kept {
    /// The body that goes on, and what is kept of it.
    pub(super) fn of(body: RequestBody<Incoming>, most: u64) -> (RequestBody<Passing>, Self) {
        match body {
            RequestBody::Whole(bytes) => (RequestBody::Whole(bytes.clone()), Self::Whole(bytes)),
            RequestBody::Streaming(body) => {
                let payer = body.payer();
                let (passing, copied) = copied(body, most, payer);
                (RequestBody::Streaming(passing), Self::Copied(copied))
            }
        }
    }

    async fn whole(self, most: u64) -> Result<(Bytes, Option<Charge>), NotCopied> {
        match self {
            Self::Whole(bytes) if bytes.len() as u64 > most => Err(NotCopied::TooLarge),
            Self::Whole(bytes) => Ok((bytes, None)),
            Self::Copied(copied) => {
                let whole = tokio::time::timeout(REST_PATIENCE, copied.whole()).await;
                whole.unwrap_or(Err(NotCopied::Incomplete))
            }
        }
    }
}

/// How forwarding ended.
pub(super) struct Failure {
    reason: Reason,
    attempts: u32,
    status: Option<StatusCode>,
}

impl Failure {
    /// What counts as one: the upstream has no answer, or one that says so.
    pub(super) fn of(forwarded: &Result<Forwarded, ForwardError>) -> Option<Self> {
        match forwarded {
            Ok(Forwarded { response, attempts, .. }) => {
                let status = Some(response.status()).filter(|status| matches!(status.as_u16(), 502..=504))?;
                Some(Self { reason: Reason::UpstreamFailed, attempts: *attempts, status: Some(status) })
            }
            Err(error) => super::api::stands_in(error.reason).then_some(Self {
                reason: error.reason,
                attempts: error.attempts,
                status: None,
            }),
        }
    }
}

/// The head of a request that failed.
pub(super) struct Head<'a> {
    pub(super) rule: &'a Rule,
    pub(super) method: &'a Method,
    pub(super) host: &'a str,
    pub(super) target: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) caller: Option<&'a Caller>,
    pub(super) ids: &'a Ids,
}

/// Keeps a request that failed; what its answer says of that.
pub(super) async fn keep(
    core: &Core,
    tenant: &TenantRuntime,
    on_failure: &OnFailure,
    (head, body): (Head<'_>, Kept),
    failure: Failure,
) -> HeaderValue {
    let (body, _charge) = match body.whole(on_failure.max_body_size).await {
        Ok(whole) => whole,
        Err(NotCopied::TooLarge) => return HeaderValue::from_static("too_large"),
        Err(NotCopied::Incomplete | NotCopied::NoRoom) => return HeaderValue::from_static("not_kept"),
    };
    let Ok(data) = serde_json::to_vec(&data(&head, &body, &failure)) else {
        return HeaderValue::from_static("not_kept");
    };
    let now = jiff::Timestamp::from_second(core.clock.now_secs()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let event = Event {
        tenant: tenant.name.clone(),
        source: on_failure.route.clone(),
        id: id(&head),
        kind: KIND.into(),
        conversation: "".into(),
        time: now,
        data: data.into(),
        dataraw: None,
        traceparent: head.ids.traceparent.as_deref().map(Into::into),
        unknown: false,
        sanitised: None,
        request_id: Some((&*head.ids.request).into()),
    };
    let entry = Entry::Dead {
        new: NewEvent {
            event,
            dedupe_window: DEDUPE_WINDOW.min(on_failure.retention.saturating_sub(HOUR)),
            pending_bytes: tenant.base.ceilings.pending_bytes,
            dead_when_full: None,
        },
        reason: failure.reason.word().into(),
        origin: None,
        retention: on_failure.retention,
        violations: None,
    };
    match core.events.accept(vec![entry]).await {
        Ok(_) => HeaderValue::from_static("kept"),
        Err(error) => {
            let (tenant, request_id) = (tenant.name.as_str(), &*head.ids.request);
            tracing::warn!(tenant, request_id, error = chain(&error), "a failed request could not be kept");
            HeaderValue::from_static("not_kept")
        }
    }
}

/// The caller's own key, else the request's id; each with a digest of what it is unique within, so that no caller
/// can take another's place.
fn id(head: &Head<'_>) -> Arc<str> {
    let key = head.headers.get(IDEMPOTENCY_KEY).and_then(|key| key.to_str().ok());
    let key = key.filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
    // A trusted hop may send one request id with several requests.
    let unique = head.ids.own.simple().to_string();
    let (key, own) = key.map_or((&*head.ids.request, unique.as_str()), |key| (key, ""));
    let (method, caller) = head.caller.map_or(("", ""), |caller| (&*caller.method, &*caller.id));
    let scope = [method, caller, head.method.as_str(), head.host, head.target, own].map(str::as_bytes);
    format!("{key}#{}", Uuid::from_bytes(digest(scope)).simple()).into()
}

/// `data` of the event.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    rule: &'a str,
    method: &'a str,
    host: &'a str,
    target: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<CallerData<'a>>,
    headers: BTreeMap<&'a str, Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    reason: &'static str,
    attempts: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

#[derive(Serialize)]
struct CallerData<'a> {
    method: &'a str,
    id: &'a str,
}

fn data<'a>(head: &Head<'a>, body: &'a Bytes, failure: &Failure) -> Data<'a> {
    let json = json(body);
    let base64 = (json.is_none() && !body.is_empty()).then(|| STANDARD.encode(body));
    Data {
        rule: &head.rule.name,
        method: head.method.as_str(),
        host: head.host,
        target: head.target,
        request_id: &head.ids.request,
        caller: head.caller.map(|caller| CallerData { method: &caller.method, id: &caller.id }),
        headers: kept_fields(head.headers),
        body: json,
        body_base64: base64,
        reason: failure.reason.word(),
        attempts: failure.attempts,
        status: failure.status.map(|status| status.as_u16()),
    }
}

fn kept_fields(headers: &HeaderMap) -> BTreeMap<&str, Cow<'_, str>> {
    let mut kept: BTreeMap<&str, Cow<'_, str>> = BTreeMap::new();
    for (name, value) in headers.iter().filter(|(name, _)| KEPT_FIELDS.contains(name)) {
        let value = String::from_utf8_lossy(value.as_bytes());
        match kept.get_mut(name.as_str()) {
            Some(before) => *before = format!("{before}, {value}").into(),
            None => drop(kept.insert(name.as_str(), value)),
        }
    }
    kept
}

/// The body as it is, if it is JSON that every reader takes.
fn json(body: &[u8]) -> Option<&RawValue> {
    let value = serde_json::from_slice::<Value>(body).ok()?;
    if depth(&value) > MAX_JSON_DEPTH { None } else { serde_json::from_slice(body).ok() }
}

/// The parser nests no deeper than 128.
fn depth(value: &Value) -> usize {
    let below = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(members) => members.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    1 + below.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_that_are_safe_are_kept() {
        let mut headers = HeaderMap::new();
        let sent = ["authorization", "cookie", "x-api-key", "x-anything", "content-type", "accept", "idempotency-key"];
        for name in sent {
            headers.append(name, HeaderValue::from_static("canary"));
        }
        headers.append("accept", HeaderValue::from_static("b"));
        let kept = kept_fields(&headers);
        let kept: Vec<(&str, &str)> = kept.iter().map(|(name, value)| (*name, &**value)).collect();
        assert_eq!(kept, [("accept", "canary, b"), ("content-type", "canary"), ("idempotency-key", "canary")]);
    }

    #[test]
    fn json_is_kept_as_it_is_and_what_readers_stumble_over_is_not_json() {
        assert_eq!(json(b" {\"a\": 1.50}\n").unwrap().get(), "{\"a\": 1.50}");
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        assert!(json(deep(MAX_JSON_DEPTH).as_bytes()).is_some());
        for text in ["", "{", "\"\\ud83d\"", &deep(MAX_JSON_DEPTH + 1), &deep(100_000), "\u{feff}{}"] {
            assert!(json(text.as_bytes()).is_none(), "{}", text.len());
        }
        assert!(json(b"\"\xff\"").is_none());
    }
}
