//! Header fields that only the gateway may set: a caller cannot send them through.

use http::header::{HeaderMap, HeaderName};
use policy::client_certificate::CERTIFICATE_FIELDS;

/// Prefix of the gateway's own fields.
const OWN_PREFIX: &str = "x-postern-";

/// Identity fields that upstreams tend to believe; the gateway sets them when a policy says so.
const IDENTITY: [&str; 9] = [
    "x-user-id",
    "x-tenant-id",
    "x-forwarded-user",
    "x-forwarded-email",
    "x-auth-request-user",
    "x-authenticated-user",
    "x-remote-user",
    "remote-user",
    "x-original-url",
];

/// Removes what is told of client certificates: all of it when the peer is no trusted proxy; of a trusted one only
/// what is spelt with `_`, which proxies let pass though many upstreams read it as `-`.
pub(crate) fn strip_client_certificates(headers: &mut HeaderMap, trusted: bool) {
    let told = |name: &str| CERTIFICATE_FIELDS.iter().any(|prefix| starts(name, prefix));
    let found: Vec<HeaderName> = headers
        .keys()
        .filter(|name| told(name.as_str()) && (!trusted || name.as_str().contains('_')))
        .cloned()
        .collect();
    for name in found {
        headers.remove(name);
    }
}

/// Removes identity fields and the gateway's own, under any alias: many upstreams read `_` as `-` (CGI, WSGI).
pub(crate) fn strip_identity(headers: &mut HeaderMap, forwarded: &[HeaderName]) {
    let protected = |name: &str| {
        let is = |wanted: &str| same(name, wanted);
        starts(name, OWN_PREFIX) || IDENTITY.iter().any(|one| is(one)) || forwarded.iter().any(|one| is(one.as_str()))
    };
    let aliases = |name: &str| name.contains('_') && starts(name, "x-forwarded-");
    let found: Vec<HeaderName> =
        headers.keys().filter(|name| protected(name.as_str()) || aliases(name.as_str())).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

fn dashed(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte }
}

fn same(name: &str, wanted: &str) -> bool {
    name.len() == wanted.len() && name.bytes().map(dashed).eq(wanted.bytes().map(dashed))
}

fn starts(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| same(start, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(names: &[(&'static str, &'static str)]) -> HeaderMap {
        names.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn nobody_but_a_trusted_proxy_tells_which_certificate_was_shown() {
        let told = || {
            headers(&[
                ("x-forwarded-client-cert", "1"),
                ("x-amzn-mtls-clientcert-subject", "1"),
                ("x_amzn_mtls_clientcert_subject", "1"),
                ("client-cert-chain", "1"),
                ("x-ssl-client-s-dn", "1"),
                ("x-clients", "1"),
            ])
        };
        let mut map = told();
        strip_client_certificates(&mut map, false);
        assert_eq!(map, headers(&[("x-clients", "1")]));
        let mut map = told();
        strip_client_certificates(&mut map, true);
        let mut kept = told();
        kept.remove("x_amzn_mtls_clientcert_subject");
        assert_eq!(map, kept);
    }

    #[test]
    fn identity_cannot_be_forged_under_any_alias() {
        let mut map = headers(&[
            ("x-user-id", "1"),
            ("x_user_id", "1"),
            ("x-user_id", "1"),
            ("x-postern-tenant", "1"),
            ("x_postern_tenant", "1"),
            ("x-custom_claim", "1"),
            ("x_forwarded_for", "1"),
            ("x-user-name", "1"),
        ]);
        strip_identity(&mut map, &[HeaderName::from_static("x-custom-claim")]);
        assert_eq!(map, headers(&[("x-user-name", "1")]));
    }
}
