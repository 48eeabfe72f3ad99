//! Against a server of our own on loopback, with a certificate of our own authority.

use std::net::Ipv4Addr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server that gives these answers, one a connection, and the client that trusts it.
struct Server {
    port: u16,
    tls: Arc<ClientConfig>,
    requests: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl Server {
    async fn start(answers: Vec<String>) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![own.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (told, requests) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            for answer in answers {
                let (stream, _) = listener.accept().await.unwrap();
                // Who does not trust the certificate goes away here.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let _ = told.send(String::from_utf8(request).unwrap());
                // Who has seen enough does not wait for the rest.
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), issuer.pem()).unwrap();
        Self { port, tls: trust(Some(file.path())).unwrap(), requests }
    }

    fn document(&self, max_bytes: usize, allowed: &[&str]) -> Document {
        let allowed = allowed.iter().map(|range| range.parse().unwrap()).collect();
        let url = format!("https://localhost:{}/lists/meta.yaml?of=today", self.port);
        Document::new(&url, max_bytes, AddressGuard::new(allowed), Arc::clone(&self.tls)).unwrap()
    }
}

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

fn ok(more: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{more}content-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_document_is_fetched_again_only_when_it_is_another_one() {
    let unchanged = "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned();
    let answers = vec![ok("etag: \"1\"\r\n", "first"), unchanged.clone(), ok("", "second"), unchanged];
    let mut server = Server::start(answers).await;
    let mut document = server.document(100, &LOOPBACK);
    assert_eq!(document.fetch().await.unwrap().as_deref(), Some(&b"first"[..]));
    let first = server.requests.recv().await.unwrap();
    assert!(first.starts_with("GET /lists/meta.yaml?of=today HTTP/1.1\r\n"), "{first}");
    assert!(first.contains(&format!("host: localhost:{}\r\n", server.port)) && !first.contains("if-none-match"));
    assert_eq!(document.fetch().await.unwrap(), None);
    assert!(server.requests.recv().await.unwrap().contains("if-none-match: \"1\"\r\n"));
    assert_eq!(document.fetch().await.unwrap().as_deref(), Some(&b"second"[..]));
    let third = document.fetch().await;
    assert!(matches!(third, Err(FetchError::Status(StatusCode::NOT_MODIFIED))), "nobody asked whether: {third:?}");
}

#[tokio::test]
async fn what_is_no_whole_document_is_an_error_and_the_next_fetch_is_not_concerned() {
    let answers = vec![
        ok("", "eleven byte"),
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nb\r\neleven byte\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 302 Found\r\nlocation: https://localhost/other\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut".to_owned(),
        "SSH-2.0-OpenSSH\r\n".to_owned(),
        ok("", "ten bytes."),
    ];
    let server = Server::start(answers).await;
    let mut document = server.document(10, &LOOPBACK);
    assert!(matches!(document.fetch().await, Err(FetchError::TooLarge(10))));
    assert!(matches!(document.fetch().await, Err(FetchError::TooLarge(10))), "without a length");
    assert!(matches!(document.fetch().await, Err(FetchError::Status(StatusCode::FOUND))));
    assert!(matches!(document.fetch().await, Err(FetchError::Body(_))));
    assert!(matches!(document.fetch().await, Err(FetchError::Exchange(_))));
    assert_eq!(document.fetch().await.unwrap().as_deref(), Some(&b"ten bytes."[..]));
}

#[tokio::test]
async fn a_name_that_leads_inside_is_not_connected_to() {
    let mut server = Server::start(vec![ok("", "secret")]).await;
    let refused = server.document(100, &["10.0.0.0/8"]).fetch().await;
    assert!(matches!(refused, Err(FetchError::Forbidden(_))), "{refused:?}");
    assert!(server.requests.try_recv().is_err());
}

#[tokio::test]
async fn a_certificate_of_nobody_that_is_trusted_is_refused() {
    let (server, other) = (Server::start(vec![String::new()]).await, Server::start(Vec::new()).await);
    let mut document = Document { tls: Arc::clone(&other.tls), ..server.document(100, &LOOPBACK) };
    let refused = document.fetch().await;
    assert!(matches!(refused, Err(FetchError::Connect(_))), "{refused:?}");
}

#[tokio::test]
async fn only_https_urls_and_files_of_certificates_can_be_used() {
    let server = Server::start(Vec::new()).await;
    for url in ["", "meta.yaml", "http://a/", "https://", "https://user:secret@a/", "ftp://a/", "https://a b/"] {
        let document = Document::new(url, 1, AddressGuard::default(), Arc::clone(&server.tls));
        assert!(matches!(document, Err(FetchError::Url)), "{url}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(trust(Some(file.path())), Err(FetchError::NoAuthorities)));
    assert!(matches!(trust(Some(std::path::Path::new("/does/not/exist"))), Err(FetchError::Authorities(..))));
}
