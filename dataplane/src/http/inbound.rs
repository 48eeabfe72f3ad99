//! A request as the connection brought it, and as the pipeline works on it.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, CONNECTION, COOKIE, HOST, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use policy::cors::Cors;
use policy::refusal::{Reason, Refusal};
use policy::request::RequestHead;
use policy::webhook_source::{Called, UrlScheme};

use tokio::sync::{oneshot, watch};

use super::address::TrustedHops;
use super::body::RequestBody;
use super::trace::Ids;
use super::watch::Watch;
use super::{host, hygiene, path};
use crate::upstream::hop_by_hop;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// Who connected.
    pub peer: SocketAddr,
    /// Who of them is believed.
    pub hops: Arc<TrustedHops>,
    /// What the sweep sees of it.
    pub watch: Arc<Watch>,
    /// Its place in the budgets of the listener.
    pub slots: Slots,
}

/// Keeps a connection counted, by the listener and by its address, for as long as anybody holds this.
#[derive(Clone, Debug)]
pub struct Slots {
    /// Turns true when the drain time is over.
    pub over: watch::Receiver<bool>,
    /// Its receiver waits for the last holder.
    pub(crate) _open: Rc<oneshot::Sender<()>>,
}

/// One request with its connection.
#[derive(Debug)]
pub struct Inbound {
    /// The request; a stand-in when `refused` is there.
    pub request: Request<Incoming>,
    /// Its connection.
    pub connection: Connection,
    /// Why its head was refused.
    pub refused: Option<Refusal>,
}

/// A request that was read strictly: one host, one path, its own header fields only.
#[derive(Debug)]
pub struct Parsed {
    /// Its method.
    pub method: Method,
    host: Box<str>,
    port: Option<u16>,
    path: Box<str>,
    query: Option<Box<str>>,
    /// Its header fields, those of one hop taken out.
    pub headers: HeaderMap,
    /// Where it comes from, after trusted hops.
    pub address: IpAddr,
    /// Its body.
    pub body: RequestBody,
    /// The protocol that it asks to change to, with the way there.
    pub upgrade: Option<(HeaderValue, OnUpgrade)>,
    /// Its connection.
    pub connection: Connection,
}

impl Inbound {
    /// Where the request comes from.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.connection.hops.caller(self.connection.peer.ip(), self.request.headers())
    }

    /// Its ids.
    #[must_use]
    pub fn ids(&self) -> Ids {
        Ids::of(self.request.headers(), self.connection.hops.trusts_peer(self.connection.peer.ip()))
    }

    /// Reads it strictly.
    ///
    /// # Errors
    /// The refusal of the gate, or of the host or path.
    pub fn parse(mut self) -> Result<Parsed, Refusal> {
        if let Some(refusal) = self.refused {
            return Err(refusal);
        }
        let address = self.address();
        let upgrade = asks_to_upgrade(&self.request).map(|to| (to, hyper::upgrade::on(&mut self.request)));
        let (parts, incoming) = self.request.into_parts();
        let mut headers = parts.headers;
        let (host, port) = host_of(&parts.uri, &headers, parts.version)?;
        let path = path::canonical(parts.uri.path())?.as_ref().into();
        let query: Option<Box<str>> = parts.uri.query().map(Into::into);
        if query.as_ref().is_some_and(|query| query.contains('#')) {
            return Err(Refusal::new(Reason::AmbiguousPath, "the query holds #, which is not allowed; write %23"));
        }
        as_http1(&parts.uri, &mut headers);
        hop_by_hop::strip(&mut headers);
        let trusted = self.connection.hops.trusts_peer(self.connection.peer.ip());
        hygiene::strip_unseen(&mut headers, trusted, &self.connection.hops.fields);
        let body = RequestBody::new(incoming);
        Ok(Parsed {
            method: parts.method,
            host,
            port,
            path,
            query,
            headers,
            address,
            body,
            upgrade,
            connection: self.connection,
        })
    }
}

/// The only place where host and authority are brought together (RFC 9112, 3.2.2; RFC 9113, 8.3.1).
fn host_of(uri: &http::Uri, headers: &HeaderMap, version: Version) -> Result<(Box<str>, Option<u16>), Refusal> {
    let malformed = |detail| Refusal::new(Reason::MalformedRequest, detail);
    let mut fields = headers.get_all(HOST).iter();
    let field = fields.next().map(HeaderValue::to_str).transpose();
    let field = field.map_err(|_| malformed("the Host header is not ASCII"))?;
    if fields.next().is_some() {
        return Err(malformed("the Host header is there more than once"));
    }
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let host = match (authority, field) {
        (Some(authority), Some(field)) if version == Version::HTTP_2 && !authority.eq_ignore_ascii_case(field) => {
            return Err(malformed("Host and :authority name different hosts"));
        }
        (Some(authority), _) => authority,
        (None, Some(field)) => field,
        (None, None) => return Err(malformed("the request names no host")),
    };
    Ok((host::canonical(host)?.as_ref().into(), host::port(host)))
}

/// Brings the header fields of either protocol into the form of HTTP/1.1, which policies and upstreams see: `Host` from
/// `:authority` (RFC 9113, 8.3.1), and one `Cookie` field (RFC 9113, 8.2.3). The only place that converts.
fn as_http1(uri: &http::Uri, headers: &mut HeaderMap) {
    if !headers.contains_key(HOST)
        && let Some(host) = uri.authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
    {
        headers.insert(HOST, host);
    }

    let mut cookies = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    if let (Some(first), Some(second)) = (cookies.next(), cookies.next()) {
        let all: Vec<&[u8]> = [first, second].into_iter().chain(cookies).collect();
        if let Ok(one) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            headers.insert(COOKIE, one);
        }
    }
}

fn asks_to_upgrade(request: &Request<Incoming>) -> Option<HeaderValue> {
    let connection = request.headers().get_all(CONNECTION);
    let named = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| value.split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade")))
    };
    let asks = request.version() == Version::HTTP_11 && connection.iter().any(named);
    request.headers().get(UPGRADE).filter(|_| asks).cloned()
}

impl Parsed {
    /// What deciders see.
    #[must_use]
    pub fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
            address: self.address,
        }
    }

    /// The method that rules are matched by: that of the request, or the one that a preflight asks about.
    #[must_use]
    pub fn matched_method(&self) -> Method {
        let asked = self.headers.get(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| Cors::is_preflight(&self.head()));
        asked.and_then(|asked| Method::from_bytes(asked.as_bytes()).ok()).unwrap_or_else(|| self.method.clone())
    }

    /// Removes identity and forwarding fields, the gateway's own, and those that the tenant's methods set.
    pub fn strip_identity(&mut self, forwarded: &[HeaderName]) {
        let trusted = self.from_trusted_proxy();
        hygiene::strip_identity(&mut self.headers, forwarded, trusted, &self.connection.hops.fields);
    }

    /// Whether the connected peer is a proxy that is believed.
    #[must_use]
    pub fn from_trusted_proxy(&self) -> bool {
        self.connection.hops.trusts_peer(self.connection.peer.ip())
    }

    /// Path and query as the upstream gets them.
    #[must_use]
    pub fn target(&self) -> String {
        match &self.query {
            None => self.path.to_string(),
            Some(query) => format!("{}?{query}", self.path),
        }
    }

    /// The URL that the caller used. Its scheme is what a trusted hop says of it, else `https`, since whoever sends
    /// webhooks over the internet was given such an URL.
    #[must_use]
    pub fn called(&self) -> Called {
        let told =
            self.headers.get(X_FORWARDED_PROTO).filter(|_| self.connection.hops.trusts_peer(self.connection.peer.ip()));
        let plain = told.is_some_and(|scheme| scheme.as_bytes().eq_ignore_ascii_case(b"http"));
        Called { scheme: if plain { UrlScheme::Http } else { UrlScheme::Https }, port: self.port }
    }

    /// Tells the upstream where the request came from. What an untrusted peer said of it is replaced, what a
    /// trusted hop said is continued.
    pub fn forwarded(&mut self) {
        let peer = super::address::plain(self.connection.peer.ip());
        let trusted = self.connection.hops.trusts_peer(peer);
        let chain = self.headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let chain: Vec<&str> = chain.filter(|_| trusted).collect();
        let told = if chain.is_empty() { peer.to_string() } else { format!("{}, {peer}", chain.join(", ")) };
        let mut tell = |name: HeaderName, value: HeaderValue| {
            if !(trusted && self.headers.contains_key(&name)) {
                self.headers.insert(name, value);
            }
        };
        if let Ok(host) = HeaderValue::from_str(&self.host) {
            tell(X_FORWARDED_HOST, host);
        }
        tell(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
        if let Ok(value) = HeaderValue::try_from(told) {
            self.headers.insert(X_FORWARDED_FOR, value);
        }
    }
}
