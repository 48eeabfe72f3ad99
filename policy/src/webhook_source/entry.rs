//! One event inside a request, and how a request falls into them.

use http::HeaderMap;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::provider::Splitter;
use super::{ExtractionIr, Provider, bounds, generic, genesys, whatsapp};
use crate::exact::{Inexact, rewritten};
use crate::refusal::{Reason, Refusal};

/// Events that one request may hold: Meta sends up to 1,000 changes in one.
pub const MAX_ENTRIES: usize = 5_000;
/// Bytes of an id or a conversation; a longer one is replaced by its digest.
const MAX_NAME_BYTES: usize = 512;

/// What in an entry names its tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// U+FFFD stands in its request for an escape that names no character.
    pub mended: bool,
}

impl Entry {
    /// An event of which only the owner is known.
    pub(super) fn of(identifiers: EntryIdentifiers) -> Self {
        let (id, kind, conversation) = (String::new(), String::new(), String::new());
        let data = Value::Null;
        Self { identifiers, id, kind, conversation, time_ms: None, data, own: None, unknown: false, mended: false }
    }

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
/// [`Reason::PayloadInvalid`] when the body is neither JSON nor a form, or too deep, [`Reason::BodyTooLarge`] past
/// [`MAX_ENTRIES`] or with more objects and lists than a request has any use for.
pub fn split(
    provider: Provider,
    extraction: &ExtractionIr,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<Entry>, Refusal> {
    let splitter = provider.preset().map_or(Splitter::Extraction, |preset| preset.splitter);
    let is_form = splitter == Splitter::Extraction && generic::is_form(headers);
    let (value, mended) = if is_form { (generic::form(body)?, false) } else { json(body)? };
    let events = |value| match splitter {
        Splitter::WhatsApp => whatsapp::split(value),
        Splitter::Genesys => vec![genesys::entry(value)],
        Splitter::Extraction => generic::split(provider, extraction, headers, value, body),
    };
    let mut entries = events(value);

    // The tree has lost digits: two ids that differ only there are two events.
    if !is_form && let Some(exact) = exact(body) {
        identify(&mut entries, events(exact));
    }

    if entries.len() > MAX_ENTRIES {
        return Err(Refusal::new(Reason::BodyTooLarge, format!("the request holds more than {MAX_ENTRIES} events")));
    }
    entries.iter_mut().for_each(|entry| entry.mended = mended);
    Ok(entries)
}

/// The body as a tree, and whether it had to be mended: a text that was cut inside an emoji is no reason to refuse
/// all that came with it.
fn json(body: &[u8]) -> Result<(Value, bool), Refusal> {
    bounds::check(body)?;
    serde_json::from_slice(body).map(|value| (value, false)).or_else(|error| {
        let mended = bounds::mended(body).and_then(|mended| serde_json::from_slice(&mended).ok());
        let refusal = || Refusal::new(Reason::PayloadInvalid, format!("the body is not JSON: {}", place(&error)));
        mended.map(|value| (value, true)).ok_or_else(refusal)
    })
}

/// The body as a tree that has lost nothing, with texts in place of what JSON's tree cannot hold; `None` when it can
/// hold all.
fn exact(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(&rewritten(body, Inexact::All)?).ok()
}

/// Gives each event what names it in the exact tree. Its content stays as the first tree has it, in its own types.
fn identify(entries: &mut [Entry], exact: Vec<Entry>) {
    if entries.len() == exact.len() {
        for (entry, exact) in entries.iter_mut().zip(exact) {
            let Entry { identifiers, id, conversation, time_ms, .. } = exact;
            *entry = Entry {
                identifiers,
                id,
                conversation,
                time_ms,
                ..std::mem::replace(entry, Entry::of(EntryIdentifiers::default()))
            };
        }
    }
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

/// The text itself, or its digest when it is no name: too long, or with control characters.
pub(super) fn bounded(text: String) -> String {
    let is_name = text.len() <= MAX_NAME_BYTES && !text.contains(char::is_control);
    if is_name { text } else { fingerprint(text.as_bytes()) }
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

/// A type of a family: the provider's word for a kind that is known, or not documented at all. What only calls
/// itself by a documented word, and is of another shape, is `unknown`: whoever handles the word can rely on its
/// content.
pub(super) fn type_of(family: &str, kind: &str, known: bool, documented: &[&str]) -> String {
    let word = word(kind);
    let unknown = word.is_empty() || (!known && documented.contains(&word.as_str()));
    format!("{family}.{}", if unknown { "unknown" } else { word.as_str() })
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::Preset;
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
            for provider in Provider::ALL.iter().copied() {
                let extraction = provider.preset().map(Preset::extraction).unwrap_or_default();
                let entries = split(provider, &extraction, &HeaderMap::new(), body.as_bytes());
                for entry in entries.into_iter().flatten() {
                    prop_assert!(!entry.id.is_empty() && !entry.kind.is_empty(), "{entry:?}");
                }
            }
        }
    }

    #[test]
    fn ids_that_differ_in_any_digit_are_two_events() {
        let path = |name: &str| Some(super::super::ExtractIr::Path(vec![name.into()]));
        let extraction = ExtractionIr {
            each: Some(vec!["events".into()]),
            id: path("id"),
            conversation: path("c"),
            ..ExtractionIr::default()
        };
        let split = |body: &str| split(Provider::Generic, &extraction, &HeaderMap::new(), body.as_bytes()).unwrap();
        let entries = split(
            r#"{"events": [{"id": 12345678901234567890123, "c": 98765432109876543210987}, {"id": 18446744073709551615}]}"#,
        );
        assert_eq!(
            (entries[0].id.as_str(), entries[1].id.as_str()),
            ("12345678901234567890123", "18446744073709551615")
        );
        assert_eq!(entries[0].conversation, "98765432109876543210987");
        assert!(entries[0].data["id"].is_number(), "the content keeps its types");
        for [one, other] in [
            [r#"{"a": 0.12345678901234567891}"#, r#"{"a": 0.12345678901234567892}"#],
            [r#"{"id": "x\ud83d"}"#, r#"{"id": "x\ud83e"}"#],
        ] {
            let entries = split(&format!(r#"{{"events": [{one}, {other}]}}"#));
            assert_ne!(entries[0].id, entries[1].id, "{one}");
        }
    }

    #[test]
    fn identities_of_every_provider_keep_their_digits() {
        let number = |last: u8| format!("1234567890123456789012{last}");
        let whatsapp = |last| {
            format!(
                r#"{{"entry": [{{"id": {0}, "changes": [{{"field": "messages", "value": {{
                    "metadata": {{"phone_number_id": {0}}}, "statuses": [{{"id": {0}, "status": "sent"}}]}}}}]}}]}}"#,
                number(last)
            )
        };
        let genesys = |last| {
            format!(
                r#"{{"id": {0}, "channel": {{"id": {0}, "to": {{"id": {0}}}, "time": "x"}}, "type": "Text"}}"#,
                number(last)
            )
        };
        for (provider, body) in
            [(Provider::WhatsApp, &whatsapp as &dyn Fn(u8) -> String), (Provider::GenesysOpenMessaging, &genesys)]
        {
            let extraction = provider.preset().map(Preset::extraction).unwrap_or_default();
            let [one, other] = [1, 2]
                .map(|last| split(provider, &extraction, &HeaderMap::new(), body(last).as_bytes()).unwrap().remove(0));
            assert_ne!(one.id, other.id, "{provider:?}");
            assert_ne!(one.identifiers, other.identifiers, "{provider:?}");
            assert!(one.id.contains(&number(1)), "{}", one.id);
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_not_followed() {
        let body = "[".repeat(100_000);
        let refused = split(Provider::WhatsApp, &ExtractionIr::default(), &HeaderMap::new(), body.as_bytes());
        assert_eq!(refused.map_err(|refusal| refusal.reason), Err(Reason::PayloadInvalid));
    }

    #[test]
    fn a_request_with_too_many_events_is_refused_however_they_are_spread() {
        let refused = |body: Value| {
            let body = body.to_string();
            let entries = split(Provider::WhatsApp, &ExtractionIr::default(), &HeaderMap::new(), body.as_bytes());
            entries.map(|entries| entries.len()).map_err(|refusal| refusal.reason)
        };
        let change = |messages: usize| {
            let messages = vec![json!({"type": "text"}); messages];
            json!({"field": "messages", "value": {"messages": messages}})
        };
        let request = |changes: Vec<Value>| json!({"entry": [{"id": "1", "changes": changes}]});
        assert_eq!(refused(request(vec![change(MAX_ENTRIES)])), Ok(MAX_ENTRIES));
        assert_eq!(refused(request(vec![change(MAX_ENTRIES + 1)])), Err(Reason::BodyTooLarge));
        assert_eq!(refused(request(vec![change(1); MAX_ENTRIES])), Ok(MAX_ENTRIES));
        assert_eq!(refused(request(vec![change(1); MAX_ENTRIES + 2])), Err(Reason::BodyTooLarge));
        let list = |events: usize| {
            let extraction = Provider::Line.preset().map(Preset::extraction).unwrap_or_default();
            let body = json!({"events": vec![1; events]}).to_string();
            let entries = split(Provider::Line, &extraction, &HeaderMap::new(), body.as_bytes());
            entries.map(|entries| entries.len()).map_err(|refusal| refusal.reason)
        };
        assert_eq!(list(MAX_ENTRIES), Ok(MAX_ENTRIES));
        assert_eq!(list(MAX_ENTRIES + 1), Err(Reason::BodyTooLarge));
    }

    #[test]
    fn json_of_any_provider_is_bounded_and_mended_and_a_form_is_neither() {
        let form = HeaderMap::from_iter([(CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap())]);
        let deep = "[".repeat(101) + &"]".repeat(101);
        for provider in Provider::ALL.iter().copied() {
            let extraction = provider.preset().map(Preset::extraction).unwrap_or_default();
            let split = |headers: &HeaderMap, body: &str| split(provider, &extraction, headers, body.as_bytes());
            let refused = split(&HeaderMap::new(), &deep).map_err(|refusal| refusal.reason);
            assert_eq!(refused, Err(Reason::PayloadInvalid), "{provider:?}");
            let cut = split(&HeaderMap::new(), r#"{"text": "\ud83d"}"#).unwrap();
            assert!(cut.iter().all(|entry| entry.mended), "{provider:?}");
        }
        let entries = split(Provider::Twilio, &ExtractionIr::default(), &form, deep.as_bytes()).unwrap();
        assert_eq!((entries.len(), entries[0].mended), (1, false));
    }

    #[test]
    fn half_an_emoji_does_not_refuse_the_batch() {
        let split = |body: &[u8]| split(Provider::Generic, &ExtractionIr::default(), &HeaderMap::new(), body);
        let entries = split(br#"{"text": "cut \\ud83d", "whole": "\ud83d\ude00"}"#).unwrap();
        assert!(!entries[0].mended);
        let entries = split(br#"{"text": "cut \ud83d", "whole": "\ud83d\ude00"}"#).unwrap();
        assert_eq!((entries[0].data["text"].as_str(), entries[0].mended), (Some("cut \u{fffd}"), true));
        assert_eq!(entries[0].data["whole"], "\u{1f600}");
        assert!(split(br#"{"text": "\x"}"#).is_err());
    }

    #[test]
    fn an_id_that_is_no_name_is_replaced_by_its_digest() {
        assert_eq!(joined(&["wamid.1"]), "wamid.1");
        for id in ["a\nb", "a\u{0}", "\u{9b}1m", &"x".repeat(600)] {
            assert!(joined(&[id]).starts_with("sha256:"), "{id:?}");
        }
        assert_ne!(joined(&["a\nb"]), joined(&["a\tb"]));
    }
}
