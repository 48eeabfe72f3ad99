//! WhatsApp Cloud API: entries x changes x (messages, statuses, errors), each an event.
//!
//! The conversation is phone number id + user id, else wa id: since 2026 `wa_id` and `from` may be missing
//! for people with user names. In a group it is phone number id + group id. Message ids repeat when Meta sends
//! again, and so do status ids.
//!
//! `content` of an event is ours and keeps its shape; `message`, `status`, `error`, `value` are Meta's own.

mod contacts;
mod content;
mod context;
mod failure;
mod person;
mod status;

use serde_json::{Value, json};

use super::entry::{Entry, EntryIdentifiers, MAX_ENTRIES, fingerprint_of, joined, text, type_of};
use super::shape::{Undocumented, taken, without_nulls};
use contacts::Contacts;
use person::Person;

/// Fields that Meta documents besides `messages`; their values are passed on as they came.
pub(super) const FIELDS: [&str; 33] = [
    "account_alerts",
    "account_review_update",
    "account_settings_update",
    "account_update",
    "automatic_events",
    "business_capability_update",
    "business_status_update",
    "business_username_updates",
    "calls",
    "consumer_profile",
    "flows",
    "group_lifecycle_update",
    "group_participants_update",
    "group_settings_update",
    "group_status_update",
    "history",
    "message_echoes",
    "message_template_components_update",
    "message_template_quality_update",
    "message_template_status_update",
    "messaging_handovers",
    "partner_solutions",
    "payment_configuration_update",
    "phone_number_name_update",
    "phone_number_quality_update",
    "security",
    "smb_app_state_sync",
    "smb_message_echoes",
    "standby",
    "template_category_update",
    "template_correct_category_detection",
    "user_id_update",
    "user_preferences",
];

/// Splits one notification; past [`MAX_ENTRIES`] it need not go on.
pub(super) fn split(body: Value) -> Vec<Entry> {
    let mut entries = Vec::new();
    let list = body.get("entry").and_then(Value::as_array);
    for entry in list.into_iter().flatten() {
        for change in entry.get("changes").and_then(Value::as_array).into_iter().flatten() {
            if entries.len() > MAX_ENTRIES {
                return entries;
            }
            split_change(entry, change, &mut entries);
        }
    }
    // A notification that is none of this is kept whole.
    if entries.is_empty() {
        entries.push(whole(EntryIdentifiers::default(), None, "whatsapp.unknown".to_owned(), true, body));
    }
    entries
}

fn split_change(entry: &Value, change: &Value, entries: &mut Vec<Entry>) {
    let identifiers = |value: &Value| EntryIdentifiers {
        phone_number_id: text(value, &["metadata", "phone_number_id"]),
        business_account_id: text(entry, &["id"]),
        integration_id: None,
    };
    let sent = text(entry, &["time"]);
    let (Some(value), Some(field)) = (change.get("value"), text(change, &["field"])) else {
        let value = change.get("value");
        let identifiers = identifiers(value.unwrap_or(&Value::Null));
        let data = value.unwrap_or(change).clone();
        entries.push(whole(identifiers, sent.as_deref(), "whatsapp.unknown".to_owned(), true, data));
        return;
    };
    let change = Change { identifiers: identifiers(value), sent, value, contacts: Contacts::of(value) };
    let before = entries.len();
    if field == "messages" {
        let parts = |name: &str| value.get(name).and_then(Value::as_array).into_iter().flatten().take(MAX_ENTRIES + 1);
        entries.extend(parts("messages").map(|message| change.message(message)));
        entries.extend(parts("statuses").map(|status| change.status(status)));
        entries.extend(parts("errors").map(|error| change.error(error)));
    }
    if entries.len() == before {
        entries.push(change.passed(&field));
    }
}

/// Something that is passed on as it came. Its order is kept per number, or per account. It has no id of its own, and
/// the same value may come again as news (a quality that falls, rises and falls): what Meta sent it for, and when, is
/// in the digest that stands in.
fn whole(identifiers: EntryIdentifiers, sent: Option<&str>, kind: String, unknown: bool, data: Value) -> Entry {
    let EntryIdentifiers { phone_number_id, business_account_id, .. } = &identifiers;
    let place = phone_number_id.as_deref().or(business_account_id.as_deref());
    let conversation = joined(&[place.unwrap_or_default()]);
    let id = fingerprint_of(&json!([business_account_id, sent, kind, data]));
    Entry { id, kind, conversation, time_ms: sent.and_then(millis), unknown, data, ..Entry::of(identifiers) }
}

/// Meta tells times in seconds.
fn millis(secs: &str) -> Option<i64> {
    secs.parse::<i64>().ok()?.checked_mul(1000)
}

fn time_ms(part: &Value) -> Option<i64> {
    millis(&text(part, &["timestamp"])?)
}

/// One change: what its events share.
struct Change<'v> {
    identifiers: EntryIdentifiers,
    /// `entry.time`: when Meta sent it.
    sent: Option<String>,
    value: &'v Value,
    contacts: Contacts<'v>,
}

impl Change<'_> {
    /// The number that it concerns.
    fn phone(&self) -> &str {
        self.identifiers.phone_number_id.as_deref().unwrap_or_default()
    }

    /// An event's data: the number, then its own parts; what is null is left out.
    fn data(&self, own: Value, (name, theirs): (&str, &Value)) -> Value {
        let mut data = without_nulls(json!({
            "phoneNumberId": self.identifiers.phone_number_id,
            "displayPhoneNumber": text(self.value, &["metadata", "display_phone_number"]),
            "businessAccountId": self.identifiers.business_account_id,
        }));
        if let (Some(data), Value::Object(own)) = (data.as_object_mut(), without_nulls(own)) {
            data.extend(own);
            data.insert(name.to_owned(), theirs.clone());
        }
        data
    }

    fn message(&self, message: &Value) -> Entry {
        let from = Person::sender(self, message);
        let group = text(message, &["group_id"]);
        let kind = text(message, &["type"]).unwrap_or_else(|| "unknown".to_owned());
        let parts = || {
            let (context, referral) = (context::context(message)?, context::referral(message)?);
            Ok::<_, Undocumented>((content::content(&kind, message)?, context, referral))
        };
        let parts = parts();
        let known = parts.is_ok();
        let (content, context, referral) = parts.unwrap_or_default();
        let own = json!({
            "groupId": group, "from": from.written(), "content": content, "context": context, "referral": referral,
        });
        Entry {
            id: text(message, &["id"]).map_or_else(|| fingerprint_of(message), |id| joined(&[&id])),
            kind: type_of("whatsapp.message", &kind, known, &content::KINDS),
            conversation: joined(&[self.phone(), group.as_deref().unwrap_or_else(|| from.key())]),
            time_ms: time_ms(message),
            unknown: !known,
            data: self.data(own, ("message", message)),
            own: Some("message"),
            ..Entry::of(self.identifiers.clone())
        }
    }

    /// One message has several statuses, and each comes once or more: the status is a part of the id. In a group
    /// each participant has them.
    fn status(&self, status: &Value) -> Entry {
        let group = text(status, &["recipient_type"]).filter(|to| to == "group");
        let group = group.and_then(|_| text(status, &["recipient_id"]));
        let to = if group.is_some() { Person::participant(self, status) } else { Person::recipient(self, status) };
        let state = text(status, &["status"]).unwrap_or_else(|| "unknown".to_owned());
        let content = status::content(status).ok();
        let known = status::STATUSES.contains(&state.as_str()) && content.is_some();
        let own = json!({"groupId": group, "to": to.written(), "content": content});
        Entry {
            id: match text(status, &["id"]) {
                Some(id) if group.is_some() && !to.key().is_empty() => joined(&[&id, &state, to.key()]),
                Some(id) => joined(&[&id, &state]),
                None => fingerprint_of(status),
            },
            kind: type_of("whatsapp.status", &state, known, &status::STATUSES),
            conversation: joined(&[self.phone(), group.as_deref().unwrap_or_else(|| to.key())]),
            time_ms: time_ms(status),
            unknown: !known,
            data: self.data(own, ("status", status)),
            own: Some("status"),
            ..Entry::of(self.identifiers.clone())
        }
    }

    fn error(&self, error: &Value) -> Entry {
        let content = taken::<failure::Failure>(error).ok();
        Entry {
            id: fingerprint_of(&json!([self.phone(), self.sent, error])),
            kind: if content.is_some() { "whatsapp.error" } else { "whatsapp.error.unknown" }.to_owned(),
            conversation: joined(&[self.phone()]),
            time_ms: self.sent.as_deref().and_then(millis),
            unknown: content.is_none(),
            data: self.data(json!({"content": content}), ("error", error)),
            own: Some("error"),
            ..Entry::of(self.identifiers.clone())
        }
    }

    /// A field that is passed on as it came.
    fn passed(&self, field: &str) -> Entry {
        let known = FIELDS.contains(&field);
        let kind = type_of("whatsapp", field, known, &FIELDS);
        let entry = whole(self.identifiers.clone(), self.sent.as_deref(), kind, !known, self.value.clone());
        Entry { data: self.data(json!({"field": field}), ("value", self.value)), own: Some("value"), ..entry }
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
    fn the_same_value_at_another_time_or_place_is_news_and_a_repeat_is_not() {
        let change = |account: &str, time: u64, field: &str, phone: &str| {
            let value = json!({"metadata": {"phone_number_id": phone}, "errors": [{"code": 131000}]});
            let body = json!({"entry": [{"id": account, "time": time, "changes": [{"field": field, "value": value}]}]});
            let entries = split(body);
            assert_eq!(
                entries.iter().map(|entry| entry.time_ms).collect::<Vec<_>>(),
                [i64::try_from(time * 1000).ok()]
            );
            entries.into_iter().map(|entry| entry.id).collect::<Vec<_>>()
        };
        for field in ["messages", "phone_number_quality_update"] {
            let first = change("1", 1_749_416_383, field, "7");
            assert_eq!(first, change("1", 1_749_416_383, field, "7"), "{field}");
            assert_ne!(first, change("1", 1_749_416_384, field, "7"), "{field}");
            assert_ne!(first, change("1", 1_749_416_383, field, "8"), "{field}");
        }
        let of = |account, field| change(account, 1_749_416_383, field, "7");
        assert_ne!(of("1", "phone_number_quality_update"), of("2", "phone_number_quality_update"));
        assert_ne!(of("1", "phone_number_quality_update"), of("1", "account_update"));
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
