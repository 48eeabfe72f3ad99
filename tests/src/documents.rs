//! A server of one document over https, as the publisher of a provider's ranges is one.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Answers with its document and an `ETag`, 304 to who knows it, 500 while there is none.
#[derive(Debug)]
pub struct Documents {
    /// Where the document is.
    pub url: String,
    folder: tempfile::TempDir,
    document: Arc<Mutex<Option<String>>>,
}

impl Documents {
    /// Serves on a free port of loopback until the process ends.
    ///
    /// # Errors
    /// When no port is free.
    pub fn start(document: &str) -> io::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = KeyPair::generate().and_then(|key| CertifiedIssuer::self_signed(params, key));
        let issuer = issuer.map_err(io::Error::other)?;
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let own = CertificateParams::new(["localhost".to_owned()]).and_then(|own| own.signed_by(&key, &issuer));
        let chain = vec![own.map_err(io::Error::other)?.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
        let config = Arc::new(config.map_err(io::Error::other)?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let url = format!("https://localhost:{}/ranges.yaml", listener.local_addr()?.port());
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("ca.pem"), issuer.pem())?;
        let document = Arc::new(Mutex::new(Some(document.to_owned())));
        let served = Arc::clone(&document);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other);
                // Who goes away in the middle is the test's to notice.
                let _ = connection.and_then(|connection| answer(&mut StreamOwned::new(connection, stream), &served));
            }
        });
        Ok(Self { url, folder, document })
    }

    /// The authority that its certificate is signed by.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Another document from now on, or none.
    pub fn publish(&self, document: Option<&str>) {
        *self.document.lock().unwrap_or_else(PoisonError::into_inner) = document.map(str::to_owned);
    }
}

fn answer(stream: &mut (impl Read + Write), document: &Mutex<Option<String>>) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        request.extend(byte);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let document = document.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let etag = |text: &str| format!("\"{}\"", text.len() + text.bytes().map(usize::from).sum::<usize>());
    let answer = match document {
        None => "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".to_owned(),
        Some(text) if request.contains(&etag(&text)) => "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
        Some(text) => {
            format!("HTTP/1.1 200 OK\r\netag: {}\r\ncontent-length: {}\r\n\r\n{text}", etag(&text), text.len())
        }
    };
    stream.write_all(answer.as_bytes())?;
    stream.flush()
}
