//! How long a connection may rest, and what is no rest.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Instant;

use http_body_util::Full;

use super::*;

/// Shorter than anything below that must not be cut by it.
const REST: Duration = Duration::from_secs(1);
/// Long enough for the sweep to have come by.
const LONGER: Duration = Duration::from_millis(2500);

/// Answers at once, or after a while when the path says so.
struct Slow;

impl App for Slow {
    type Core = Self;

    fn core(&self, _: Ticks) -> Rc<Self> {
        Rc::new(Self)
    }
}

impl Serve for Slow {
    type Body = Full<Bytes>;

    async fn answer(self: Rc<Self>, inbound: Inbound) -> Response<Self::Body> {
        if inbound.request.uri().path() == "/slow" {
            tokio::time::sleep(LONGER).await;
        }
        Response::new(Full::default())
    }

    fn tick(&self) {}
}

fn count(name: &str) -> ConnectionCounts {
    let gauge = prometheus::IntGauge::new(name, "of a test").unwrap();
    let counter = || prometheus::IntCounter::new(name, "of a test").unwrap();
    ConnectionCounts { open: gauge, accepted: counter(), refused: counter() }
}

/// A listener, and a connection to it.
fn started() -> (Listener, BufReader<TcpStream>) {
    let settings = ListenerSettings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        cores: 1,
        max_connections: 10,
        max_connections_per_address: 10,
        // No head timeout: what ends a connection before its first request is not time.
        http: HttpLimits { idle_timeout: REST, head_timeout: Duration::from_secs(3600), ..HttpLimits::default() },
        hops: TrustedHops::default(),
    };
    let listener = Listener::start(&settings, &Arc::new(Slow), &Arc::default(), count("connections")).unwrap();
    let stream = TcpStream::connect(listener.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    (listener, BufReader::new(stream))
}

/// The first line of the answer to a GET; empty when there is none.
fn ask(stream: &mut BufReader<TcpStream>, path: &str) -> String {
    let head = format!("GET {path} HTTP/1.1\r\nhost: a.example\r\n\r\n");
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    let (mut first, mut line) = (String::new(), String::from("-"));
    stream.read_line(&mut first).unwrap();
    while !line.trim().is_empty() {
        line.clear();
        stream.read_line(&mut line).unwrap();
    }
    first.trim_end().to_owned()
}

#[test]
fn a_connection_in_steady_use_is_not_at_rest() {
    let (_listener, mut stream) = started();
    let until = Instant::now() + LONGER;
    while Instant::now() < until {
        assert_eq!(ask(&mut stream, "/"), "HTTP/1.1 200 OK");
    }
}

#[test]
fn a_connection_whose_request_is_being_answered_is_not_at_rest() {
    let (_listener, mut stream) = started();
    assert_eq!(ask(&mut stream, "/slow"), "HTTP/1.1 200 OK");
    assert_eq!(ask(&mut stream, "/"), "HTTP/1.1 200 OK", "its rest begins with the end of the answer");
}

#[test]
fn a_connection_at_rest_is_closed() {
    let (_listener, mut stream) = started();
    assert_eq!(ask(&mut stream, "/"), "HTTP/1.1 200 OK");
    let mut rest = String::new();
    assert_eq!(stream.read_line(&mut rest).unwrap(), 0, "the other side closes it");
}

#[test]
fn a_peer_that_hangs_up_within_its_first_bytes_is_gone_at_once() {
    for bytes in [&b""[..], b"P", b"PR", b"PRI"] {
        let (_listener, mut stream) = started();
        stream.get_mut().write_all(bytes).unwrap();
        stream.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(stream.read_line(&mut String::new()).unwrap(), 0, "{bytes:?}");
    }
}

#[test]
fn a_peer_that_speaks_tls_is_closed() {
    let (_listener, mut stream) = started();
    stream.get_mut().write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).unwrap();
    assert_eq!(stream.read_line(&mut String::new()).unwrap_or_default(), 0);
}
