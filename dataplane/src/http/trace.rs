//! Which request this is: the correlation id and the W3C trace context.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// The correlation id's field.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Bytes of a correlation id that is kept.
const MAX_ID_BYTES: usize = 128;

/// The ids of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// `x-request-id`.
    pub request: Box<str>,
    /// The trace id: 32 hexadecimal digits.
    pub trace: Box<str>,
    /// `traceparent` for the upstream: the caller's trace, a span of ours.
    pub traceparent: Box<str>,
}

impl Ids {
    /// Keeps the caller's ids when they are well formed, the request id only from a trusted hop; makes new
    /// ones otherwise.
    #[must_use]
    pub fn of(headers: &HeaderMap, trusted: bool) -> Self {
        let fresh = Uuid::now_v7();
        let sent = headers.get(X_REQUEST_ID).filter(|_| trusted).and_then(|value| value.to_str().ok());
        let kept = sent.filter(|id| (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()));
        let (mut request, mut trace) = (Uuid::encode_buffer(), Uuid::encode_buffer());
        let request = kept.unwrap_or_else(|| fresh.hyphenated().encode_lower(&mut request)).into();
        let fresh: &str = fresh.simple().encode_lower(&mut trace);
        // The last 8 bytes of a version 7 id are random but for two bits: a span id like any other.
        let span = fresh.get(16..).unwrap_or_default();
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = match (parents.next(), parents.next()) {
            (Some(one), None) => one.to_str().ok().and_then(parse),
            _ => None,
        };
        let (trace, flags) = parent.unwrap_or((fresh, "00"));
        let traceparent = ["00", trace, span, flags].join("-").into();
        Self { request, trace: trace.into(), traceparent }
    }

    /// Writes the ids into the head for the upstream.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in [(X_REQUEST_ID, &self.request), (TRACEPARENT, &self.traceparent)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Trace id and flags of a `traceparent` (W3C Trace Context, 3.2). A version that is not known is read as 00.
fn parse(text: &str) -> Option<(&str, &str)> {
    let lower_hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let sized = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
    let nothing = |part: &str| part.bytes().all(|b| b == b'0');
    let more = parts.next().is_some();
    let valid = sized
        && [version, trace, span, flags].into_iter().all(lower_hex)
        && version != "ff"
        && !(version == "00" && more)
        && !nothing(trace)
        && !nothing(span);
    valid.then_some((trace, flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(fields: &[(&'static str, &'static str)], trusted: bool) -> Ids {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        Ids::of(&headers, trusted)
    }

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_goes_on_with_a_span_of_ours() {
        let ids = ids(&[("traceparent", PARENT)], false);
        assert_eq!(&*ids.trace, "0af7651916cd43dd8448eb211c80319c");
        assert!(ids.traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
        assert!(ids.traceparent.ends_with("-01") && !ids.traceparent.contains("b7ad6b7169203331"));
    }

    #[test]
    fn a_malformed_trace_is_made_anew() {
        for parent in [
            "",
            "00-0-0-0",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            let ids = ids(&[("traceparent", parent)], false);
            assert_eq!(ids.trace.len(), 32);
            assert!(!parent.contains(&*ids.trace), "{parent}");
        }
        let twice = ids(&[("traceparent", PARENT), ("traceparent", PARENT)], false);
        assert!(!PARENT.contains(&*twice.trace));
    }

    #[test]
    fn only_a_trusted_hop_names_the_request() {
        assert_eq!(&*ids(&[("x-request-id", "mine")], true).request, "mine");
        assert_ne!(&*ids(&[("x-request-id", "mine")], false).request, "mine");
        assert_ne!(&*ids(&[("x-request-id", "a b")], true).request, "a b");
    }
}
