//! What the upstream did not answer is kept, whole and without secrets, and its caller is told.

use std::process::Command;

use serde_json::{Value, json};
use tests::client::{Answer, both, get, post, request};
use tests::gateway::{Gateway, binary, free_address};
use tests::manifests::{route, service, tenant};
use tests::upstream::{Reply, Upstream};

use super::{HOST, acme, start};

const KEEP: &str = "      onFailure: {type: DeadLetter, maxBodySize: 64Ki}";

fn kept(answer: &Answer) -> Option<&str> {
    answer.header("postern-dead-letter")
}

fn dead(gateway: &Gateway) -> Vec<Value> {
    let listed = get("localhost", "/events?state=dead").send_http1(gateway.admin).unwrap().json();
    listed.get("events").unwrap().as_array().unwrap().clone()
}

fn shown(gateway: &Gateway, listed: &Value) -> Value {
    let row = listed.get("row").unwrap();
    let shown = get("localhost", &format!("/events/{row}")).send_http1(gateway.admin).unwrap().json();
    shown.get("event").unwrap().clone()
}

/// `postern events` on the gateway's data: whether it went well, and what it said.
fn events(gateway: &Gateway, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(binary().unwrap());
    let ran = command.arg("events").args(arguments).arg("--data").arg(gateway.data()).output().unwrap();
    let said = [ran.stdout, ran.stderr].concat();
    (ran.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_request_that_fails_is_kept_with_its_body_and_without_its_secrets() {
    both(|_| {
        let upstream = Upstream::start(|_| Reply::Close).unwrap();
        let gateway = start(&upstream, KEEP);
        let answer = post(HOST, "/orders?dry=1", r#"{"amount": 1.50}"#)
            .header("content-type", "application/json")
            .header("authorization", "Bearer canary-token")
            .header("cookie", "session=canary-cookie")
            .header("x-api-key", "canary-key")
            .send(gateway.address)
            .unwrap();
        assert_eq!((answer.status, answer.reason().as_str(), kept(&answer)), (502, "upstream_failed", Some("kept")));
        let listed = dead(&gateway);
        let [one] = listed.as_slice() else { panic!("{listed:?}") };
        assert_eq!((&one["source"], &one["reason"]), (&json!("Route acme/echo"), &json!("upstream_failed")));
        let event = shown(&gateway, one);
        assert_eq!(event["type"], "postern.request.failed");
        assert_eq!(event["source"], "/namespaces/acme/routes/echo");
        let data = &event["data"];
        let said = (&data["method"], &data["host"], &data["target"], &data["body"], &data["attempts"]);
        let wanted = (&json!("POST"), &json!(HOST), &json!("/orders?dry=1"), &json!({"amount": 1.5}), &json!(1));
        assert_eq!(said, wanted, "{data:#}");
        assert_eq!(data["headers"], json!({"content-type": "application/json"}));
        let (well, printed) = events(&gateway, &["ls", "--state", "dead", "--source", "Route acme/echo"]);
        assert!(well && printed.lines().count() == 1, "{printed}");
        for told in [event.to_string(), printed, gateway.printed()] {
            assert!(!told.contains("canary"), "a secret is shown: {told}");
        }
    });
}

#[test]
fn the_fallback_and_an_upstreams_own_503_are_answered_as_ever_and_kept() {
    both(|_| {
        let upstream = Upstream::start(|_| Reply::Hang).unwrap();
        let fallback = "      fallback: {status: 202, body: '{}'}\n      timeouts: {request: 200ms}";
        let gateway = start(&upstream, &format!("{KEEP}\n{fallback}"));
        let answer = post(HOST, "/", "not json").send(gateway.address).unwrap();
        assert_eq!((answer.status, answer.text().as_str(), kept(&answer)), (202, "{}", Some("kept")));
        let event = shown(&gateway, &dead(&gateway)[0]);
        assert_eq!((&event["data"]["bodyBase64"], event["data"].get("body")), (&json!("bm90IGpzb24="), None));
        let upstream = Upstream::start(|_| Reply::Status(503, "full".to_owned())).unwrap();
        let gateway = start(&upstream, KEEP);
        let answer = request("DELETE", HOST, "/orders/1").send(gateway.address).unwrap();
        assert_eq!((answer.status, answer.text().as_str(), kept(&answer)), (503, "full", Some("kept")));
        let event = shown(&gateway, &dead(&gateway)[0]);
        assert_eq!((&event["data"]["status"], &event["data"]["method"]), (&json!(503), &json!("DELETE")));
    });
}

#[test]
fn a_body_of_which_nothing_was_sent_is_kept_whole() {
    both(|_| {
        let nobody = free_address().unwrap();
        let manifests = tenant("acme", HOST, "") + &service("acme", "echo", 8080, nobody) + &route("echo", "/", KEEP);
        let gateway = Gateway::start(&manifests).unwrap();
        let body = json!({"text": "x".repeat(60_000)});
        let answer = post(HOST, "/", body.to_string()).send(gateway.address).unwrap();
        assert_eq!((answer.status, kept(&answer)), (502, Some("kept")));
        assert_eq!(shown(&gateway, &dead(&gateway)[0])["data"]["body"], body);
    });
}

#[test]
fn what_succeeds_is_refused_or_only_reads_is_not_kept() {
    both(|_| {
        let upstream = Upstream::start(|one| match one.body.as_slice() {
            b"500" => Reply::Status(500, String::new()),
            _ if one.line.starts_with("GET ") => Reply::Close,
            _ => Reply::Status(200, String::new()),
        })
        .unwrap();
        let gateway = start(&upstream, &format!("{KEEP}\n      maxBodySize: 1Ki"));
        for (answer, status) in [
            (post(HOST, "/", "x").send(gateway.address).unwrap(), 200),
            (post(HOST, "/", "500").send(gateway.address).unwrap(), 500),
            (get(HOST, "/").send(gateway.address).unwrap(), 502),
            (post(HOST, "/", "x".repeat(2000)).send(gateway.address).unwrap(), 413),
        ] {
            assert_eq!((answer.status, kept(&answer)), (status, None));
        }
        assert_eq!(dead(&gateway), Vec::<Value>::new());
    });
}

#[test]
fn a_repeat_with_the_same_key_is_kept_once_and_every_other_request_for_itself() {
    both(|_| {
        let upstream = Upstream::start(|_| Reply::Close).unwrap();
        let gateway = start(&upstream, KEEP);
        let send = |target: &str, key: Option<&str>| {
            let one = post(HOST, target, "{}");
            let answer = match key {
                Some(key) => one.header("idempotency-key", key).send(gateway.address).unwrap(),
                None => one.send(gateway.address).unwrap(),
            };
            assert_eq!(kept(&answer), Some("kept"));
        };
        for _ in 0..2 {
            send("/a", Some("k-1"));
        }
        assert_eq!(dead(&gateway).len(), 1);
        assert_eq!(shown(&gateway, &dead(&gateway)[0])["data"]["headers"]["idempotency-key"], "k-1");
        send("/b", Some("k-1"));
        send("/a", Some("k-2"));
        send("/a", None);
        send("/a", None);
        assert_eq!(dead(&gateway).len(), 5);
    });
}

#[test]
fn a_body_over_the_cap_passes_whole_and_is_not_kept() {
    both(|_| {
        let upstream = Upstream::start(|_| Reply::Status(503, String::new())).unwrap();
        let gateway = start(&upstream, KEEP);
        for length in [64 * 1024, 64 * 1024 + 1, 900_000] {
            let answer = post(HOST, "/", vec![b'7'; length]).send(gateway.address).unwrap();
            let said = if length > 64 * 1024 { "too_large" } else { "kept" };
            assert_eq!((answer.status, kept(&answer)), (503, Some(said)), "{length}");
            assert!(upstream.received().iter().any(|one| one.body.len() == length), "{length}");
        }
        assert_eq!(dead(&gateway).len(), 1);
    });
}

#[test]
fn a_full_tenant_is_told_that_nothing_is_kept() {
    both(|_| {
        let upstream = Upstream::start(|_| Reply::Close).unwrap();
        let full = tenant("acme", HOST, "  ceilings: {pendingBytes: 4Ki}\n");
        let manifests = acme(&upstream, KEEP).replace(&tenant("acme", HOST, ""), &full);
        let gateway = Gateway::start(&manifests).unwrap();
        let answer = post(HOST, "/", vec![b'7'; 5000]).send(gateway.address).unwrap();
        assert_eq!((answer.status, kept(&answer)), (502, Some("not_kept")));
        assert_eq!(dead(&gateway), Vec::<Value>::new());
    });
}

#[test]
fn a_request_is_never_replayed_and_can_be_dropped() {
    both(|_| {
        let upstream = Upstream::start(|_| Reply::Close).unwrap();
        let gateway = start(&upstream, KEEP);
        assert_eq!(kept(&post(HOST, "/", "{}").send(gateway.address).unwrap()), Some("kept"));
        let tried = upstream.received().len();
        let refused = post("localhost", "/events/replay?tenant=acme", "").send_http1(gateway.admin).unwrap();
        assert!(refused.status == 409 && refused.text().contains("not replayed"), "{}", refused.text());
        let (well, said) = events(&gateway, &["replay", "--tenant", "acme"]);
        assert!(!well && said.contains("not replayed"), "{said}");
        assert_eq!((dead(&gateway).len(), upstream.received().len()), (1, tried));
        let dropped = request("DELETE", "localhost", "/events?tenant=acme").send_http1(gateway.admin).unwrap();
        assert_eq!(dropped.json()["events"], 1, "{}", dropped.text());
        assert_eq!(dead(&gateway), Vec::<Value>::new());
    });
}
