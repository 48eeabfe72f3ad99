//! TLS connections from a socket, with the certificate that is shown at the time.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use policy::error::chain;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::authority::Shown;

/// Handshakes at once; more wait in the socket's queue.
const MAX_HANDSHAKES: usize = 256;
/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections whose handshake is done.
pub struct Connections(mpsc::Receiver<TlsStream<TcpStream>>);

impl Stream for Connections {
    type Item = Result<TlsStream<TcpStream>, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|next| next.map(Ok))
    }
}

impl Connections {
    /// The next one.
    pub async fn next(&mut self) -> Option<TlsStream<TcpStream>> {
        self.0.recv().await
    }
}

/// Listens; speaks the protocols that are named.
///
/// # Errors
/// When the socket cannot be had, or TLS cannot be set up.
pub async fn listen(
    address: SocketAddr,
    shown: Arc<Shown>,
    protocols: &[&[u8]],
) -> io::Result<(SocketAddr, Connections)> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.map_err(io::Error::other)?.with_no_client_auth().with_cert_resolver(shown);
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let (ready, connections) = mpsc::channel(MAX_HANDSHAKES);
    tokio::spawn(accept(listener, acceptor, ready));
    Ok((address, Connections(connections)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, ready: mpsc::Sender<TlsStream<TcpStream>>) {
    let places = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let stream = tokio::select! {
            () = ready.closed() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a connection could not be taken");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                let _ = ready.send(stream).await;
            }
            drop(place);
        });
    }
}
