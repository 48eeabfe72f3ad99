//! A document that is fetched from an https URL, again and again: bounded in size and time, from an address that is
//! checked when it is connected to. It follows no redirect: where one leads was not said by who runs the gateway.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, ETAG, HOST, IF_NONE_MATCH, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use policy::upstream::{AddressForbidden, AddressGuard};
use prometheus::{IntCounterVec, Opts};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// From looking up the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
const HTTPS_PORT: u16 = 443;

/// Why a document was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// It is no URL that can be fetched.
    #[error("it is no https URL; write https://HOST/PATH, without a user in it")]
    Url,
    /// The authorities to trust.
    #[error("could not read the certificates of authorities in {}", .0.display())]
    Authorities(PathBuf, #[source] rustls::pki_types::pem::Error),
    /// The machine trusts nobody, and no file was named.
    #[error("no certificate of an authority is known; name a file with them")]
    NoAuthorities,
    /// What the certificates of authorities are.
    #[error("the certificates of authorities cannot be used")]
    Tls(#[from] rustls::Error),
    /// It took longer than [`TIMEOUT`].
    #[error("it took longer than 10 s")]
    TimedOut,
    /// The name has no address, or nothing answers there, or it shows no certificate that is trusted.
    #[error("could not connect")]
    Connect(#[source] std::io::Error),
    /// An address that is not on the public internet.
    #[error("it leads inside; allow the address by name (--allow-upstream) if that is meant")]
    Forbidden(#[from] AddressForbidden),
    /// The exchange failed.
    #[error("the exchange failed")]
    Exchange(#[source] hyper::Error),
    /// It is not there.
    #[error("the answer is {0}, where 200 is wanted; redirects are not followed")]
    Status(StatusCode),
    /// It is larger than wanted.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    /// Two metrics have one name, which is a defect.
    #[error("could not declare the metrics")]
    Metrics(#[from] prometheus::Error),
    /// The body ended before its end.
    #[error("the answer could not be read")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Whom to trust: the authorities in a file, or those that the machine trusts.
///
/// # Errors
/// [`FetchError::Authorities`], [`FetchError::NoAuthorities`]
pub fn trust(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, FetchError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let unreadable = |cause| FetchError::Authorities(path.to_owned(), cause);
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                roots.add(certificate.map_err(unreadable)?)?;
            }
        }
        // One that cannot be read is one fewer to trust.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err(FetchError::NoAuthorities);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// What came of fetches, for the metrics.
#[derive(Clone, Debug)]
pub struct Fetches(IntCounterVec);

impl Fetches {
    /// Nothing is counted yet.
    ///
    /// # Errors
    /// When the metric cannot be declared, which is a defect.
    pub fn new() -> prometheus::Result<Self> {
        let help = "Fetches of documents from URLs: fetched (another one than before), unchanged, failed";
        Ok(Self(IntCounterVec::new(Opts::new("postern_fetches_total", help), &["document", "outcome"])?))
    }

    /// To be shown among a process's metrics.
    #[must_use]
    pub fn collector(&self) -> Box<dyn prometheus::core::Collector> {
        Box::new(self.0.clone())
    }

    /// Counts one of a kind of document.
    pub fn count(&self, document: &str, fetched: &Result<Option<Bytes>, FetchError>) {
        let outcome = match fetched {
            Ok(Some(_)) => "fetched",
            Ok(None) => "unchanged",
            Err(_) => "failed",
        };
        self.0.with_label_values(&[document, outcome]).inc();
    }
}

/// A document at a URL, with what is needed to ask whether it has changed.
#[derive(Clone, Debug)]
pub struct Document {
    uri: Uri,
    host: ServerName<'static>,
    max_bytes: usize,
    guard: AddressGuard,
    tls: Arc<ClientConfig>,
    etag: Option<HeaderValue>,
}

impl Document {
    /// Nothing is fetched yet.
    ///
    /// # Errors
    /// [`FetchError::Url`]
    pub fn new(url: &str, max_bytes: usize, guard: AddressGuard, tls: Arc<ClientConfig>) -> Result<Self, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url)?;
        let sound = uri.scheme_str() == Some("https") && uri.authority().is_some_and(|all| !all.as_str().contains('@'));
        let host = uri.host().filter(|_| sound).ok_or(FetchError::Url)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let host = ServerName::try_from(bare).map_err(|_| FetchError::Url)?;
        Ok(Self { uri, host, max_bytes, guard, tls, etag: None })
    }

    /// The document, or `None` when it is the one that was fetched last.
    ///
    /// # Errors
    /// [`FetchError`]; the next fetch is not concerned.
    pub async fn fetch(&mut self) -> Result<Option<Bytes>, FetchError> {
        timeout(TIMEOUT, self.exchange()).await.map_err(|_| FetchError::TimedOut)?
    }

    async fn exchange(&mut self) -> Result<Option<Bytes>, FetchError> {
        let stream = TcpStream::connect(&*self.addresses().await?).await.map_err(FetchError::Connect)?;
        let tls = TlsConnector::from(Arc::clone(&self.tls)).connect(self.host.clone(), stream);
        let stream = TokioIo::new(tls.await.map_err(FetchError::Connect)?);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(FetchError::Exchange)?;
        let asked = async {
            let answer = sender.send_request(self.request()).await.map_err(FetchError::Exchange)?;
            let (head, body) = answer.into_parts();
            match head.status {
                StatusCode::OK => {}
                StatusCode::NOT_MODIFIED if self.etag.is_some() => return Ok(None),
                status => return Err(FetchError::Status(status)),
            }
            let body = Limited::new(body, self.max_bytes).collect().await.map_err(|cause| self.unread(cause))?;
            Ok(Some((body.to_bytes(), head.headers.get(ETAG).cloned())))
        };
        // When the connection ends, the exchange is told, and is over with what had come.
        let driven = async {
            let _ = connection.await;
            std::future::pending::<std::convert::Infallible>().await
        };
        let fetched = tokio::select! {
            fetched = asked => fetched?,
            never = driven => match never {},
        };
        Ok(fetched.map(|(body, etag)| {
            self.etag = etag;
            body
        }))
    }

    /// Where the name leads; refused when one of its addresses is inside, for then the name is not to be trusted.
    async fn addresses(&self) -> Result<Vec<std::net::SocketAddr>, FetchError> {
        let port = self.uri.port_u16().unwrap_or(HTTPS_PORT);
        let found: Vec<_> = lookup_host((&*self.host.to_str(), port)).await.map_err(FetchError::Connect)?.collect();
        found.iter().try_for_each(|address| self.guard.check(address.ip()))?;
        Ok(found)
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        if let Some(host) = self.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            headers.insert(HOST, host);
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("postern/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some(etag) = &self.etag {
            headers.insert(IF_NONE_MATCH, etag.clone());
        }
        request
    }

    fn unread(&self, cause: Box<dyn std::error::Error + Send + Sync>) -> FetchError {
        if cause.is::<LengthLimitError>() { FetchError::TooLarge(self.max_bytes) } else { FetchError::Body(cause) }
    }
}

#[cfg(test)]
#[path = "fetch_tests.rs"]
mod tests;
