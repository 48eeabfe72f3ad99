//! Events for the tests of this folder.

use std::time::Duration;

use policy::names::{Kind, ObjectRef, TenantName};

use super::spool::Numbered;
use super::{Entry, Envelope, Event, NewEvent};

/// A text message of so many bytes, of a conversation of a tenant.
pub(super) fn event(tenant: &str, conversation: &str, id: &str, bytes: usize) -> NewEvent {
    let event = Event {
        tenant: TenantName::parse(tenant).unwrap(),
        source: ObjectRef::new(Kind::WebhookSource, "acme", "whatsapp"),
        id: id.into(),
        kind: "whatsapp.message.text".into(),
        conversation: conversation.into(),
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
        data: format!("\"{}\"", "x".repeat(bytes)).into(),
        dataraw: None,
        traceparent: None,
        unknown: false,
        sanitised: None,
        request_id: Some(format!("request-of-{id}").into()),
    };
    NewEvent { event, dedupe_window: Duration::from_secs(7 * 86_400), pending_bytes: 64 << 20, dead_when_full: None }
}

/// One of acme's, to be delivered.
pub(super) fn deliver(conversation: &str, id: &str) -> Entry {
    Entry::Deliver(event("acme", conversation, id, 100))
}

/// The event of acme's conversation `a` that has this number, and follows the one before.
pub(super) fn envelope(sequence: i64) -> Envelope {
    Envelope {
        event: event("acme", "a", &sequence.to_string(), 2).event,
        sequence,
        previous: Some(sequence - 1),
        redelivered: false,
        gap: false,
        late: false,
        degraded: false,
    }
}

/// The same, for a shard to keep.
pub(super) fn numbered(sequence: i64) -> Numbered {
    let Envelope { event, sequence, previous, degraded, .. } = envelope(sequence);
    let new = NewEvent { event, dedupe_window: Duration::from_secs(60), pending_bytes: 1 << 20, dead_when_full: None };
    Numbered { new, sequence, previous, degraded }
}
