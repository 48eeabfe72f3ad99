//! What a decider may see of a request.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};

/// The head of a request after strict parsing: host and path are the canonical ones, which routing,
/// policy, log and upstream share.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The canonical host: lower case, without port or trailing dot.
    pub host: &'a str,
    /// The canonical path, byte for byte what the upstream gets.
    pub path: &'a str,
    /// The query without its `?`.
    pub query: Option<&'a str>,
    /// The header fields as they arrived, hop-by-hop and forged identity fields already removed.
    pub headers: &'a HeaderMap,
    /// The caller's address, after trusted hops.
    pub address: IpAddr,
}

/// The identity that a request proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who: a token's `sub`, an API key's `id`. Unique within its method, not beyond.
    pub id: Arc<str>,
    /// The name of the authentication method that proved it.
    pub method: Arc<str>,
    /// The tenant that the credential names, when it names one.
    pub tenant: Option<Arc<str>>,
    /// Roles and scopes.
    pub roles: Vec<Arc<str>>,
    /// The verified claims; null for a method that has none.
    pub claims: Arc<serde_json::Value>,
    /// Header fields that the method forwards to the upstream.
    pub forward: Vec<(http::HeaderName, http::HeaderValue)>,
}
