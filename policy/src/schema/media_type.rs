//! Whether a request says that its body is JSON, in a way that the upstream cannot read otherwise.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use crate::refusal::{Reason, Refusal};

/// Refuses a body that does not claim to be plain JSON.
///
/// # Errors
/// [`Reason::MediaTypeUnsupported`]
pub(super) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    let no = |detail| Err(Refusal::new(Reason::MediaTypeUnsupported, detail));
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    match (types.next(), types.next()) {
        (None, _) => no("the body is checked against a schema: send it with `content-type: application/json`"),
        (Some(_), Some(_)) => no("`content-type` stands there twice: send it once"),
        (Some(one), None) if !is_json(one) => {
            no("only JSON is taken here: send `content-type: application/json`, or a type that ends in +json, in UTF-8")
        }
        (Some(_), None) if headers.contains_key(CONTENT_ENCODING) => {
            no("the body is checked against a schema, and an encoded one cannot be: send it without `content-encoding`")
        }
        (Some(_), None) => Ok(()),
    }
}

fn is_json(value: &HeaderValue) -> bool {
    let text = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let (kind, subtype) = essence.split_once('/').unwrap_or_default();
    let json = essence == "application/json" || (!kind.is_empty() && subtype.len() > 5 && subtype.ends_with("+json"));
    // JSON is UTF-8 (RFC 8259, 8.1); what another charset makes of the bytes was not checked.
    let mut charsets = parts.filter_map(|part| part.strip_prefix("charset="));
    json && charsets.all(|charset| charset.trim_matches('"') == "utf-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(fields: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        check(&headers).is_ok()
    }

    #[test]
    fn only_what_says_that_it_is_json_is_taken() {
        for json in
            ["application/json", "Application/JSON; charset=UTF-8", "application/cloudevents+json", "text/x+json"]
        {
            assert!(taken(&[("content-type", json)]), "{json}");
        }
        for other in ["text/plain", "application/x-json", "json", "+json", "application/+json", "application/jsonp", ""]
        {
            assert!(!taken(&[("content-type", other)]), "{other}");
        }
        assert!(!taken(&[("content-type", "application/json; charset=utf-16")]));
        assert!(!taken(&[]));
    }

    #[test]
    fn what_the_upstream_could_read_otherwise_is_refused() {
        let json = ("content-type", "application/json");
        assert!(!taken(&[json, ("content-type", "text/plain")]));
        assert!(!taken(&[json, ("content-encoding", "gzip")]));
    }
}
