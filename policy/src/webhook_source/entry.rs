//! One event inside a request, and how a request falls into them.

use http::HeaderMap;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::provider::Provider;
use super::{ExtractionIr, generic, genesys, whatsapp};
use crate::refusal::{Reason, Refusal};

/// Events that one request may hold: Meta sends up to 1,000 changes in one.
pub const MAX_ENTRIES: usize = 5_000;
/// Bytes of an id, a type or a conversation; a longer one is replaced by its digest.
const MAX_NAME_BYTES: usize = 512;

/// What in an entry names its tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryIdentifiers {
    /// `metadata.phone_number_id` of WhatsApp.
    pub phone_number_id: Option<String>,
    /// `entry.id` of WhatsApp: the business account.
    pub business_account_id: Option<String>,
    /// `channel.id` of Genesys.
    pub integration_id: Option<String>,
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Whose it is.
    pub identifiers: EntryIdentifiers,
    /// Its id: the same for a repeat, another for any other event of the source.
    pub id: String,
    /// Its type: `whatsapp.message.text`.
    pub kind: String,
    /// The conversation that its order is kept in.
    pub conversation: String,
    /// When it happened, in milliseconds since the epoch, if it says so.
    pub time_ms: Option<i64>,
    /// The event itself, normalised.
    pub data: Value,
    /// The member of `data` that is the provider's own object; `None`: all of it is.
    pub own: Option<&'static str>,
    /// Of a kind that is not known: delivered as it came.
    pub unknown: bool,
}

impl Entry {
    /// The provider's own object, as it came.
    #[must_use]
    pub fn event(&self) -> &Value {
        self.own.and_then(|member| self.data.get(member)).unwrap_or(&self.data)
    }
}

/// Falls a verified request into its events, in their order. What is not understood is an event too, of an
/// unknown kind: nothing is dropped.
///
/// # Errors
/// [`Reason::PayloadInvalid`] when the body is not JSON, [`Reason::BodyTooLarge`] past [`MAX_ENTRIES`].
pub fn split(
    provider: Provider,
    extraction: &ExtractionIr,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<Entry>, Refusal> {
    // The parser stops at a depth of 128, so that no nesting can take the stack.
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| Refusal::new(Reason::PayloadInvalid, format!("the body is not JSON: {}", place(&error))))?;
    let entries = match provider {
        Provider::WhatsApp => whatsapp::split(value),
        Provider::GenesysOpenMessaging => vec![genesys::entry(value)],
        Provider::StandardWebhooks => {
            vec![generic::entry(provider, &generic::standard("webhook-id"), headers, value, body)]
        }
        Provider::Svix => vec![generic::entry(provider, &generic::standard("svix-id"), headers, value, body)],
        Provider::Generic => vec![generic::entry(provider, extraction, headers, value, body)],
    };
    if entries.len() > MAX_ENTRIES {
        return Err(Refusal::new(Reason::BodyTooLarge, format!("the request holds more than {MAX_ENTRIES} events")));
    }
    Ok(entries)
}

/// Where the parser stopped; never a piece of the body.
fn place(error: &serde_json::Error) -> String {
    format!("line {}, column {}", error.line(), error.column())
}

/// Joins parts so that no two lists of parts give one text: `%` and `#` in a part are escaped.
#[must_use]
pub fn joined(parts: &[&str]) -> String {
    let escaped: Vec<String> = parts.iter().map(|part| part.replace('%', "%25").replace('#', "%23")).collect();
    bounded(escaped.join("#"))
}

/// The text itself, or its digest when it is too long to be a name.
pub(super) fn bounded(text: String) -> String {
    if text.len() <= MAX_NAME_BYTES { text } else { fingerprint(text.as_bytes()) }
}

/// SHA-256 in hexadecimal, marked as such.
pub(super) fn fingerprint(bytes: &[u8]) -> String {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The digest of a JSON value: stands in for an id that is not there.
pub(super) fn fingerprint_of(value: &Value) -> String {
    fingerprint(value.to_string().as_bytes())
}

/// A text or number inside a value, as text.
pub(super) fn text(value: &Value, path: &[&str]) -> Option<String> {
    let mut at = value;
    for name in path {
        at = at.get(name)?;
    }
    match at {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A word that may stand in a type: letters, digits and `_`; anything else becomes `_`.
pub(super) fn word(text: &str) -> String {
    let tame = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
    text.chars().take(64).map(tame).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn joining_is_injective(
            one in prop::collection::vec("[a%#2-5]{0,4}", 1..4), other in prop::collection::vec("[a%#2-5]{0,4}", 1..4),
        ) {
            let join = |parts: &Vec<String>| joined(&parts.iter().map(String::as_str).collect::<Vec<_>>());
            prop_assert_eq!(one == other, join(&one) == join(&other));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_json_becomes_events_with_ids(body in "[\\[\\]{}:,\"a-z0-9 ]{0,40}", known in 0_usize..6) {
            let shapes = [
                r#"{"entry": [{"id": 1, "changes": [{"field": "messages", "value": @}]}]}"#,
                r#"{"entry": [{"changes": @}]}"#,
                r#"{"entry": @}"#,
                r#"{"channel": @, "type": "Text"}"#,
                r#"{"type": @}"#,
                "@",
            ];
            let body = shapes[known].replace('@', &body);
            for provider in Provider::ALL {
                let entries = split(provider, &ExtractionIr::default(), &HeaderMap::new(), body.as_bytes());
                for entry in entries.into_iter().flatten() {
                    prop_assert!(!entry.id.is_empty() && !entry.kind.is_empty(), "{entry:?}");
                }
            }
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        let body = "[".repeat(100_000);
        let refused = split(Provider::WhatsApp, &ExtractionIr::default(), &HeaderMap::new(), body.as_bytes());
        assert_eq!(refused.map_err(|refusal| refusal.reason), Err(Reason::PayloadInvalid));
    }
}
