//! Outcomes: what becomes of every entry and attempt stands in a log line, a metric and the outcome log.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tests::client::{both, get};
use tests::gateway::{Gateway, binary};
use tests::upstream::{Reply, Upstream};

use super::webhook::{manifests, message, send};

/// The log line of an event with this outcome; null when patience ends.
fn line(gateway: &Gateway, outcome: &str, id: &str) -> Value {
    let wanted = |line: &Value| line["fields"]["outcome"] == outcome && line["fields"]["id"] == id;
    let lines = || gateway.printed().lines().filter_map(|line| serde_json::from_str(line).ok()).find(wanted);
    gateway.wait_until(|| lines().is_some());
    lines().map(|mut line: Value| line["fields"].take()).unwrap_or_default()
}

fn find(gateway: &Gateway, id: &str) -> Output {
    let mut command = Command::new(binary().unwrap());
    command.args(["events", "find", id, "--data"]).arg(gateway.data());
    command.output().unwrap()
}

/// The outcomes that `events find` prints, when there are so many.
fn found(gateway: &Gateway, id: &str, count: usize) -> Vec<Value> {
    let read = || -> Vec<Value> {
        let text = String::from_utf8(find(gateway, id).stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .filter(|line: &Value| line["outcome"] != Value::Null)
            .collect()
    };
    gateway.wait_until(|| read().len() >= count);
    read()
}

#[test]
fn entry_that_dies_at_accept_has_a_line_a_count_and_a_row_in_the_outcome_log() {
    both(|_| {
        let (acme, globex) = (Upstream::echo().unwrap(), Upstream::echo().unwrap());
        let gateway = Gateway::start(&manifests(&acme, &globex)).unwrap();
        let answer = send(&gateway, &[message("111", "wamid.a"), message("999", "wamid.x"), message("998", "wamid.y")]);
        assert_eq!(answer.status, 200);
        let request_id = answer.header("x-request-id").unwrap_or_default().to_owned();

        let dead = line(&gateway, "dead", "wamid.x");
        assert_eq!((&dead["reason"], &dead["request_id"]), (&json!("unclaimed"), &json!(request_id)), "{dead}");
        assert_eq!((&dead["tenant"], &dead["source"]), (&json!("platform"), &json!("platform/meta")), "{dead}");

        let access = gateway.wait_printed("entries_refused");
        let access: Value = serde_json::from_str(&access).unwrap();
        assert_eq!((&access["entries_refused"], &access["request_id"]), (&json!(["unclaimed"]), &json!(request_id)));

        let count = "postern_event_outcomes_total{outcome=\"dead\",reason=\"unclaimed\",source=\"platform/meta\",tenant=\"platform\"}";
        gateway.wait_until(|| gateway.metric(count) == 2);
        assert_eq!(gateway.metric(count), 2, "{}", gateway.metrics());

        let outcomes = found(&gateway, "wamid.x", 1);
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        assert_eq!((&outcomes[0]["outcome"], &outcomes[0]["reason"]), (&json!("dead"), &json!("unclaimed")));
        assert_eq!(outcomes[0]["request_id"], json!(request_id));
        let nowhere = find(&gateway, "wamid.never");
        assert_eq!(nowhere.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&nowhere.stderr).contains("event wamid.never is not known here since 20"));
    });
}

#[test]
fn delivery_carries_the_request_id_that_was_answered_and_so_does_every_line_of_the_event() {
    both(|_| {
        let tries = std::sync::atomic::AtomicUsize::new(0);
        let acme = Upstream::start(move |_| {
            let first = tries.fetch_add(1, std::sync::atomic::Ordering::AcqRel) == 0;
            Reply::Status(if first { 500 } else { 200 }, String::new())
        });
        let (acme, globex) = (acme.unwrap(), Upstream::start(|_| Reply::Status(410, String::new())).unwrap());
        let gateway = Gateway::start(&manifests(&acme, &globex)).unwrap();
        let answer = send(&gateway, &[message("111", "wamid.a"), message("222", "wamid.g")]);
        let request_id = answer.header("x-request-id").unwrap_or_default().to_owned();
        assert_eq!((answer.status, request_id.len()), (200, 36));

        let received = acme.wait_for(2);
        assert!(received.iter().all(|one| one.header("x-request-id") == Some(&*request_id)), "{received:?}");
        let lines = [
            (line(&gateway, "retried", "wamid.a"), "answered_5xx", 500),
            (line(&gateway, "dead", "wamid.g"), "gone", 410),
        ];
        for (line, reason, status) in lines {
            assert_eq!((&line["reason"], &line["status"]), (&json!(reason), &json!(status)), "{line}");
            assert_eq!(line["request_id"], json!(request_id), "{line}");
        }
        let delivered = line(&gateway, "delivered", "wamid.a");
        assert_eq!((&delivered["attempts"], &delivered["request_id"]), (&json!(2), &json!(request_id)), "{delivered}");

        let outcomes = found(&gateway, "wamid.a", 2);
        let words: Vec<&Value> = outcomes.iter().map(|outcome| &outcome["outcome"]).collect();
        assert_eq!(words, ["retried", "delivered"], "{outcomes:?}");
        assert!(outcomes.iter().all(|outcome| outcome["request_id"] == json!(request_id)), "{outcomes:?}");
    });
}

#[test]
fn event_held_back_without_an_attempt_counts_as_parked_once() {
    both(|_| {
        let (acme, globex) =
            (Upstream::start(|_| Reply::Status(500, String::new())).unwrap(), Upstream::echo().unwrap());
        let gateway = Gateway::start(&manifests(&acme, &globex)).unwrap();
        let dead = || gateway.events("dead_out_of_attempts");
        // Two failed attempts each; the breaker of the destination opens, and what comes then is held back.
        for id in 0..40 {
            assert_eq!(send(&gateway, &[message("111", &format!("wamid.{id}"))]).status, 200);
        }
        gateway.wait_until(|| gateway.events("parked") > 0);
        assert!(gateway.events("parked") > 0 && dead() < 40, "{}", gateway.metrics());
        let parked = "postern_event_outcomes_total{outcome=\"parked\",reason=\"breaker_open\",source=\"acme/whatsapp\",tenant=\"acme\"}";
        assert!(gateway.metric(parked) > 0, "{}", gateway.metrics());
    });
}

#[test]
fn dead_letter_lists_where_the_event_does_not_fit_its_schema() {
    both(|_| {
        let dead = |gateway: &Gateway| {
            get("localhost", "/events?state=dead").send_http1(gateway.admin).unwrap().json()["events"][0].clone()
        };
        let upstream = Upstream::echo().unwrap();
        let gateway =
            super::schema::source(&upstream, "Generic", "", r#"{"properties": {"customer": {"type": "string"}}}"#);
        let answer = super::schema::deliver(&gateway, &json!({"id": "e-1", "customer": 7}));
        assert_eq!(answer.status, 200);
        let letter = dead(&gateway);
        assert_eq!(letter["reason"], "schema_invalid", "{letter}");
        let violation = &letter["violations"][0];
        assert!(violation["pointer"].is_string() && violation["expected"].is_string(), "{letter}");
    });
}
