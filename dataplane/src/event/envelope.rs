//! An event, and its CloudEvents 1.0 form.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use policy::names::{Kind, ObjectRef, TenantName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a webhook said, normalised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Whose.
    pub tenant: TenantName,
    /// The WebhookSource that it came through; the Route, for a request that failed.
    pub source: ObjectRef,
    /// Unique within tenant and source; a provider that repeats itself repeats it.
    pub id: Arc<str>,
    /// The CloudEvents `type`.
    pub kind: Arc<str>,
    /// What order is kept within.
    pub conversation: Arc<str>,
    /// When it happened.
    pub time: Timestamp,
    /// The normalised message: JSON text.
    pub data: Bytes,
    /// The provider's own text, when the source asks for it: JSON text.
    pub dataraw: Option<Bytes>,
    /// W3C trace context.
    pub traceparent: Option<Arc<str>>,
    /// Of a kind that the normaliser does not know, or not in this shape.
    pub unknown: bool,
    /// Where `data` was sanitised: JSON Pointers as URI fragments, separated by spaces.
    pub sanitised: Option<Arc<str>>,
    /// `x-request-id` of the request that brought it; events of an earlier version have none.
    #[serde(default)]
    pub request_id: Option<Arc<str>>,
}

/// An event with what the gateway knows of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The event.
    pub event: Event,
    /// Its number in its conversation.
    pub sequence: i64,
    /// The number that it follows.
    pub previous: Option<i64>,
    /// It was attempted before, or replayed.
    pub redelivered: bool,
    /// The event that it follows is not known to be delivered or dead.
    pub gap: bool,
    /// A later event of its conversation was attempted before.
    pub late: bool,
    /// It was numbered without the shared claim; order is that of its queue.
    pub degraded: bool,
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    r#type: &'a str,
    // CloudEvents knows no empty attribute.
    #[serde(skip_serializing_if = "str::is_empty")]
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    tenant: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    partitionkey: &'a str,
    // A string: a number in microseconds does not fit a CloudEvents Integer (32 bits).
    sequence: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requestid: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    unknown: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sanitised: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    redelivered: bool,
    #[serde(skip_serializing_if = "is_false")]
    gap: bool,
    #[serde(skip_serializing_if = "is_false")]
    late: bool,
    #[serde(skip_serializing_if = "is_false")]
    degraded: bool,
    data: &'a RawValue,
    // Extension attributes are scalars: the provider's JSON travels as a string.
    #[serde(skip_serializing_if = "Option::is_none")]
    dataraw: Option<&'a str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Envelope {
    /// The structured JSON form.
    ///
    /// # Errors
    /// When `data` is not JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let event = &self.event;
        serde_json::to_vec(&CloudEvent {
            specversion: "1.0",
            id: &event.id,
            source: format!("/namespaces/{}/{}/{}", event.source.namespace, plural(&event.source), event.source.name),
            r#type: &event.kind,
            subject: &event.conversation,
            time: event.time.to_string(),
            datacontenttype: "application/json",
            tenant: event.tenant.as_str(),
            partitionkey: &event.conversation,
            sequence: self.sequence.to_string(),
            previous: self.previous.map(|n| n.to_string()),
            traceparent: event.traceparent.as_deref(),
            requestid: event.request_id.as_deref(),
            unknown: event.unknown,
            sanitised: event.sanitised.as_deref(),
            redelivered: self.redelivered,
            gap: self.gap,
            late: self.late,
            degraded: self.degraded,
            data: serde_json::from_slice(&event.data)?,
            dataraw: event.dataraw.as_deref().and_then(|raw| std::str::from_utf8(raw).ok()),
        })
    }
}

/// What [`CloudEvent`] wrote, read back.
#[derive(Deserialize)]
struct Written<'a> {
    id: String,
    source: String,
    r#type: String,
    // CloudEvents has no empty subject: without one the conversation is the whole source.
    #[serde(default)]
    subject: String,
    time: Timestamp,
    tenant: TenantName,
    sequence: String,
    #[serde(default)]
    previous: Option<String>,
    #[serde(default)]
    traceparent: Option<String>,
    #[serde(default)]
    requestid: Option<String>,
    #[serde(default)]
    unknown: bool,
    #[serde(default)]
    sanitised: Option<String>,
    #[serde(default)]
    redelivered: bool,
    #[serde(default)]
    gap: bool,
    #[serde(default)]
    late: bool,
    #[serde(default)]
    degraded: bool,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(default)]
    dataraw: Option<String>,
}

/// Why bytes are no event of ours.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// They are not the JSON of an event.
    #[error("it is not the JSON of an event")]
    Json(#[from] serde_json::Error),
    /// An attribute is not what it should be.
    #[error("its attribute {0} is not what it should be")]
    Attribute(&'static str),
}

impl Envelope {
    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// [`EnvelopeError`]
    pub fn from_json(json: &[u8]) -> Result<Self, EnvelopeError> {
        let written: Written<'_> = serde_json::from_slice(json)?;
        let number = |text: &str, name| text.parse::<i64>().map_err(|_| EnvelopeError::Attribute(name));
        Ok(Self {
            sequence: number(&written.sequence, "sequence")?,
            previous: written.previous.map(|text| number(&text, "previous")).transpose()?,
            redelivered: written.redelivered,
            gap: written.gap,
            late: written.late,
            degraded: written.degraded,
            event: Event {
                tenant: written.tenant,
                source: source(&written.source).ok_or(EnvelopeError::Attribute("source"))?,
                id: written.id.into(),
                kind: written.r#type.into(),
                conversation: written.subject.into(),
                time: written.time,
                data: Bytes::copy_from_slice(written.data.get().as_bytes()),
                dataraw: written.dataraw.map(Bytes::from),
                traceparent: written.traceparent.map(Arc::from),
                unknown: written.unknown,
                sanitised: written.sanitised.map(Arc::from),
                request_id: written.requestid.map(Arc::from),
            },
        })
    }
}

const SOURCES: &str = "webhooksources";
const ROUTES: &str = "routes";

fn plural(source: &ObjectRef) -> &'static str {
    if source.kind == Kind::Route { ROUTES } else { SOURCES }
}

/// `/namespaces/{namespace}/webhooksources/{name}`, or `routes`.
fn source(text: &str) -> Option<ObjectRef> {
    let (namespace, rest) = text.strip_prefix("/namespaces/")?.split_once('/')?;
    let (kind, name) = match rest.split_once('/')? {
        (SOURCES, name) => (Kind::WebhookSource, name),
        (ROUTES, name) => (Kind::Route, name),
        _ => return None,
    };
    Some(ObjectRef::new(kind, namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let event = Event {
            tenant: TenantName::parse("acme").unwrap(),
            source: ObjectRef::new(Kind::WebhookSource, "acme", "whatsapp"),
            id: "wamid.\"1".into(),
            kind: "whatsapp.message.text".into(),
            conversation: "1#\u{e4}".into(),
            time: "2026-01-01T00:00:00.25Z".parse().unwrap(),
            data: Bytes::from_static(br#"{"a": [1, "\u00e4"]}"#),
            dataraw: Some(Bytes::from_static(b"{}")),
            traceparent: Some("00-1-2-01".into()),
            unknown: true,
            sanitised: Some("#/a".into()),
            request_id: Some("r-1".into()),
        };
        let (previous, redelivered, gap, late, degraded) = (Some(i64::MAX - 1), true, false, true, false);
        let mut envelope = Envelope { event, sequence: i64::MAX, previous, redelivered, gap, late, degraded };
        assert_eq!(Envelope::from_json(&envelope.to_json().unwrap()).unwrap(), envelope);
        envelope.event.source = ObjectRef::new(Kind::Route, "acme", "whatsapp");
        assert_eq!(Envelope::from_json(&envelope.to_json().unwrap()).unwrap(), envelope);
        assert!(Envelope::from_json(b"{}").is_err());
    }
}
