//! Senders without a normaliser of their own: id, type and conversation are extracted, the body is the event, or
//! each element of a list in it.

use std::sync::Arc;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::entry::{Entry, EntryIdentifiers, MAX_ENTRIES, bounded, fingerprint, fingerprint_of, joined};
use super::{EventTimeIr, ExtractIr, ExtractionIr, Provider};
use crate::refusal::{Reason, Refusal};

/// Fields of a form: what Twilio sends has a few dozen.
pub(super) const MAX_FORM_FIELDS: usize = 1_000;

/// Whether the body is a form.
pub(super) fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// A form as an object; a field that is there more than once is a list.
///
/// # Errors
/// [`Reason::PayloadInvalid`] past [`MAX_FORM_FIELDS`].
pub(super) fn form(body: &[u8]) -> Result<Value, Refusal> {
    let mut object = Map::new();
    for (index, (name, value)) in form_urlencoded::parse(body).enumerate() {
        if index == MAX_FORM_FIELDS {
            let detail = format!("the form has more than {MAX_FORM_FIELDS} fields");
            return Err(Refusal::new(Reason::PayloadInvalid, detail));
        }
        let value = Value::String(value.into_owned());
        match object.get_mut(&*name) {
            None => drop(object.insert(name.into_owned(), value)),
            Some(Value::Array(list)) => list.push(value),
            Some(first) => *first = Value::Array(vec![first.take(), value]),
        }
    }
    Ok(Value::Object(object))
}

/// The body as one event, or the elements of its list as one each: an empty list holds none. Without a
/// conversation all events of the source keep one order. Past [`MAX_ENTRIES`] it need not go on.
pub(super) fn split(
    provider: Provider,
    extraction: &ExtractionIr,
    headers: &HeaderMap,
    mut value: Value,
    body: &[u8],
) -> Vec<Entry> {
    let each = extraction.each.as_deref().and_then(|each| at_mut(each, &mut value));
    match each.and_then(Value::as_array_mut).map(std::mem::take) {
        Some(events) => {
            let events = events.into_iter().take(MAX_ENTRIES + 1);
            events.map(|event| entry(provider, extraction, headers, event, None)).collect()
        }
        None => vec![entry(provider, extraction, headers, value, Some(body))],
    }
}

/// One event; `body` holds its bytes where it came alone.
fn entry(
    provider: Provider,
    extraction: &ExtractionIr,
    headers: &HeaderMap,
    value: Value,
    body: Option<&[u8]>,
) -> Entry {
    let find = |wanted: &Option<ExtractIr>| wanted.as_ref().and_then(|wanted| extract(wanted, headers, &value));
    let kind = find(&extraction.kind).map(|kind| tame(&kind));
    let digest = || body.map_or_else(|| fingerprint_of(&value), fingerprint);
    Entry {
        id: find(&extraction.id).map_or_else(digest, bounded),
        kind: format!("{}.{}", provider.word(), kind.as_deref().unwrap_or("event")),
        conversation: find(&extraction.conversation).map(bounded).unwrap_or_default(),
        time_ms: extraction
            .time
            .as_ref()
            .and_then(|EventTimeIr { at, format }| extract(at, headers, &value).and_then(|text| format.millis(&text))),
        data: value,
        ..Entry::of(EntryIdentifiers::default())
    }
}

/// The text that is wanted, if it is there and not empty.
pub(super) fn extract(wanted: &ExtractIr, headers: &HeaderMap, value: &Value) -> Option<String> {
    match wanted {
        ExtractIr::Header(name) => headers.get(&**name)?.to_str().ok().map(str::to_owned),
        ExtractIr::Path(path) => super::entry::text(at(path, value)?, &[]),
        ExtractIr::First(ways) => ways.iter().find_map(|way| extract(way, headers, value)),
        ExtractIr::Joined(ways) => {
            let texts: Vec<_> = ways.iter().map(|way| extract(way, headers, value)).collect();
            let there = texts.iter().any(Option::is_some);
            let texts: Vec<&str> = texts.iter().map(|text| text.as_deref().unwrap_or_default()).collect();
            there.then(|| joined(&texts))
        }
    }
    .filter(|text| !text.is_empty())
}

/// What stands at a path.
fn at<'v>(path: &[Arc<str>], value: &'v Value) -> Option<&'v Value> {
    path.iter().try_fold(value, |at, step| match at.as_array() {
        Some(list) => list.get(step.parse::<usize>().ok()?),
        None => at.get(&**step),
    })
}

fn at_mut<'v>(path: &[Arc<str>], value: &'v mut Value) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |at, step| at.get_mut(&**step))
}

/// A type keeps its dots: `invoice.paid`.
fn tame(kind: &str) -> String {
    let tame = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    kind.chars().take(128).map(tame).collect()
}

#[cfg(test)]
mod tests {
    use super::super::TimeFormat;
    use super::*;

    #[test]
    fn what_is_extracted_names_the_event() {
        let extraction = ExtractionIr {
            each: None,
            id: Some(ExtractIr::Header("x-billing-id".into())),
            kind: Some(ExtractIr::Path(vec!["type".into()])),
            conversation: Some(ExtractIr::Path(vec!["customers".into(), "0".into(), "id".into()])),
            time: Some(EventTimeIr { at: ExtractIr::Path(vec!["at".into()]), format: TimeFormat::UnixSeconds }),
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-billing-id", "evt-1".parse().unwrap());
        let value: Value =
            serde_json::from_str(r#"{"type": "invoice.paid\n", "customers": [{"id": 7}], "at": 7}"#).unwrap();
        let entry = entry(Provider::Generic, &extraction, &headers, value.clone(), Some(b"{}"));
        assert_eq!(
            (entry.id.as_str(), entry.kind.as_str(), entry.conversation.as_str()),
            ("evt-1", "generic.invoice.paid_", "7")
        );
        assert_eq!(entry.time_ms, Some(7000));
        let bare = super::entry(Provider::Generic, &ExtractionIr::default(), &headers, value, Some(b"{}"));
        assert!(bare.id.starts_with("sha256:44136fa3"));
        assert_eq!((bare.kind.as_str(), bare.conversation.as_str()), ("generic.event", ""));
    }

    #[test]
    fn the_first_that_is_there_counts_and_joined_parts_keep_their_places() {
        let value: Value = serde_json::from_str(r#"{"a": "", "b": 2, "c": {"d": "x#y"}}"#).unwrap();
        let path = |path: &str| ExtractIr::Path(path.split('.').map(Arc::from).collect());
        let find = |wanted: &ExtractIr| extract(wanted, &HeaderMap::new(), &value);
        assert_eq!(find(&ExtractIr::First(vec![path("a"), path("c"), path("b")])).as_deref(), Some("2"));
        assert_eq!(find(&ExtractIr::Joined(vec![path("z"), path("b"), path("c.d")])).as_deref(), Some("#2#x%23y"));
        assert_eq!(find(&ExtractIr::Joined(vec![path("z"), path("a")])), None);
    }

    #[test]
    fn a_list_is_its_elements_and_an_empty_one_is_nothing() {
        let extraction = ExtractionIr {
            each: Some(vec!["events".into()]),
            id: Some(ExtractIr::Path(vec!["id".into()])),
            ..ExtractionIr::default()
        };
        let split = |body: &str| {
            let value = serde_json::from_str(body).unwrap();
            let entries = super::split(Provider::Line, &extraction, &HeaderMap::new(), value, body.as_bytes());
            entries.into_iter().map(|entry| (entry.id, entry.data.to_string())).collect::<Vec<_>>()
        };
        let told = split(r#"{"events": [{"id": "a"}, {"id": "b"}, {}]}"#);
        assert_eq!(told[0], ("a".to_owned(), r#"{"id":"a"}"#.to_owned()));
        assert_eq!((told.len(), told[1].0.as_str()), (3, "b"));
        assert!(told[2].0.starts_with("sha256:44136fa3"));
        assert_eq!(split(r#"{"events": []}"#), []);
        assert_eq!(split(r#"{"id": "whole"}"#), [("whole".to_owned(), r#"{"id":"whole"}"#.to_owned())]);
    }

    #[test]
    fn a_form_is_an_object() {
        assert_eq!(form(b"a=1&b=%26&a=2&a=3&c").unwrap().to_string(), r#"{"a":["1","2","3"],"b":"&","c":""}"#);
        assert!(form("a&".repeat(MAX_FORM_FIELDS).as_bytes()).is_ok());
        assert!(form("a&".repeat(MAX_FORM_FIELDS + 1).as_bytes()).is_err());
        let is = |kind: &str| is_form(&HeaderMap::from_iter([(CONTENT_TYPE, kind.parse().unwrap())]));
        assert!(is("application/x-www-form-urlencoded; charset=UTF-8") && is("Application/X-WWW-Form-Urlencoded"));
        assert!(!is("application/json") && !is("text/plain; a=application/x-www-form-urlencoded"));
    }
}
