//! Who may ask the admin port for more than probes and metrics: a caller of this machine, or one with the token.
//!
//! A caller is of this machine when the port is *bound* to loopback and no proxy passed the request on. A loopback peer of
//! a port that is bound to every address proves nothing: beside a sidecar every peer is loopback.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use http::header::{AUTHORIZATION, FORWARDED, HOST, ORIGIN, VIA};
use http::{HeaderMap, HeaderName};
use policy::error::chain;
use ring::hmac;

/// Sent by a browser with every request that a page makes.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Paths that are open to every caller: they show no payload, no secret and no configuration.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// How callers prove that they may ask.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The file that holds the token; read at each use, so that it can be replaced. Without one, only callers of this
    /// machine are let in.
    pub token_file: Option<PathBuf>,
}

/// The ends of a connection to the port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Where the port is bound.
    pub(super) bound: SocketAddr,
    /// The address that the caller connected to: the pod's own, beyond loopback.
    pub(super) local: SocketAddr,
    /// The caller.
    pub(super) peer: SocketAddr,
}

impl Access {
    pub(super) fn is_granted(&self, path: &str, ends: Ends, headers: &HeaderMap) -> bool {
        if OPEN.contains(&path) {
            return true;
        }
        match (bearer(headers), &self.token_file) {
            (Some(given), Some(path)) => is_token(path, given),
            (Some(_), None) => false,
            (None, _) => {
                let is_loopback = |address: SocketAddr| address.ip().to_canonical().is_loopback();
                let is_near = is_loopback(ends.bound) && is_loopback(ends.peer);
                is_near && names_this(headers, ends.local) && !is_of_a_page(headers) && !is_passed_on(headers)
            }
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn is_token(path: &Path, given: &str) -> bool {
    let token = std::fs::read(path).inspect_err(|error| {
        tracing::error!(file = %path.display(), error = chain(error), "the admin token cannot be read");
    });
    let token = token.unwrap_or_default();
    let token = token.trim_ascii();
    let key = |bytes: &[u8]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
    // Two tags are compared, in constant time.
    let tag = hmac::sign(&key(given.as_bytes()), b"admin");
    !token.is_empty() && hmac::verify(&key(token), b"admin", tag.as_ref()).is_ok()
}

/// Whether `Host` is `localhost` or the address that the caller connected to: another name that leads here is how a page
/// in a browser reaches the port.
fn names_this(headers: &HeaderMap, local: SocketAddr) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else { return false };
    let bracketed = || host.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    let address = host.parse::<SocketAddr>().map(|address| address.ip()).ok();
    match address.or_else(|| host.parse::<IpAddr>().ok()).or_else(bracketed) {
        Some(address) => address.to_canonical() == local.ip().to_canonical(),
        None => host == "localhost" || host.strip_prefix("localhost:").is_some_and(|port| port.parse::<u16>().is_ok()),
    }
}

/// Returns whether a page in a browser of this machine made the request.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key(FETCH_SITE)
}

/// Returns whether a proxy passed the request on, for a caller that may be anywhere.
fn is_passed_on(headers: &HeaderMap) -> bool {
    let is_forwarding = |name: &HeaderName| {
        let name = name.as_str();
        *name == FORWARDED
            || *name == VIA
            || name.starts_with("x-forwarded")
            || name.starts_with("x-envoy-")
            || OTHERS.contains(&name)
    };
    headers.keys().any(is_forwarding)
}

/// Further fields in which proxies name the caller.
const OTHERS: [&str; 6] = [
    "x-real-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "x-client-ip",
    "x-original-forwarded-for",
    "x-cluster-client-ip",
];

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: &str = "127.0.0.1:4000";
    const FAR: &str = "10.1.2.3:4000";

    fn asked(access: &Access, path: &str, bound: &str, peer: &str, fields: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        let bound: SocketAddr = bound.parse().unwrap();
        let local = if bound.ip().is_unspecified() { "10.1.2.9:9901".parse().unwrap() } else { bound };
        headers.insert(HOST, local.to_string().parse().unwrap());
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        access.is_granted(path, Ends { bound, local, peer: peer.parse().unwrap() }, &headers)
    }

    fn granted(access: &Access, peer: &str, fields: &[(&'static str, &str)]) -> bool {
        asked(access, "/events", "127.0.0.1:9901", peer, fields)
    }

    #[test]
    fn loopback_peer_of_a_port_that_is_bound_to_every_address_proves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "s3cret").unwrap();
        let (open, closed) = (Access { token_file: Some(path) }, Access::default());
        for guarded in ["/events", "/events/replay", "/snapshot", "/breakers", "/"] {
            assert!(!asked(&closed, guarded, "0.0.0.0:9901", NEAR, &[("host", "localhost:9901")]), "{guarded}");
            assert!(asked(&closed, guarded, "127.0.0.1:9901", NEAR, &[]), "{guarded}");
            assert!(asked(&open, guarded, "0.0.0.0:9901", FAR, &[("authorization", "Bearer s3cret")]), "{guarded}");
        }
        for probe in OPEN {
            assert!(asked(&closed, probe, "0.0.0.0:9901", FAR, &[("x-forwarded-for", "1.2.3.4")]), "{probe}");
        }
    }

    #[test]
    fn request_that_a_proxy_passed_on_is_not_of_this_machine() {
        for field in
            ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "x-envoy-external-address"]
        {
            assert!(!granted(&Access::default(), NEAR, &[(field, "203.0.113.9")]), "{field}");
        }
    }

    #[test]
    fn events_are_for_the_machine_itself_or_for_who_has_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let (open, closed) = (Access { token_file: Some(path.clone()) }, Access::default());
        let (right, wrong) = ([("authorization", "Bearer s3cret")], [("authorization", "Bearer s3cre")]);
        assert!(!granted(&open, FAR, &[("authorization", "Bearer ")]), "a file that is not there is no token");
        std::fs::write(&path, "s3cret\n").unwrap();
        assert!(granted(&open, FAR, &right) && granted(&open, NEAR, &right) && granted(&closed, NEAR, &[]));
        assert!(!granted(&open, FAR, &wrong) && !granted(&open, NEAR, &wrong) && !granted(&open, FAR, &[]));
        assert!(!granted(&closed, FAR, &right) && !granted(&closed, FAR, &[]));
        std::fs::write(&path, "").unwrap();
        assert!(!granted(&open, FAR, &[("authorization", "Bearer ")]), "an empty file is no token");
    }

    #[test]
    fn a_page_in_a_browser_of_the_machine_is_not_the_machine() {
        let access = Access::default();
        assert!(granted(&access, "[::ffff:127.0.0.1]:4000", &[("host", "localhost:9901")]));
        for host in ["localhost", "127.0.0.1"] {
            assert!(granted(&access, NEAR, &[("host", host)]), "{host}");
        }
        for host in ["localhost:x", "localhost.evil.example", "10.9.9.9:9901", "127.0.0.1.evil.example", ""] {
            assert!(!granted(&access, NEAR, &[("host", host)]), "{host}");
        }
        for field in [("origin", "https://evil.example"), ("sec-fetch-site", "none"), ("host", "evil.example:9901")] {
            assert!(!granted(&access, NEAR, &[field]), "{field:?}");
        }
    }
}
