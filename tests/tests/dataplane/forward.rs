//! Attempts, rests and splits.

use std::sync::atomic::{AtomicU64, Ordering};

use tests::client::{Client, both, get, post};
use tests::upstream::{Reply, Upstream};

use super::{HOST, start};

fn failing_first(times: u64) -> Upstream {
    let calls = AtomicU64::new(0);
    Upstream::start(move |_| match calls.fetch_add(1, Ordering::AcqRel) {
        call if call < times => Reply::Status(503, String::new()),
        _ => Reply::Status(200, "at last".to_owned()),
    })
    .unwrap()
}

const RETRY: &str = "      retry: {attempts: 3, codes: [503], backoff: {base: 1ms, max: 2ms}}";

#[test]
fn what_is_idempotent_is_tried_again_and_nothing_else() {
    both(|_| {
        let upstream = failing_first(2);
        let gateway = start(&upstream, RETRY);
        assert_eq!(get(HOST, "/").send(gateway.address).unwrap().text(), "at last");
        assert_eq!(upstream.received().len(), 3);
        let upstream = failing_first(2);
        let gateway = start(&upstream, RETRY);
        assert_eq!(post(HOST, "/", "x").send(gateway.address).unwrap().status, 503);
        assert_eq!(upstream.received().len(), 1);
    });
}

#[test]
fn an_upstream_that_keeps_failing_is_given_a_rest_and_the_fallback_stands_in() {
    both(|_| {
        let upstream = Upstream::start(|_| Reply::Close).unwrap();
        let gateway = start(
            &upstream,
            "      circuitBreaker: {consecutiveFailures: 2, openFor: 60s}
      fallback: {status: 200, contentType: application/json, body: '{\"degraded\": true}'}",
        );
        for _ in 0..5 {
            let answer = get(HOST, "/").send(gateway.address).unwrap();
            assert_eq!((answer.status, answer.text().as_str()), (200, "{\"degraded\": true}"));
        }
        let tried = upstream.received().len();
        assert!(tried < 5, "{tried} attempts: the breaker should have opened after two failures");
        let breakers = get("localhost", "/breakers").send_http1(gateway.admin).unwrap().text();
        assert!(breakers.contains("\"open\""), "{breakers}");
        let logged = gateway.wait_printed("circuit breaker opened");
        assert!(logged.contains("acme/echo"), "{logged}");
    });
}

#[test]
fn an_answer_that_does_not_come_is_a_timeout() {
    both(|_| {
        let upstream = Upstream::start(|_| Reply::Hang).unwrap();
        let gateway = start(&upstream, "      timeouts: {request: 200ms}");
        let answer = get(HOST, "/").send(gateway.address).unwrap();
        assert_eq!((answer.status, answer.reason().as_str()), (504, "upstream_timeout"));
    });
}

#[test]
fn a_websocket_passes_in_both_directions() {
    let switched =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nhello".to_vec();
    let upstream = Upstream::start(move |_| Reply::Raw(switched.clone())).unwrap();
    let gateway = start(&upstream, "");
    let mut client = Client::connect(gateway.address).unwrap();
    let asked = get(HOST, "/ws").header("connection", "upgrade").header("upgrade", "websocket");
    client.send(&asked.bytes()).unwrap();
    let answer = client.answer(true).unwrap();
    assert_eq!((answer.status, answer.header("upgrade")), (101, Some("websocket")));
    assert_eq!(client.raw(5).unwrap(), b"hello");
}

#[test]
fn attempts_count_by_route_and_outcome_and_a_refusal_of_the_breaker_is_none() {
    both(|_| {
        let upstream = Upstream::start(|received| match received.line.split(' ').nth(1) {
            Some("/500") => Reply::Status(500, String::new()),
            Some("/close") => Reply::Close,
            _ => Reply::Status(204, String::new()),
        })
        .unwrap();
        let gateway = start(&upstream, "      circuitBreaker: {consecutiveFailures: 3, openFor: 600s}");
        let statuses: Vec<u16> = ["/", "/500", "/500", "/close", "/", "/"]
            .iter()
            .map(|path| get(HOST, path).send(gateway.address).unwrap().status)
            .collect();
        assert_eq!(statuses, [204, 500, 500, 502, 503, 503]);
        gateway.wait_until(|| gateway.printed().matches("breaker_open").count() >= 2);
        let metrics = gateway.metrics();
        let attempts: Vec<&str> = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("postern_upstream_attempts_total{outcome=\"")?.split_once('"'))
            .map(|(outcome, rest)| {
                assert!(rest.starts_with(",route=\"acme/echo\",tenant=\"acme\",upstream="), "{rest}");
                outcome
            })
            .collect();
        assert_eq!(attempts, ["2xx", "5xx", "upstream_failed"]);
        let total: u64 = metrics
            .lines()
            .filter(|line| line.starts_with("postern_upstream_attempts_total{"))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum();
        assert_eq!(total, 4);
        let line = gateway.wait_printed("\"path\":\"/close\"");
        assert!(line.contains("\"detail\":") && line.contains("\"upstream_us\":"), "{line}");
    });
}
