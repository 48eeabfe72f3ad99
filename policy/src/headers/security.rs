//! Header fields that answers carry unless the upstream set them.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::SecurityHeadersIr;

/// The preset `Strict`: what the helmet middleware of Express sets.
pub const STRICT: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'self';base-uri 'self';font-src 'self' https: data:;form-action 'self';\
         frame-ancestors 'self';img-src 'self' data:;object-src 'none';script-src 'self';\
         script-src-attr 'none';style-src 'self' https: 'unsafe-inline';upgrade-insecure-requests",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("origin-agent-cluster", "?1"),
    ("referrer-policy", "no-referrer"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-content-type-options", "nosniff"),
    ("x-dns-prefetch-control", "off"),
    ("x-download-options", "noopen"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-permitted-cross-domain-policies", "none"),
    ("x-xss-protection", "0"),
];

/// Why security headers could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum HeadersError {
    /// Not a header field name.
    #[error("{0:?} is no header field name")]
    Name(String),
    /// Not a header field value.
    #[error("the value for {0} cannot stand in a header field")]
    Value(String),
}

/// Security headers, ready to be set.
#[derive(Clone, Debug)]
pub struct SecurityHeaders {
    set: Vec<(HeaderName, HeaderValue)>,
}

impl SecurityHeaders {
    /// Makes the fields ready.
    ///
    /// # Errors
    /// [`HeadersError`] for a name or value that HTTP does not take.
    pub fn new(ir: &SecurityHeadersIr) -> Result<Self, HeadersError> {
        let SecurityHeadersIr { set } = ir;
        let ready = |(name, value): &(std::sync::Arc<str>, std::sync::Arc<str>)| {
            let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeadersError::Name(name.to_string()))?;
            let value = HeaderValue::from_str(value).map_err(|_| HeadersError::Value(name.to_string()))?;
            Ok((field, value))
        };
        Ok(Self { set: set.iter().map(ready).collect::<Result<_, _>>()? })
    }

    /// Sets each field that the answer does not have yet: an upstream that sets one knows its pages better.
    pub fn apply(&self, answer: &mut HeaderMap) {
        for (name, value) in &self.set {
            if !answer.contains_key(name) {
                answer.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ir(set: &[(&str, &str)]) -> SecurityHeadersIr {
        SecurityHeadersIr { set: set.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect() }
    }

    #[test]
    fn what_the_upstream_set_stays() {
        let headers = SecurityHeaders::new(&ir(STRICT)).unwrap();
        let mut answer = HeaderMap::new();
        answer.insert("x-frame-options", HeaderValue::from_static("DENY"));
        headers.apply(&mut answer);
        assert_eq!(answer["x-frame-options"], "DENY");
        assert_eq!(answer["x-content-type-options"], "nosniff");
        assert_eq!(answer.len(), STRICT.len());
    }

    #[test]
    fn a_field_that_http_does_not_take_is_an_error() {
        assert!(matches!(SecurityHeaders::new(&ir(&[("a b", "c")])), Err(HeadersError::Name(_))));
        assert!(matches!(SecurityHeaders::new(&ir(&[("a", "b\r\nc: d")])), Err(HeadersError::Value(_))));
    }
}
