//! Genesys Cloud Open Messaging: one notification, one event.
//!
//! The conversation is integration + recipient: `conversationId` is absent in some notifications. Genesys
//! documents id and time together as unique.

use serde_json::{Value, json};

use super::entry::{Entry, EntryIdentifiers, fingerprint_of, joined, text, word};

/// One notification as an event.
pub(super) fn entry(body: Value) -> Entry {
    let integration = text(&body, &["channel", "id"]);
    let recipient = text(&body, &["channel", "to", "id"]).unwrap_or_default();
    let time = text(&body, &["channel", "time"]);
    let (kind, known) = kind(&body);
    let id = match (text(&body, &["id"]), &time) {
        (Some(id), Some(time)) => joined(&[&id, time]),
        (Some(id), None) => joined(&[&id, &fingerprint_of(&body)]),
        (None, _) => fingerprint_of(&body),
    };
    Entry {
        id,
        kind,
        conversation: joined(&[integration.as_deref().unwrap_or_default(), &recipient]),
        time_ms: time.and_then(|time| time.parse::<jiff::Timestamp>().ok()).map(jiff::Timestamp::as_millisecond),
        own: Some("notification"),
        unknown: !known,
        data: json!({"integrationId": integration, "to": {"id": recipient}, "notification": body}),
        identifiers: EntryIdentifiers { integration_id: integration, ..EntryIdentifiers::default() },
    }
}

fn kind(body: &Value) -> (String, bool) {
    let event = || body.get("events").and_then(|events| events.get(0)).and_then(|event| text(event, &["eventType"]));
    match text(body, &["type"]).as_deref() {
        Some("Text") => ("genesys.message.text".to_owned(), true),
        Some("Structured") => ("genesys.message.structured".to_owned(), true),
        Some("Event") => (format!("genesys.event.{}", word(&event().unwrap_or_else(|| "unknown".to_owned()))), true),
        Some("Receipt") => {
            let status = text(body, &["status"]).unwrap_or_else(|| "unknown".to_owned());
            (format!("genesys.receipt.{}", word(&status)), true)
        }
        Some(other) => (format!("genesys.{}", word(other)), false),
        None => ("genesys.unknown".to_owned(), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_integration_recipient_and_time() {
        let entry = entry(json!({"id": "c3", "type": "Text", "text": "Hello", "direction": "Outbound",
            "channel": {"id": "int-1", "to": {"id": "abc@social"}, "time": "2021-02-01T15:04:05.123Z"}}));
        assert_eq!(entry.id, "c3#2021-02-01T15:04:05.123Z");
        assert_eq!(entry.kind, "genesys.message.text");
        assert_eq!(entry.conversation, "int-1#abc@social");
        assert_eq!(entry.time_ms, Some(1_612_191_845_123));
        assert_eq!(entry.identifiers.integration_id.as_deref(), Some("int-1"));
    }

    #[test]
    fn receipts_events_and_the_unknown_have_types_of_their_own() {
        let kind = |body: Value| entry(body).kind;
        assert_eq!(kind(json!({"type": "Receipt", "status": "Delivered"})), "genesys.receipt.delivered");
        assert_eq!(kind(json!({"type": "Event", "events": [{"eventType": "Typing"}]})), "genesys.event.typing");
        assert_eq!(kind(json!({"type": "Hologram"})), "genesys.hologram");
        assert_eq!(kind(json!([1])), "genesys.unknown");
    }
}
