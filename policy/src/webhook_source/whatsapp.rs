//! WhatsApp Cloud API: entries x changes x (messages, statuses, errors), each an event.
//!
//! The conversation is phone number id + user id, else wa id: since 2026 `wa_id` and `from` may be missing
//! for people with user names. Message ids repeat when Meta sends again, and so do status ids.

use serde_json::{Value, json};

use super::entry::{Entry, EntryIdentifiers, bounded, fingerprint_of, joined, text, word};

/// Splits one notification.
pub(super) fn split(body: Value) -> Vec<Entry> {
    let mut entries = Vec::new();
    let list = body.get("entry").and_then(Value::as_array);
    for entry in list.into_iter().flatten() {
        let account = text(entry, &["id"]);
        for change in entry.get("changes").and_then(Value::as_array).into_iter().flatten() {
            split_change(account.as_deref(), change, &mut entries);
        }
    }
    // A notification that is none of this is kept whole.
    if entries.is_empty() {
        let identifiers = EntryIdentifiers::default();
        entries.push(unknown("whatsapp.unknown", identifiers, body));
    }
    entries
}

fn split_change(account: Option<&str>, change: &Value, entries: &mut Vec<Entry>) {
    let Some(value) = change.get("value") else {
        entries.push(unknown("whatsapp.unknown", identifiers(account, &Value::Null), change.clone()));
        return;
    };
    let identifiers = identifiers(account, value);
    let field = text(change, &["field"]).unwrap_or_default();
    let before = entries.len();
    if field == "messages" {
        let parts = |name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
        entries.extend(parts("messages").into_iter().map(|message| of_message(&identifiers, value, message)));
        entries.extend(parts("statuses").into_iter().map(|status| of_status(&identifiers, status)));
        entries.extend(parts("errors").into_iter().map(|error| of_error(&identifiers, error)));
    }
    if entries.len() == before {
        let kind = format!("whatsapp.{}", if field.is_empty() { "unknown".to_owned() } else { word(&field) });
        entries.push(Entry { unknown: field.is_empty(), ..unknown(&kind, identifiers, value.clone()) });
    }
}

fn identifiers(account: Option<&str>, value: &Value) -> EntryIdentifiers {
    EntryIdentifiers {
        phone_number_id: text(value, &["metadata", "phone_number_id"]),
        business_account_id: account.map(str::to_owned),
        integration_id: None,
    }
}

/// Something that is passed on as it came. Its order is kept per number, or per account.
fn unknown(kind: &str, identifiers: EntryIdentifiers, data: Value) -> Entry {
    let place = identifiers.phone_number_id.as_deref().or(identifiers.business_account_id.as_deref());
    let conversation = joined(&[place.unwrap_or_default()]);
    let (id, kind) = (fingerprint_of(&data), kind.to_owned());
    Entry { identifiers, id, kind, conversation, time_ms: None, data, own: None, unknown: true }
}

/// Kinds of messages that are documented; another is delivered all the same, marked as unknown.
const MESSAGE_KINDS: [&str; 16] = [
    "text",
    "image",
    "video",
    "audio",
    "document",
    "sticker",
    "location",
    "contacts",
    "interactive",
    "button",
    "reaction",
    "order",
    "system",
    "unsupported",
    "edit",
    "revoke",
];

fn time_ms(value: &Value) -> Option<i64> {
    text(value, &["timestamp"])?.parse::<i64>().ok()?.checked_mul(1000)
}

/// The contact of a message: the one with its wa id or user id; a lone contact is the sender's.
fn contact_of<'v>(value: &'v Value, message: &Value) -> Option<&'v Value> {
    let contacts = value.get("contacts")?.as_array()?;
    let (from, user) = (text(message, &["from"]), text(message, &["from_user_id"]));
    let is = |contact: &&Value| {
        (from.is_some() && text(contact, &["wa_id"]) == from) || (user.is_some() && text(contact, &["user_id"]) == user)
    };
    contacts.iter().find(is).or(match contacts.as_slice() {
        [only] => Some(only),
        _ => None,
    })
}

fn of_message(identifiers: &EntryIdentifiers, value: &Value, message: Value) -> Entry {
    let contact = contact_of(value, &message).cloned().unwrap_or_default();
    let user_id = text(&message, &["from_user_id"]).or_else(|| text(&contact, &["user_id"]));
    let wa_id = text(&message, &["from"]).or_else(|| text(&contact, &["wa_id"]));
    let who = user_id.as_deref().or(wa_id.as_deref()).unwrap_or_default();
    let kind = text(&message, &["type"]).unwrap_or_else(|| "unknown".to_owned());
    let phone = identifiers.phone_number_id.clone().unwrap_or_default();
    Entry {
        id: text(&message, &["id"]).map_or_else(|| fingerprint_of(&message), |id| joined(&[&id])),
        kind: format!("whatsapp.message.{}", word(&kind)),
        conversation: joined(&[&phone, who]),
        time_ms: time_ms(&message),
        own: Some("message"),
        unknown: !MESSAGE_KINDS.contains(&kind.as_str()),
        data: json!({
            "phoneNumberId": identifiers.phone_number_id,
            "businessAccountId": identifiers.business_account_id,
            "from": {"userId": user_id, "waId": wa_id, "name": text(&contact, &["profile", "name"])},
            "message": message,
        }),
        identifiers: identifiers.clone(),
    }
}

/// One message has several statuses, and each comes once or more: the status is a part of the id.
fn of_status(identifiers: &EntryIdentifiers, status: Value) -> Entry {
    let user_id = text(&status, &["recipient_user_id"]);
    let wa_id = text(&status, &["recipient_id"]);
    let who = user_id.as_deref().or(wa_id.as_deref()).unwrap_or_default();
    let state = text(&status, &["status"]).unwrap_or_else(|| "unknown".to_owned());
    let phone = identifiers.phone_number_id.clone().unwrap_or_default();
    let known = ["sent", "delivered", "read", "played", "failed"].contains(&state.as_str());
    Entry {
        id: text(&status, &["id"]).map_or_else(|| fingerprint_of(&status), |id| joined(&[&id, &state])),
        kind: format!("whatsapp.status.{}", word(&state)),
        conversation: joined(&[&phone, who]),
        time_ms: time_ms(&status),
        own: Some("status"),
        unknown: !known,
        data: json!({
            "phoneNumberId": identifiers.phone_number_id,
            "businessAccountId": identifiers.business_account_id,
            "to": {"userId": user_id, "waId": wa_id},
            "status": status,
        }),
        identifiers: identifiers.clone(),
    }
}

fn of_error(identifiers: &EntryIdentifiers, error: Value) -> Entry {
    let phone = identifiers.phone_number_id.clone().unwrap_or_default();
    Entry {
        id: bounded(fingerprint_of(&error)),
        kind: "whatsapp.error".to_owned(),
        conversation: joined(&[&phone]),
        time_ms: None,
        own: Some("error"),
        unknown: false,
        data: json!({
            "phoneNumberId": identifiers.phone_number_id,
            "businessAccountId": identifiers.business_account_id,
            "error": error,
        }),
        identifiers: identifiers.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(value: Value) -> Value {
        json!({"object": "whatsapp_business_account",
            "entry": [{"id": "102290129340398", "changes": [{"field": "messages", "value": value}]}]})
    }

    #[test]
    fn a_batch_becomes_its_events_in_order() {
        let entries = split(notification(json!({
            "metadata": {"phone_number_id": "106540352242922"},
            "contacts": [{"profile": {"name": "Sheena"}, "wa_id": "16505551234"}],
            "messages": [
                {"from": "16505551234", "id": "wamid.1", "timestamp": "1749416383", "type": "text", "text": {"body": "Hi"}},
                {"from": "16505551234", "id": "wamid.2", "timestamp": "1749416383", "type": "hologram"}],
            "statuses": [{"id": "wamid.0", "status": "read", "timestamp": "1749416384", "recipient_id": "16505551234"}],
            "errors": [{"code": 131000}],
        })));
        let told: Vec<_> =
            entries.iter().map(|e| (e.id.as_str(), e.kind.as_str(), e.conversation.as_str(), e.unknown)).collect();
        let conversation = "106540352242922#16505551234";
        assert_eq!(
            told[..3],
            [
                ("wamid.1", "whatsapp.message.text", conversation, false),
                ("wamid.2", "whatsapp.message.hologram", conversation, true),
                ("wamid.0#read", "whatsapp.status.read", conversation, false),
            ]
        );
        assert_eq!(told[3].1, "whatsapp.error");
        assert_eq!(entries[0].time_ms, Some(1_749_416_383_000));
        assert_eq!(entries[0].data["from"]["name"], "Sheena");
    }

    #[test]
    fn a_person_without_a_number_is_known_by_user_id() {
        let entries = split(notification(json!({
            "metadata": {"phone_number_id": "1"},
            "contacts": [{"profile": {"name": "S"}, "user_id": "US.13491208655302741918"}],
            "messages": [{"id": "wamid.1", "timestamp": "1749416383", "type": "text", "text": {"body": "Hi"}}],
            "statuses": [{"id": "wamid.2", "status": "sent", "recipient_user_id": "US.13491208655302741918"}],
        })));
        assert!(entries.iter().all(|entry| entry.conversation == "1#US.13491208655302741918"), "{entries:?}");
    }

    #[test]
    fn what_is_not_a_message_is_named_and_what_is_nothing_is_kept() {
        let template = json!({"entry": [{"id": "7", "changes": [{"field": "message_template_status_update", "value": {"a": 1}}]}]});
        let entries = split(template);
        assert_eq!((entries[0].kind.as_str(), entries[0].unknown), ("whatsapp.message_template_status_update", false));
        for body in [json!({}), json!([]), json!(3), json!({"entry": []}), json!({"entry": [{"id": "1"}]})] {
            let entries = split(body.clone());
            assert_eq!((entries.len(), &entries[0].data, entries[0].unknown), (1, &body, true));
        }
    }
}
