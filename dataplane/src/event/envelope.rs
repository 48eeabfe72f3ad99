//! An event, and its CloudEvents 1.0 form.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use policy::names::{ObjectRef, TenantName};
use serde::Serialize;
use serde_json::value::RawValue;

/// What a webhook said, normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whose.
    pub tenant: TenantName,
    /// The WebhookSource that it came through.
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
}

/// An event with what the gateway knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    #[serde(skip_serializing_if = "is_false")]
    unknown: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sanitised: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    redelivered: bool,
    #[serde(skip_serializing_if = "is_false")]
    gap: bool,
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
            source: format!("/namespaces/{}/webhooksources/{}", event.source.namespace, event.source.name),
            r#type: &event.kind,
            subject: &event.conversation,
            time: event.time.to_string(),
            datacontenttype: "application/json",
            tenant: event.tenant.as_str(),
            partitionkey: &event.conversation,
            sequence: self.sequence.to_string(),
            previous: self.previous.map(|n| n.to_string()),
            traceparent: event.traceparent.as_deref(),
            unknown: event.unknown,
            sanitised: event.sanitised.as_deref(),
            redelivered: self.redelivered,
            gap: self.gap,
            degraded: self.degraded,
            data: serde_json::from_slice(&event.data)?,
            dataraw: event.dataraw.as_deref().and_then(|raw| std::str::from_utf8(raw).ok()),
        })
    }
}
