//! Who may see events and change them through the admin port: the machine itself, or who has the token.
//!
//! Probes, metrics, the snapshot and the breakers are open to whoever reaches the port: they change nothing, and show
//! neither a payload nor a secret.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderName};
use policy::error::chain;
use ring::hmac;

/// What a browser says of every request that a page makes.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// How callers prove that events are theirs to see.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The file that holds the token; read at each use, so that it can be replaced. None lets only the machine in.
    pub token_file: Option<PathBuf>,
}

impl Access {
    pub(super) fn is_granted(&self, peer: SocketAddr, headers: &HeaderMap) -> bool {
        match (bearer(headers), &self.token_file) {
            (Some(given), Some(path)) => is_token(path, given),
            (Some(_), None) => false,
            (None, _) => peer.ip().to_canonical().is_loopback() && !is_of_a_page(headers),
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

/// A page in a browser on this machine reaches the port too, also under a name that leads here.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own = host.parse::<SocketAddr>().is_ok() || host.parse::<IpAddr>().is_ok();
    let named = host.split(':').next() == Some("localhost");
    headers.contains_key(ORIGIN) || headers.contains_key(FETCH_SITE) || !(own || named)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEAR: &str = "127.0.0.1:4000";
    const FAR: &str = "10.1.2.3:4000";

    fn granted(access: &Access, peer: &str, fields: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "127.0.0.1:9901".parse().unwrap());
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        access.is_granted(peer.parse().unwrap(), &headers)
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
        for field in [("origin", "https://evil.example"), ("sec-fetch-site", "none"), ("host", "evil.example:9901")] {
            assert!(!granted(&access, NEAR, &[field]), "{field:?}");
        }
    }
}
