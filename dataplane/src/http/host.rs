//! The canonical host: one spelling for routing, policy, log and upstream.

use std::borrow::Cow;

use policy::refusal::{Reason, Refusal};

fn malformed(detail: &'static str) -> Refusal {
    Refusal::new(Reason::MalformedRequest, detail)
}

/// Lower case, without port and without the dot at its end. An IPv6 address stands in brackets.
///
/// # Errors
/// When the authority is no host with an optional port (RFC 3986, 3.2), or carries user information.
pub(crate) fn canonical(authority: &str) -> Result<Cow<'_, str>, Refusal> {
    let (host, port) = split_port(authority)?;
    let digits = port.is_none_or(|port| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit()));
    if !digits || port.is_some_and(|port| !port.is_empty() && port.parse::<u16>().is_err()) {
        return Err(malformed("the port in the Host header must be a number up to 65535"));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let valid = match bracketed {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let label = |label: &str| !label.is_empty() && label.len() <= 63;
            let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            host.len() <= 253 && host.bytes().all(known) && host.split('.').all(label)
        }
    };
    if !valid {
        return Err(malformed("the Host header must be a host name or address, with a port if needed"));
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Ok(Cow::Owned(host.to_ascii_lowercase()));
    }
    Ok(Cow::Borrowed(host))
}

/// The port that the authority names; `None` without one, and for one that is not a number.
pub(crate) fn port(authority: &str) -> Option<u16> {
    split_port(authority).ok()?.1?.parse().ok()
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), Refusal> {
    if authority.contains('@') {
        return Err(malformed("the host must not carry user information"));
    }
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or_else(|| malformed("the IPv6 address in the Host header has no end"))?;
        let (host, rest) = authority.split_at(end + 1);
        return match rest.strip_prefix(':') {
            _ if rest.is_empty() => Ok((host, None)),
            Some(port) => Ok((host, Some(port))),
            None => Err(malformed("the Host header holds more than a host and a port")),
        };
    }
    Ok(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_has_one_spelling() {
        for (authority, host) in [
            ("api.acme.example", "api.acme.example"),
            ("API.Acme.Example:8080", "api.acme.example"),
            ("api.acme.example.", "api.acme.example"),
            ("api.acme.example.:80", "api.acme.example"),
            ("[::1]:8080", "[::1]"),
            ("127.0.0.1:9", "127.0.0.1"),
        ] {
            assert_eq!(canonical(authority).unwrap(), host);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for authority in
            ["", ".", "a..b", "a b", "user@a", "a:b", "a:99999", "a:1:2", "[::1", "[::1]x", "a/b", "a,b", "a%00"]
        {
            assert!(canonical(authority).is_err(), "{authority:?}");
        }
    }
}
