//! A connection, made and ended so that nothing of it is left.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::Stream;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::tcp::{RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, ConnectionState, ErrorKind, Event};
use policy::error::chain;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use socket2::{SockRef, Socket};
use tokio::time::timeout;

use super::{Address, BrokerError, BrokerSettings};

/// For reaching a node, TLS and the handshake of AMQP together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For saying goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// A peer that says nothing for two of these is gone.
const HEARTBEAT_SECONDS: u16 = 10;
/// The first pause before connecting again, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The socket under a connection. Shutting it ends the connection whatever state lapin is in: a blocked
/// lapin connection writes nothing, so it cannot close itself, and one whose peer never answers waits.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Option<Socket>>>);

impl Wire {
    fn hold(&self, socket: Socket) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }
}

/// Cuts the wire when it is dropped.
pub(super) struct Cut(Wire);

impl Cut {
    /// Ends the connection without a word: whatever lapin would still send stays here.
    pub(super) fn now(&self) {
        if let Some(socket) = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.now();
    }
}

/// A connection, what it tells, and the way to end it.
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    pub(super) cut: Cut,
}

impl Link {
    /// Says goodbye if the other side still listens, then makes sure.
    pub(super) async fn end(self) {
        let status = self.connection.status();
        if status.connected() && !status.blocked() {
            let _ = timeout(CLOSE_TIMEOUT, self.connection.close(200, "OK".into())).await;
        }
    }
}

/// Connects to one node, with the password as it is now. `purpose` names the connection on the broker.
pub(super) async fn connect(settings: &BrokerSettings, address: &Address, purpose: &str) -> Result<Link, BrokerError> {
    let cut = Cut(Wire::default());
    let unreachable = |cause: io::Error| BrokerError::Unreachable { address: address.clone(), cause };
    let opened = timeout(CONNECT_TIMEOUT, open(settings, address, purpose, cut.0.clone()));
    let connection = opened.await.map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))??;
    let events = Box::pin(connection.events_listener());
    Ok(Link { connection, events, cut })
}

async fn open(
    settings: &BrokerSettings,
    address: &Address,
    purpose: &str,
    wire: Wire,
) -> Result<Connection, BrokerError> {
    let uri = uri(settings, address)?;
    let tls = if address.tls { Some(connector(settings.ca_file.as_deref())?) } else { None };
    let unreachable = |cause: io::Error| BrokerError::Unreachable { address: address.clone(), cause };
    // lapin would take an IPv6 address in a URL for `localhost`, so names are resolved here.
    let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await.map_err(unreachable)?;
    let found: Vec<SocketAddr> = found.collect();
    let runtime = lapin::runtime::default_runtime()?;
    let name = format!("{} {purpose} {}", settings.prefix, env!("CARGO_PKG_VERSION"));
    let options = ConnectionProperties::default().with_connection_name(name.into());
    let connector = Connection::connector(
        uri,
        runtime,
        async move |uri: AMQPUri, runtime| {
            let stream = AsyncTcpStream::connect(&runtime, found.clone()).await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                let socket = SockRef::from(plain.get_ref());
                socket.set_tcp_nodelay(true)?;
                wire.hold(socket.try_clone()?);
            }
            match &tls {
                Some(tls) => Ok(stream.into_rustls(tls, &uri.authority.host).await?),
                None => Ok(stream),
            }
        },
        options,
    );
    connector.await.map_err(|cause| explain(settings, address, cause))
}

fn uri(settings: &BrokerSettings, address: &Address) -> Result<AMQPUri, BrokerError> {
    let userinfo =
        AMQPUserInfo { username: settings.credentials.user.clone(), password: settings.credentials.password()? };
    Ok(AMQPUri {
        scheme: if address.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority { userinfo, host: address.host.clone(), port: address.port },
        vhost: settings.vhost.clone(),
        query: AMQPQueryString { heartbeat: Some(HEARTBEAT_SECONDS), ..AMQPQueryString::default() },
    })
}

/// With a file, what it holds is trusted and nothing else: a private authority is not one of many.
fn connector(ca_file: Option<&Path>) -> Result<RustlsConnector, BrokerError> {
    let Some(path) = ca_file else {
        let system = RustlsConnectorConfig::new_with_native_certs();
        return system.and_then(RustlsConnectorConfig::connector_with_no_client_auth).map_err(BrokerError::Tls);
    };
    let text = std::fs::read(path).map_err(|cause| BrokerError::File { path: path.to_owned(), cause })?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.unwrap_or_default();
    if certificates.is_empty() {
        return Err(BrokerError::Certificates { path: path.to_owned() });
    }
    let mut config = RustlsConnectorConfig::default();
    config.add_parsable_certificates(certificates);
    config.connector_with_no_client_auth().map_err(BrokerError::Tls)
}

fn explain(settings: &BrokerSettings, address: &Address, cause: lapin::Error) -> BrokerError {
    if let ErrorKind::IOError(io) = cause.kind() {
        let cause = io::Error::new(io.kind(), io.to_string());
        return BrokerError::Unreachable { address: address.clone(), cause };
    }
    let refused = matches!(cause.kind(), ErrorKind::ProtocolError(error) if matches!(
        error.kind(),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) | AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED)
    ));
    if refused {
        let (address, user) = (address.clone(), settings.credentials.user.clone());
        return BrokerError::Refused { address, user, vhost: settings.vhost.clone(), cause: cause.into() };
    }
    BrokerError::Lost(cause)
}

/// The connection told nothing more.
pub(super) fn closed() -> BrokerError {
    lapin::Error::from(ErrorKind::InvalidConnectionState(ConnectionState::Closed)).into()
}

/// When to try again.
pub(super) struct Pauses {
    made: u32,
    since: Option<Instant>,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self { made: 0, since: None }
    }

    pub(super) fn succeeded(&mut self) {
        self.since = Some(Instant::now());
    }

    /// How long to wait now. What held for a while starts again with the shortest pause.
    pub(super) fn next(&mut self) -> Duration {
        if self.since.take().is_some_and(|since| since.elapsed() > LONGEST_PAUSE) {
            self.made = 0;
        }
        let ceiling = FIRST_PAUSE.saturating_mul(1 << self.made.min(10)).min(LONGEST_PAUSE);
        self.made = self.made.saturating_add(1);
        ceiling.mul_f64(f64::from(jitter()) / f64::from(u32::MAX))
    }
}

/// The nodes in turn, for ever. Replicas that start together do not all begin with the same one.
pub(super) fn nodes(settings: &BrokerSettings) -> impl Iterator<Item = &Address> {
    let first = usize::try_from(jitter()).unwrap_or_default().checked_rem(settings.addresses.len());
    settings.addresses.iter().cycle().skip(first.unwrap_or_default())
}

/// What is wrong, for people; said once, not at each attempt.
#[derive(Debug, Default)]
pub(super) struct Problem(Mutex<Option<String>>);

impl Problem {
    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn solved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn is(&self, error: &BrokerError, purpose: &str) {
        let said = chain(error);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() != Some(&said) {
            tracing::warn!(purpose, problem = said, "the broker cannot be used");
            *last = Some(said);
        }
    }
}

/// Uniform over `u32`: the random part of a version 7 id.
fn jitter() -> u32 {
    uuid::Uuid::now_v7().as_fields().3.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_no_further() {
        let mut pauses = Pauses::new();
        for n in 0..40_u32 {
            assert!(pauses.next() <= LONGEST_PAUSE.min(FIRST_PAUSE * (1 << n.min(10))));
        }
    }
}
