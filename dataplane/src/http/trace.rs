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
    /// The `traceparent` that the caller sent, when it is well formed.
    pub traceparent: Option<Box<str>>,
    /// Unique to this request, also where a trusted hop sends one request id with several requests.
    pub own: Uuid,
}

impl Ids {
    /// Takes the request id of a trusted hop, else makes one; reads the caller's trace context.
    #[must_use]
    pub fn of(headers: &HeaderMap, trusted: bool) -> Self {
        let own = Uuid::now_v7();
        let sent = headers.get(X_REQUEST_ID).filter(|_| trusted).and_then(|value| value.to_str().ok());
        let kept = sent.filter(|id| (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic()));
        let mut request = Uuid::encode_buffer();
        let request = kept.unwrap_or_else(|| own.hyphenated().encode_lower(&mut request)).into();

        let mut parents = headers.get_all(TRACEPARENT).iter();
        let traceparent = match (parents.next(), parents.next()) {
            (Some(one), None) => one.to_str().ok().filter(|text| is_traceparent(text)).map(Into::into),
            _ => None,
        };
        Self { request, traceparent, own }
    }

    /// The trace id, for the log.
    #[must_use]
    pub fn trace(&self) -> Option<&str> {
        self.traceparent.as_deref().and_then(|parent| parent.split('-').nth(1))
    }

    /// Writes the request id into the head for the upstream. The trace context passes as it came: the gateway exports
    /// no spans, so a span of its own would be a parent that nobody finds, and a flag of its own would switch off the
    /// sampling of services behind it.
    pub fn apply(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.request) {
            headers.insert(X_REQUEST_ID, value);
        }
    }
}

/// Returns whether this is a `traceparent` (W3C Trace Context, 3.2). A version that is not known is read as 00.
fn is_traceparent(text: &str) -> bool {
    let lower_hex = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let mut parts = text.split('-');
    let (Some(version), Some(trace), Some(span), Some(flags)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let sized = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
    let nothing = |part: &str| part.bytes().all(|b| b == b'0');
    let more = parts.next().is_some();
    sized
        && [version, trace, span, flags].into_iter().all(lower_hex)
        && version != "ff"
        && !(version == "00" && more)
        && !nothing(trace)
        && !nothing(span)
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
    fn a_trace_is_known_by_its_id() {
        let ids = ids(&[("traceparent", PARENT)], false);
        assert_eq!((ids.trace(), ids.traceparent.as_deref()), (Some("0af7651916cd43dd8448eb211c80319c"), Some(PARENT)));
    }

    #[test]
    fn a_malformed_trace_is_none() {
        for parent in [
            "",
            "00-0-0-0",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(ids(&[("traceparent", parent)], false).trace(), None, "{parent}");
        }
        let twice = ids(&[("traceparent", PARENT), ("traceparent", PARENT)], false);
        assert_eq!(twice.trace(), None);
    }

    #[test]
    fn the_trace_context_passes_as_it_came() {
        let mut headers = HeaderMap::new();
        ids(&[], false).apply(&mut headers);
        assert!(!headers.contains_key(TRACEPARENT));
        headers.insert(TRACEPARENT, HeaderValue::from_static(PARENT));
        ids(&[("traceparent", PARENT)], false).apply(&mut headers);
        assert_eq!(headers[TRACEPARENT], PARENT);
    }

    #[test]
    fn only_a_trusted_hop_names_the_request() {
        assert_eq!(&*ids(&[("x-request-id", "mine")], true).request, "mine");
        assert_ne!(&*ids(&[("x-request-id", "mine")], false).request, "mine");
        assert_ne!(&*ids(&[("x-request-id", "a b")], true).request, "a b");
    }
}
