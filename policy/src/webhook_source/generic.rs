//! Senders without a normaliser of their own: id, type and conversation are extracted, the body is the event.

use http::HeaderMap;
use serde_json::Value;

use super::entry::{Entry, EntryIdentifiers, bounded, fingerprint};
use super::provider::Provider;
use super::{ExtractIr, ExtractionIr};

/// What Standard Webhooks and its kin say: the id in a header field, the type in the body.
pub(super) fn standard(id_header: &str) -> ExtractionIr {
    ExtractionIr {
        id: Some(ExtractIr::Header(id_header.into())),
        kind: Some(ExtractIr::Path(vec!["type".into()])),
        conversation: None,
    }
}

/// The body as one event. Without a conversation all events of the source keep one order.
pub(super) fn entry(
    provider: Provider,
    extraction: &ExtractionIr,
    headers: &HeaderMap,
    value: Value,
    body: &[u8],
) -> Entry {
    let find = |wanted: &Option<ExtractIr>| wanted.as_ref().and_then(|wanted| extract(wanted, headers, &value));
    let kind = find(&extraction.kind).map(|kind| tame(&kind));
    Entry {
        identifiers: EntryIdentifiers::default(),
        id: find(&extraction.id).map_or_else(|| fingerprint(body), bounded),
        kind: format!("{}.{}", provider.word(), kind.as_deref().unwrap_or("event")),
        conversation: find(&extraction.conversation).map(bounded).unwrap_or_default(),
        time_ms: None,
        own: None,
        unknown: false,
        data: value,
    }
}

fn extract(wanted: &ExtractIr, headers: &HeaderMap, value: &Value) -> Option<String> {
    match wanted {
        ExtractIr::Header(name) => headers.get(&**name)?.to_str().ok().map(str::to_owned),
        ExtractIr::Path(path) => {
            let mut at = value;
            for step in path {
                at = match at.as_array() {
                    Some(list) => list.get(step.parse::<usize>().ok()?)?,
                    None => at.get(&**step)?,
                };
            }
            super::entry::text(at, &[])
        }
    }
    .filter(|text| !text.is_empty())
}

/// A type keeps its dots: `invoice.paid`.
fn tame(kind: &str) -> String {
    let tame = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    kind.chars().take(128).map(tame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_extracted_names_the_event() {
        let extraction = ExtractionIr {
            id: Some(ExtractIr::Header("x-billing-id".into())),
            kind: Some(ExtractIr::Path(vec!["type".into()])),
            conversation: Some(ExtractIr::Path(vec!["customers".into(), "0".into(), "id".into()])),
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-billing-id", "evt-1".parse().unwrap());
        let value: Value = serde_json::from_str(r#"{"type": "invoice.paid\n", "customers": [{"id": 7}]}"#).unwrap();
        let entry = entry(Provider::Generic, &extraction, &headers, value.clone(), b"{}");
        assert_eq!(
            (entry.id.as_str(), entry.kind.as_str(), entry.conversation.as_str()),
            ("evt-1", "generic.invoice.paid_", "7")
        );
        let bare = super::entry(Provider::Generic, &ExtractionIr::default(), &headers, value, b"{}");
        assert!(bare.id.starts_with("sha256:44136fa3"));
        assert_eq!((bare.kind.as_str(), bare.conversation.as_str()), ("generic.event", ""));
    }
}
