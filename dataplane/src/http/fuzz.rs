//! What holds of a request's parts whatever their bytes. The targets in `fuzz/` run these rules on bytes that a fuzzer
//! finds, the property tests below on bytes that look right at first.

use std::net::Ipv4Addr;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Ids, TrustedHops, host, path};

/// A canonical host is its own canonical host, and holds nothing that has a meaning elsewhere in a URL.
pub fn host(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(once) = host::canonical(text) else { return };
    assert!(
        !once.is_empty() && !once.contains(|c: char| c.is_ascii_uppercase() || c.is_control() || "/@?# ".contains(c))
    );
    let twice = host::canonical(&once);
    assert_eq!(twice.as_deref(), Ok(&*once));
}

/// A canonical path is its own canonical path, and nobody can read another one in it.
pub fn path(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(once) = path::canonical(text) else { return };
    assert!(once.starts_with('/') && once.is_ascii() && !once.contains(['\\', '\0', '#']));
    assert!(!once.split('/').any(|segment| matches!(segment.split(';').next(), Some("." | ".."))));
    let twice = path::canonical(&once);
    assert_eq!(twice.as_deref(), Ok(&*once));
}

/// Whatever a caller writes into `X-Forwarded-For`, `x-request-id` and `traceparent`: the address that the trusted
/// proxy appended is the caller's, and what goes on to the upstream is well formed.
pub fn forwarded(bytes: &[u8]) {
    let Ok(told) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("x-request-id"), told.clone());
    headers.insert(HeaderName::from_static("traceparent"), told.clone());
    headers.append(HeaderName::from_static("x-forwarded-for"), told);
    headers.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static("198.51.100.7"));
    let hops = TrustedHops { count: 1, ..TrustedHops::default() };
    assert_eq!(hops.caller(Ipv4Addr::LOCALHOST.into(), &headers), Ipv4Addr::new(198, 51, 100, 7));
    let ids = Ids::of(&headers, true);
    assert!((1..=128).contains(&ids.request.len()) && ids.request.bytes().all(|byte| byte.is_ascii_graphic()));
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
    assert!(ids.trace().is_none_or(|id| hex(id, 32) && id.bytes().any(|byte| byte != b'0')));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_host_is_its_own_canonical_host(text in "[a-zA-Z0-9.:@/?#%\\[\\]_ \u{e4}-]{0,30}") {
            super::host(text.as_bytes());
        }

        #[test]
        fn a_path_is_its_own_canonical_path(text in "/?([a-zA-F%0-9.;/\\\\#~ \u{e4}-]{0,30})") {
            super::path(text.as_bytes());
        }

        #[test]
        fn what_a_caller_writes_into_forwarded_fields_is_not_believed(
            text in prop_oneof!["[0-9a-f:., \\[\\]%-]{0,40}", "0[01f]-[0-9a-fA]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-x)?", ".{0,200}"],
        ) {
            super::forwarded(text.as_bytes());
        }
    }
}
