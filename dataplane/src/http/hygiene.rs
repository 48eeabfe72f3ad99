//! Header fields that a caller cannot send through: identity, forwarding, another path or method, names with `_`.
//!
//! Upstreams believe such fields because the proxy in front sets them. Lists name families, since every product has its
//! own spelling; [`FieldRules`] changes them for an installation.

use std::str::FromStr;

use http::header::{HeaderMap, HeaderName};
use policy::client_certificate::CERTIFICATE_FIELDS;

/// Prefix of the gateway's own fields, which nobody else may set.
const OWN_PREFIX: &str = "x-postern-";

/// Fields that say who calls, or what else a request is: removed from everybody. A name that ends with `*` is a prefix.
const IDENTITY: &[&str] = &[
    // The caller, as applications and access proxies write it.
    "groups",
    "preferred-username",
    "remote-*",
    "roles",
    "tailscale-*",
    "user",
    "webauth-*",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-request-*",
    "x-auth-roles",
    "x-auth-subject",
    "x-auth-user*",
    "x-authenticated-*",
    "x-authentik-*",
    "x-email",
    "x-forwarded-*",
    "x-groups",
    "x-oidc-*",
    "x-pomerium-*",
    "x-preferred-username",
    "x-remote-*",
    "x-roles",
    "x-tenant-id",
    "x-user",
    "x-user-email",
    "x-user-groups",
    "x-user-id",
    "x-user-name",
    "x-user-roles",
    "x-userinfo",
    "x-username",
    "x-vouch-*",
    "x-webauth-*",
    // The caller, as gateways and clouds write it.
    "cf-access-*",
    "impersonate-*",
    "oidc-*",
    "x-amzn-oidc-*",
    "x-anonymous-consumer",
    "x-consumer-*",
    "x-credential-*",
    "x-goog-*",
    "x-ms-client-principal*",
    "x-ms-token-*",
    // Another path or method than the one that was decided about.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-*",
    "x-rewrite-*",
    // CGI programs read it as the variable HTTP_PROXY.
    "proxy",
];

/// Fields that say where a request comes from: removed from everybody but trusted proxies.
const FORWARDING: &[&str] = &[
    "cf-connecting-ip*",
    "cf-pseudo-ipv4",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "front-end-https",
    "proxy-client-ip",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-appengine-*",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-*",
    "x-forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-method",
    "x-forwarded-path",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-original-forwarded-for",
    "x-real-ip",
    "x-scheme",
    "x-url-scheme",
];

/// A field name, or with `*` at its end all that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family(Box<str>);

/// Why a family cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write a header field name, or the start of names with * at the end: x-internal-*")]
pub struct FamilyError;

impl FromStr for Family {
    type Err = FamilyError;

    fn from_str(text: &str) -> Result<Self, FamilyError> {
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_suffix('*').unwrap_or(&lower);
        let known = HeaderName::from_bytes(name.as_bytes()).is_ok() && !name.contains('*');
        if known { Ok(Self(lower.into())) } else { Err(FamilyError) }
    }
}

/// Changes of an installation to the lists.
#[derive(Clone, Debug, Default)]
pub struct FieldRules {
    /// Families that are removed from everybody besides.
    pub remove: Vec<Family>,
    /// Fields that everybody may send although a list names them, or their name has `_`.
    pub keep: Vec<HeaderName>,
    /// The same for trusted proxies only.
    pub from_trusted: Vec<HeaderName>,
}

impl FieldRules {
    fn keeps(&self, name: &HeaderName, trusted: bool) -> bool {
        self.keep.contains(name) || (trusted && self.from_trusted.contains(name))
    }
}

/// Returns whether a family has this name.
fn has(family: &str, name: &str) -> bool {
    match family.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == family,
    }
}

/// First bytes of the names that the lists have: the usual fields of a request are told apart by theirs.
#[expect(clippy::indexing_slicing, reason = "computed by the compiler, which fails on an index out of range")]
const FIRST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let (lists, mut list) = ([IDENTITY, FORWARDING], 0);
    while list < lists.len() {
        let mut at = 0;
        while at < lists[list].len() {
            table[lists[list][at].as_bytes()[0] as usize] = true;
            at += 1;
        }
        list += 1;
    }
    table
};

/// Returns the byte that distinguishes most names: the first, or the first behind `x-`.
fn telling(name: &str) -> Option<&u8> {
    name.strip_prefix("x-").unwrap_or(name).as_bytes().first()
}

/// Returns whether a list has a family with this name.
fn listed(families: &[&str], name: &str) -> bool {
    let known = name.bytes().next().and_then(|first| FIRST_BYTES.get(usize::from(first)));
    if !known.is_some_and(|known| *known) {
        return false;
    }
    let first = telling(name);
    families.iter().any(|family| telling(family) == first && has(family, name))
}

fn remove(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    let found: Vec<HeaderName> = headers.keys().filter(|name| unwanted(name)).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Returns whether a field says which client certificate was shown.
fn certificate(name: &str) -> bool {
    CERTIFICATE_FIELDS.iter().any(|prefix| name.starts_with(prefix))
}

/// Removes what no policy may see: names with `_`, which many upstreams read as `-` (CGI, WSGI), so that a field would
/// have a second spelling; and what an untrusted peer says of client certificates.
pub(crate) fn strip_unseen(headers: &mut HeaderMap, trusted: bool, rules: &FieldRules) {
    remove(headers, |name| {
        let text = name.as_str();
        (text.contains('_') && !rules.keeps(name, trusted)) || (!trusted && certificate(text))
    });
}

/// Removes identity and forwarding fields, the gateway's own, and those that the tenant's methods set.
pub(crate) fn strip_identity(headers: &mut HeaderMap, methods: &[HeaderName], trusted: bool, rules: &FieldRules) {
    remove(headers, |name| {
        let text = name.as_str();
        if text.starts_with(OWN_PREFIX) || methods.iter().any(|one| same(text, one.as_str())) {
            return true;
        }
        if rules.remove.iter().any(|Family(family)| has(family, text)) {
            return !(trusted && rules.from_trusted.contains(name));
        }
        let unwanted = if listed(FORWARDING, text) || certificate(text) { !trusted } else { listed(IDENTITY, text) };
        unwanted && !rules.keeps(name, trusted)
    });
}

/// Whether `Connection` must not name this field: it would take from a request what a proxy in front said of it, or
/// what the gateway decides by.
pub(crate) fn of_whole_path(name: &str) -> bool {
    let decides = ["authorization", "content-type", "cookie", "origin", "traceparent", "tracestate", "x-request-id"];
    name.starts_with(OWN_PREFIX)
        || decides.contains(&name)
        || listed(FORWARDING, name)
        || listed(IDENTITY, name)
        || certificate(name)
}

fn dashed(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte }
}

/// Returns whether two names are one to an upstream that reads `_` as `-`.
fn same(name: &str, wanted: &str) -> bool {
    name.len() == wanted.len() && name.bytes().map(dashed).eq(wanted.bytes().map(dashed))
}

#[cfg(test)]
#[path = "hygiene_tests.rs"]
mod tests;
