//! Fields that speak of one connection and must not pass to the next (RFC 9110, 7.6.1).

use http::header::{CONNECTION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName};

/// Those of one hop, whatever Connection says.
static OF_ONE_HOP: [HeaderName; 9] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Removes them, and those that Connection names, in either direction. What framing, routing and trust rest on (Host,
/// Content-Length, forwarding and identity fields, credentials) stays even when Connection names it.
pub fn strip(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        for name in named(headers) {
            headers.remove(name);
        }
        headers.remove(CONNECTION);
    }
    // Most heads have none of them, and comparing a name costs less than hashing one.
    if headers.keys().any(|name| OF_ONE_HOP.contains(name)) {
        for name in &OF_ONE_HOP {
            headers.remove(name);
        }
    }
}

fn named(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|token| !token.eq_ignore_ascii_case(b"close") && !token.eq_ignore_ascii_case(b"keep-alive"))
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| name != http::header::HOST && name != http::header::CONTENT_LENGTH)
        .filter(|name| !crate::http::of_whole_path(name.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connection_names_goes_with_it_but_never_the_framing() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Hop"),
            ("connection", "content-length, host, x-forwarded-for, Authorization, x-postern-tenant, x-real-ip"),
            ("x-forwarded-for", "198.51.100.7"),
            ("x-hop", "1"),
            ("host", "a.example"),
            ("content-length", "3"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("keep-alive", "timeout=5"),
            ("x-end", "2"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        strip(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "x-end", "x-forwarded-for"]);
    }
}
