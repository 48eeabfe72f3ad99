//! What a peer that is not authenticated can hold: memory, time, slots and tunnels.

use std::time::Duration;

use tests::attack::frames::{Came, Frames};
use tests::client::{Client, get};
use tests::gateway::Gateway;
use tests::manifests::{config_map, secret, service, tenant};
use tests::upstream::{Reply, Upstream};

use super::{HOST, acme};

/// Longer than any clock of these tests.
const PATIENCE: Duration = Duration::from_secs(20);
const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: \
                       dGhlIHNhbXBsZSBub25jZQ==";

/// Acme with a source at `/hook`, an open route behind it, and so many requests in flight.
fn hooks(upstream: &Upstream, most: u32) -> String {
    let ceilings = format!("  ceilings: {{maxConnections: {most}, maxBodySize: 8Mi}}\n");
    let source = "---
apiVersion: postern.dev/v1alpha1
kind: WebhookSource
metadata: {name: gh, namespace: acme}
spec:
  provider: GitHub
  match: {hostnames: [api.acme.example], path: /hook}
  maxBodySize: 8Mi
  verification: {secretRefs: [{name: gh, key: secret}]}
  destination: {backendRef: {name: adapter, port: 8080}, path: /events}
";
    let route = tests::manifests::route("echo", "/", "");
    [
        tenant("acme", HOST, &ceilings),
        service("acme", "echo", 8080, upstream.address),
        service("acme", "adapter", 8080, upstream.address),
        secret("acme", "gh", "secret", "canary-secret-of-github"),
        route,
        source.to_owned(),
    ]
    .concat()
}

fn start(manifests: &str, arguments: &[&str]) -> Gateway {
    Gateway::start_with(manifests, &[&["--cores", "1"], arguments].concat()).unwrap()
}

fn post(path: &str, length: Option<usize>) -> Vec<(&'static str, String)> {
    let mut fields = vec![
        (":method", "POST".to_owned()),
        (":scheme", "http".to_owned()),
        (":authority", HOST.to_owned()),
        (":path", path.to_owned()),
    ];
    fields.extend(length.map(|length| ("content-length", length.to_string())));
    fields
}

/// Begins a POST over HTTP/2 and leaves it open.
fn begin(gateway: &Gateway, path: &str, bytes: &[u8]) -> Frames {
    let mut frames = Frames::connect(gateway.address, 65_535).unwrap();
    let fields = post(path, None);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    frames.request(1, &fields, false).unwrap();
    frames.data(1, bytes).unwrap();
    frames
}

/// Begins a POST over HTTP/1.1 and leaves it open.
fn begin_http1(gateway: &Gateway, path: &str, length: usize, bytes: &[u8]) -> Client {
    let mut client = Client::connect(gateway.address).unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {length}\r\n\r\n");
    client.send(head.as_bytes()).unwrap();
    client.send(bytes).unwrap();
    client
}

/// Waits for this frame, or for the end.
fn wait_for(frames: &mut Frames, wanted: &Came) -> bool {
    loop {
        match frames.came(PATIENCE) {
            came if came == *wanted => return true,
            Came::Closed | Came::Nothing => return false,
            Came::Head(_) | Came::Data(..) | Came::Reset(_) | Came::GoAway | Came::Other => {}
        }
    }
}

#[test]
fn new_body_is_refused_when_the_budget_is_spent_and_taken_when_there_is_room() {
    let upstream = Upstream::echo().unwrap();
    let gateway = start(&hooks(&upstream, 100), &["--body-memory", "1Mi"]);
    let half = vec![b'x'; 300 * 1024];
    let mut first = begin_http1(&gateway, "/hook", 400 * 1024, &half);
    gateway.wait_until(|| gateway.metric("postern_body_memory_bytes") >= 300 * 1024);

    let mut refused = begin_http1(&gateway, "/hook", 1024, &half[..1024]);
    let answer = refused.answer(false).unwrap();
    assert_eq!((answer.status, answer.reason().as_str()), (503, "overloaded"));
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=8).contains(&seconds), "{seconds}");
    let mut frames = begin(&gateway, "/hook", &half[..1024]);
    assert!(wait_for(&mut frames, &Came::Head(1)), "over HTTP/2 too");
    assert_eq!(gateway.metric("postern_body_memory_refused_total"), 2);
    assert_eq!(get(HOST, "/").send(gateway.address).unwrap().status, 200, "requests without a body are not concerned");

    // The oldest body goes on, ends, and makes room.
    first.send(&half[..100 * 1024]).unwrap();
    assert_eq!(first.answer(false).unwrap().reason(), "signature_missing");
    gateway.wait_until(|| gateway.metric("postern_body_memory_bytes") == 0);
    let mut taken = begin_http1(&gateway, "/hook", 1024, &half[..1024]);
    assert_eq!(taken.answer(false).unwrap().reason(), "signature_missing");
}

#[test]
fn collected_body_has_a_deadline_as_a_whole() {
    let upstream = Upstream::echo().unwrap();
    let gateway = start(&hooks(&upstream, 100), &["--body-timeout", "500ms"]);
    let mut client = begin_http1(&gateway, "/hook", 1000, b"x");
    let answer = client.answer(false).unwrap();
    assert_eq!((answer.status, answer.reason().as_str()), (408, "request_timeout"));
    let mut frames = begin(&gateway, "/hook", b"x");
    assert!(wait_for(&mut frames, &Came::Head(1)), "over HTTP/2 too");
    gateway.wait_until(|| gateway.metric("postern_refusals_total{reason=\"request_timeout\",tenant=\"acme\"}") == 2);
    assert_eq!(gateway.metric("postern_body_memory_bytes"), 0);
}

#[test]
fn open_rule_with_a_schema_collects_within_the_request_timeout() {
    let upstream = Upstream::echo().unwrap();
    let schema =
        "      timeouts: {request: 500ms}\n      requestSchema: {configMapRef: {name: schemas, key: any.json}}";
    let schemas = config_map("acme", "schemas", "any.json", "{\"type\": \"object\"}");
    let gateway = start(&(acme(&upstream, schema) + &schemas), &[]);
    let head = format!("POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n");
    let mut client = Client::connect(gateway.address).unwrap();
    client.send(format!("{head}content-length: 100\r\n\r\n{{").as_bytes()).unwrap();
    assert_eq!(client.answer(false).unwrap().reason(), "request_timeout");
    assert_eq!(upstream.received().len(), 0);
}

#[test]
fn upload_that_stalls_is_ended() {
    let upstream = Upstream::echo().unwrap();
    let gateway = start(&acme(&upstream, ""), &["--stall-timeout", "500ms"]);
    let mut frames = begin(&gateway, "/", b"x");
    assert!(wait_for(&mut frames, &Came::Head(1)));
    let mut client = begin_http1(&gateway, "/", 1000, b"x");
    assert_eq!(client.answer(false).unwrap().reason(), "request_timeout");
}

#[test]
fn response_that_nobody_takes_is_reset_with_its_upstream_connection() {
    let upstream = Upstream::start(|_| Reply::Status(200, "x".repeat(1_000_000))).unwrap();
    let gateway = start(&acme(&upstream, ""), &["--stall-timeout", "500ms"]);
    let mut frames = Frames::connect(gateway.address, 0).unwrap();
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", HOST), (":path", "/large")];
    frames.request(1, &fields, true).unwrap();
    assert!(wait_for(&mut frames, &Came::Reset(1)));
    let line = gateway.wait_printed("\"path\":\"/large\"");
    assert!(line.contains("\"aborted\":true"), "{line}");
}

#[test]
fn connection_without_streams_is_ended() {
    let upstream = Upstream::echo().unwrap();
    let gateway = start(&acme(&upstream, ""), &["--idle-timeout", "500ms", "--stall-timeout", "5s"]);
    let mut frames = Frames::connect(gateway.address, 65_535).unwrap();
    assert!(wait_for(&mut frames, &Came::GoAway));
    assert!(wait_for(&mut frames, &Came::Closed));
    gateway.wait_until(|| gateway.metric("postern_connections_open") == 0);
    assert_eq!(gateway.metric("postern_connections_open"), 0);
}

#[test]
fn requests_that_prove_nothing_hold_no_slot_of_the_tenant() {
    let upstream = Upstream::echo().unwrap();
    let gateway = start(&hooks(&upstream, 1), &[]);
    let slow = [begin_http1(&gateway, "/hook", 1000, b"x"), begin_http1(&gateway, "/hook", 1000, b"x")];
    let over_http2 = begin(&gateway, "/hook", b"x");
    gateway.wait_until(|| gateway.metric("postern_body_memory_bytes") > 0);
    assert_eq!(get(HOST, "/").send(gateway.address).unwrap().status, 200);
    drop((slow, over_http2));
}

#[test]
fn tunnel_holds_its_slots_and_is_closed_after_the_drain_time() {
    let upstream = Upstream::start(|received| match received.line.contains("/socket") {
        true => Reply::Tunnel,
        false => Reply::Status(200, String::new()),
    })
    .unwrap();
    let mut gateway = start(&hooks(&upstream, 1), &["--drain", "1s"]);
    let mut tunnel = Client::connect(gateway.address).unwrap();
    tunnel.send(format!("GET /socket HTTP/1.1\r\nhost: {HOST}\r\n{UPGRADE}\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(tunnel.answer(true).unwrap().status, 101);

    gateway.wait_until(|| gateway.metric("postern_tunnels_open") == 1);
    assert_eq!(gateway.metric("postern_tunnels_open"), 1);
    assert!(gateway.metric("postern_connections_open") >= 1, "its connection counts");
    let refused = get(HOST, "/").send(gateway.address).unwrap();
    assert_eq!((refused.status, refused.reason().as_str()), (503, "overloaded"));

    let _ = gateway.terminate().unwrap();
    assert!(tunnel.closed());
    let line = gateway.wait_printed("connections were cut at the end of the drain");
    assert!(line.contains("\"connections\":1"), "{line}");
}

#[test]
fn refusal_reaches_a_caller_that_is_still_sending() {
    let upstream = Upstream::echo().unwrap();
    let gateway = start(&acme(&upstream, "      maxBodySize: 64Ki"), &[]);
    let body = vec![b'x'; 4 * 1024 * 1024];
    for _ in 0..10 {
        // The whole body is written before a byte of the response is read, as simple clients do.
        let mut client = begin_http1(&gateway, "/", body.len(), &body);
        let answer = client.answer(false).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    }
}

#[test]
fn wrong_signatures_of_one_address_stop_neither_right_ones_nor_open_rules() {
    let upstream = Upstream::echo().unwrap();
    let gateway = start(&hooks(&upstream, 100), &[]);
    let signed = |signature: &str| {
        let signature = signature.to_owned();
        tests::client::post(HOST, "/hook", "{}")
            .header("content-type", "application/json")
            .header("x-github-event", "ping")
            .header("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
            .header("x-hub-signature-256", &signature)
    };
    let mut client = Client::connect(gateway.address).unwrap();
    for _ in 0..150 {
        let refused = signed("sha256=00").send_on(&mut client).unwrap();
        assert_eq!(refused.reason(), "signature_invalid");
    }
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"canary-secret-of-github");
    let tag = ring::hmac::sign(&key, b"{}");
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    tests::client::both(|protocol| {
        let taken = signed(&format!("sha256={hex}")).send(gateway.address).unwrap();
        assert_eq!(taken.status, 200, "{protocol:?}: {}", taken.text());
        assert_eq!(get(HOST, "/").send(gateway.address).unwrap().status, 200);
    });
}
