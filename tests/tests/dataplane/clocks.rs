//! Clocks of requests and responses: what they bound, and what the log says when they end something.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, Sender, channel};

use tests::client::{Client, get};
use tests::gateway::Gateway;
use tests::manifests::{route, service, tenant};

use super::HOST;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// An upstream that answers one request with a stream, piece by piece, as the test sends pieces; it closes the
/// connection when the test drops its end.
struct Streaming {
    address: SocketAddr,
    pieces: Sender<&'static [u8]>,
}

impl Streaming {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (pieces, to_send): (_, Receiver<&'static [u8]>) = channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).unwrap();
            for piece in to_send {
                stream.write_all(piece).unwrap();
            }
        });
        Self { address, pieces }
    }

    fn gateway(&self, rule: &str) -> Gateway {
        let manifests = tenant("acme", HOST, "") + &service("acme", "echo", 8080, self.address);
        Gateway::start_with(&(manifests + &route("echo", "/", rule)), &["--cores", "1"]).unwrap()
    }
}

/// The access log's line of a path.
fn line(gateway: &Gateway, path: &str) -> serde_json::Value {
    let line = gateway.wait_printed(&format!("\"path\":\"{path}\""));
    serde_json::from_str(&line).unwrap()
}

#[test]
fn response_that_the_upstream_cuts_is_logged_and_counted_with_its_reason() {
    let upstream = Streaming::start();
    let gateway = upstream.gateway("");
    let mut client = Client::connect(gateway.address).unwrap();
    client.send(&get(HOST, "/dies").bytes()).unwrap();
    upstream.pieces.send(HEAD).unwrap();
    upstream.pieces.send(b"4\r\nbeat\r\n").unwrap();
    drop(upstream);
    assert!(client.answer(false).is_err(), "the caller must not take it for the end");
    let line = line(&gateway, "/dies");
    assert_eq!((line["status"].as_u64(), line["reason"].as_str()), (Some(200), Some("upstream_failed")), "{line}");
    assert_eq!(line["aborted"].as_bool(), Some(true), "{line}");
    assert_eq!(gateway.metric("postern_refusals_total{reason=\"upstream_failed\",tenant=\"acme\"}"), 1);
}

#[test]
fn request_timeout_ends_with_the_response_head() {
    let upstream = Streaming::start();
    let gateway = upstream.gateway("      timeouts: {request: 300ms}");
    let mut client = Client::connect(gateway.address).unwrap();
    client.send(&get(HOST, "/beat").bytes()).unwrap();
    upstream.pieces.send(HEAD).unwrap();
    // The pauses are the subject here: together they are longer than `timeouts.request`.
    for _ in 0..4 {
        std::thread::sleep(std::time::Duration::from_millis(150));
        upstream.pieces.send(b"4\r\nbeat\r\n").unwrap();
    }
    upstream.pieces.send(b"0\r\n\r\n").unwrap();
    assert_eq!(client.answer(false).unwrap().text(), "beat".repeat(4));
}

#[test]
fn stream_timeout_ends_a_response_that_still_moves() {
    let upstream = Streaming::start();
    let gateway = upstream.gateway("      timeouts: {request: 200ms, stream: 400ms}");
    let mut client = Client::connect(gateway.address).unwrap();
    client.send(&get(HOST, "/long").bytes()).unwrap();
    upstream.pieces.send(HEAD).unwrap();
    upstream.pieces.send(b"4\r\nbeat\r\n").unwrap();
    assert!(client.answer(false).is_err(), "the response is cut");
    let line = line(&gateway, "/long");
    assert_eq!(line["reason"].as_str(), Some("upstream_timeout"), "{line}");
}
