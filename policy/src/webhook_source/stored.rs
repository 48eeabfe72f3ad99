//! What a stored event still tells of the entry that it was: needed to decide anew where it goes.

use serde_json::Value;

use super::entry::{Entry, EntryIdentifiers, text};

/// Members of WhatsApp's events that hold the provider's own object, by the beginning of the type.
const WHATSAPP: [(&str, &str); 4] =
    [("whatsapp.message.", "message"), ("whatsapp.status.", "status"), ("whatsapp.error", "error"), ("", "value")];

/// Makes an entry of a stored event: of its id, its type, its conversation and its data. Its identifiers are those that
/// the data names, which sanitising may have cut.
#[must_use]
pub fn stored(id: &str, kind: &str, conversation: &str, data: Value) -> Entry {
    let (identifiers, own) = match kind.split('.').next() {
        Some("whatsapp") => whatsapp(kind, conversation, &data),
        Some("genesys") => {
            let integration_id = text(&data, &["integrationId"]);
            let own = data.get("notification").map(|_| "notification");
            (EntryIdentifiers { integration_id, ..EntryIdentifiers::default() }, own)
        }
        Some(_) | None => (EntryIdentifiers::default(), None),
    };
    let (id, kind, conversation) = (id.to_owned(), kind.to_owned(), conversation.to_owned());
    Entry { id, kind, conversation, data, own, ..Entry::of(identifiers) }
}

fn whatsapp(kind: &str, conversation: &str, data: &Value) -> (EntryIdentifiers, Option<&'static str>) {
    let member = WHATSAPP.iter().find(|(begins, _)| kind.starts_with(begins)).map(|(_, member)| *member);
    // What was passed on whole is the provider's object itself, and has no such member beside the number.
    let normalised = data.get("phoneNumberId").or_else(|| data.get("businessAccountId")).or_else(|| data.get("field"));
    let own = member.filter(|member| normalised.is_some() && data.get(*member).is_some());
    let identifiers = match own {
        Some(_) => EntryIdentifiers {
            phone_number_id: text(data, &["phoneNumberId"]),
            business_account_id: text(data, &["businessAccountId"]),
            integration_id: None,
        },
        None => {
            let phone_number_id = text(data, &["metadata", "phone_number_id"]);
            // The conversation of such an event is its number, else its account.
            let account = conversation.replace("%23", "#").replace("%25", "%");
            let account = Some(account).filter(|account| phone_number_id.is_none() && !account.is_empty());
            EntryIdentifiers { phone_number_id, business_account_id: account, integration_id: None }
        }
    };
    (identifiers, own)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::super::{ExtractionIr, Provider, split};
    use super::*;

    /// Every entry of a request, made anew of what is stored of it, is the entry that it was.
    fn same(provider: Provider, body: &Value) {
        let entries = split(provider, &ExtractionIr::default(), &HeaderMap::new(), body.to_string().as_bytes());
        for entry in entries.unwrap() {
            let again = stored(&entry.id, &entry.kind, &entry.conversation, entry.data.clone());
            assert_eq!((&again.identifiers, again.own), (&entry.identifiers, entry.own), "{entry:?}");
            assert_eq!(again.event(), entry.event());
        }
    }

    #[test]
    fn stored_event_names_the_identifiers_and_the_object_of_its_entry() {
        let changes = json!([
            {"field": "messages", "value": {"metadata": {"phone_number_id": "1"}, "errors": [{"code": 1}],
                "messages": [{"from": "49", "id": "wamid.1", "type": "text", "text": {"body": "hi"}}],
                "statuses": [{"id": "wamid.0", "status": "read", "recipient_id": "49"}]}},
            {"field": "account_update", "value": {"event": "x"}},
            {"field": "message_echoes", "value": {"metadata": {"phone_number_id": "1"}, "message": 1}},
        ]);
        same(Provider::WhatsApp, &json!({"entry": [{"id": "a#%", "changes": changes}]}));
        same(Provider::WhatsApp, &json!({"entry": [{"id": "a#%", "changes": [{"value": {"message": 1}}]}]}));
        same(Provider::WhatsApp, &json!({"other": 1}));
        same(Provider::GenesysOpenMessaging, &json!({"id": "c3", "type": "Text", "channel": {"id": "int-1"}}));
        same(Provider::Generic, &json!({"message": 1}));
    }
}
