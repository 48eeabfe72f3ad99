//! Whom an event is about: since 2026 a person may have a user id, a wa id, or both.

use serde_json::{Value, json};

use super::Change;
use crate::webhook_source::entry::text;

/// Somebody, by all that is told of them.
pub(super) struct Person {
    user_id: Option<String>,
    parent_user_id: Option<String>,
    wa_id: Option<String>,
    name: Option<String>,
    username: Option<String>,
}

impl Person {
    /// Who sent a message. The contact's ids count too; somebody whose ids have just changed is known by the old one.
    pub(super) fn sender(change: &Change<'_>, message: &Value) -> Self {
        let find = |name: &str| text(message, &[name]);
        let (user_id, wa_id) = (find("from_user_id"), find("from"));
        let contact = change.contacts.find(wa_id.as_deref(), user_id.as_deref()).or_else(|| change.contacts.lone());
        let of_contact = |name: &str| text(contact?, &[name]);
        let user_id = user_id.or_else(|| of_contact("user_id"));
        let wa_id = wa_id.or_else(|| of_contact("wa_id"));
        let previous = || text(message, &["system", "previous_user_id"]).filter(|_| wa_id.is_none());
        Self::told(user_id.or_else(previous), find("from_parent_user_id"), wa_id, contact)
    }

    /// Whom a message was sent to.
    pub(super) fn recipient(change: &Change<'_>, status: &Value) -> Self {
        let find = |name: &str| text(status, &[name]);
        let (user_id, wa_id) = (find("recipient_user_id"), find("recipient_id"));
        let contact = change.contacts.find(wa_id.as_deref(), user_id.as_deref()).or_else(|| change.contacts.lone());
        Self::told(user_id, find("recipient_parent_user_id"), wa_id, contact)
    }

    /// Who of a group got a message. Its contacts are several people's, even when one is told.
    pub(super) fn participant(change: &Change<'_>, status: &Value) -> Self {
        let find = |name: &str| text(status, &[&format!("recipient_participant_{name}")]);
        let (user_id, wa_id) = (find("user_id"), find("id"));
        let contact = change.contacts.find(wa_id.as_deref(), user_id.as_deref());
        Self::told(user_id, find("parent_user_id"), wa_id, contact)
    }

    /// The ids, with what the contact says besides.
    fn told(
        user_id: Option<String>,
        parent_user_id: Option<String>,
        wa_id: Option<String>,
        contact: Option<&Value>,
    ) -> Self {
        let find = |path: &[&str]| text(contact?, path);
        Self {
            user_id,
            parent_user_id: parent_user_id.or_else(|| find(&["parent_user_id"])),
            wa_id,
            name: find(&["profile", "name"]),
            username: find(&["profile", "username"]),
        }
    }

    /// What the order of their conversation goes by: the user id, else the wa id, else nothing.
    pub(super) fn key(&self) -> &str {
        self.user_id.as_deref().or(self.wa_id.as_deref()).unwrap_or_default()
    }

    pub(super) fn written(&self) -> Value {
        let Self { user_id, parent_user_id, wa_id, name, username } = self;
        json!({
            "userId": user_id, "parentUserId": parent_user_id, "waId": wa_id, "name": name, "username": username,
        })
    }
}
