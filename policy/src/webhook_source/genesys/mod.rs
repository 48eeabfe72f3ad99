//! Genesys Cloud Open Messaging: one notification, one event.
//!
//! The conversation is integration + recipient: `conversationId` is absent in some notifications. Genesys
//! documents id and time together as unique.
//!
//! `content` of an event is ours and keeps its shape; `notification` is Genesys' own.

mod content;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::entry::{Entry, EntryIdentifiers, fingerprint_of, joined, text, type_of, word};
use super::shape::{Text, taken, without_nulls};

/// Somebody, as Genesys tells them.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Person {
    id: Option<Text>,
    id_type: Option<String>,
    #[serde(alias = "nickName")]
    nickname: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
}

/// What is understood of a notification.
struct Told {
    kind: String,
    content: Option<Value>,
    unknown: bool,
}

/// One notification as an event.
pub(super) fn entry(body: Value) -> Entry {
    let integration = text(&body, &["channel", "id"]);
    let recipient = text(&body, &["channel", "to", "id"]).unwrap_or_default();
    let time = text(&body, &["channel", "time"]);
    let Told { kind, content, unknown } = told(&body);
    let id = match (text(&body, &["id"]), &time) {
        (Some(id), Some(time)) => joined(&[&id, time]),
        (Some(id), None) => joined(&[&id, &fingerprint_of(&body)]),
        (None, _) => fingerprint_of(&body),
    };
    let person = |role: &str| taken::<Person>(body.pointer(&format!("/channel/{role}"))?).ok();
    let mut data = without_nulls(json!({
        "integrationId": integration,
        "conversationId": text(&body, &["conversationId"]),
        "messageId": text(&body, &["id"]),
        "direction": text(&body, &["direction"]),
        "originatingEntity": text(&body, &["originatingEntity"]),
        "to": person("to"),
        "from": person("from"),
        "content": content,
    }));
    let conversation = joined(&[integration.as_deref().unwrap_or_default(), &recipient]);
    if let Some(data) = data.as_object_mut() {
        data.insert("notification".to_owned(), body);
    }
    let identifiers = EntryIdentifiers { integration_id: integration, ..EntryIdentifiers::default() };
    Entry {
        id,
        kind,
        conversation,
        time_ms: time.and_then(|time| time.parse::<jiff::Timestamp>().ok()).map(jiff::Timestamp::as_millisecond),
        unknown,
        data,
        own: Some("notification"),
        ..Entry::of(identifiers)
    }
}

fn told(body: &Value) -> Told {
    match text(body, &["type"]).as_deref() {
        Some("Text") => message("text", body),
        Some("Structured") => message("structured", body),
        Some("Event") => event(body),
        Some("Receipt") => receipt(body),
        Some(other) => Told { kind: format!("genesys.{}", word(other)), content: None, unknown: true },
        None => Told { kind: "genesys.unknown".to_owned(), content: None, unknown: true },
    }
}

/// A message of another shape than documented is `unknown`; one with an item that is not understood keeps its
/// type, and the flag says so.
fn message(kind: &str, body: &Value) -> Told {
    match content::message(body) {
        Ok(found) => {
            Told { kind: format!("genesys.message.{kind}"), content: Some(found.content), unknown: !found.whole }
        }
        Err(_) => Told { kind: "genesys.message.unknown".to_owned(), content: None, unknown: true },
    }
}

/// Events are named for the first of them.
fn event(body: &Value) -> Told {
    let first = body.pointer("/events/0").and_then(|event| text(event, &["eventType"])).unwrap_or_default();
    let Ok(content::Content { content, whole }) = content::events(body) else {
        return Told { kind: "genesys.event.unknown".to_owned(), content: None, unknown: true };
    };
    let known = content.pointer("/events/0/kind").is_some_and(|kind| kind != "unknown");
    Told { kind: type_of("genesys.event", &first, known, &content::EVENTS), content: Some(content), unknown: !whole }
}

fn receipt(body: &Value) -> Told {
    let status = text(body, &["status"]).unwrap_or_default();
    let content = content::receipt(body).ok();
    let known = content.is_some() && content::RECEIPTS.contains(&word(&status).as_str());
    Told { kind: type_of("genesys.receipt", &status, known, &content::RECEIPTS), content, unknown: !known }
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
