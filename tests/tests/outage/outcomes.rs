//! Outcomes beside a broker: the request id goes through it, every shard's outcome log is read, lags are measured.

use std::process::Command;

use serde_json::{Value, json};
use tests::gateway::{Gateway, binary};
use tests::installation::Installation;
use tests::rabbitmq::RabbitMq;
use tests::redis::Redis;
use tests::traffic::{HOST, body, manifests, sign};
use tests::upstream::Upstream;

const PHONE: &str = "106540352242922";
const OTHER_PHONE: &str = "209991112223334";

/// Sends an event of a number to acme's source; the request id of its acknowledgement.
fn sent(gateway: &Gateway, phone: &str, id: &str) -> String {
    let body = body(id, &[id.to_owned()]).replace(PHONE, phone);
    let request = tests::client::post(HOST, "/webhooks/whatsapp", body.as_str());
    let answer = request.header("x-hub-signature-256", &sign(&body)).send(gateway.address).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.header("x-request-id").unwrap_or_default().to_owned()
}

/// The outcomes that `events find` reads from all shards.
fn found(all: &Installation, id: &str) -> Vec<Value> {
    let mut command = Command::new(binary().unwrap());
    let ran = command.args(["events", "find", id, "--settings"]).arg(&all.operate).output().unwrap();
    let lines = String::from_utf8(ran.stdout).unwrap();
    let lines = lines.lines().filter_map(|line| serde_json::from_str(line).ok());
    lines.filter(|line: &Value| line["outcome"].is_string()).collect()
}

#[test]
fn outcomes_of_other_processes_are_found_in_the_shards_and_a_tick_measures_each_partition() {
    let (broker, redis) = (RabbitMq::start().unwrap(), Redis::start().unwrap());
    let receiver = Upstream::echo().unwrap();
    let other = manifests(receiver.address).replace("acme", "globex").replace(PHONE, OTHER_PHONE);
    let all = Installation::start(&format!("{}---\n{other}", manifests(receiver.address)), &broker, &redis).unwrap();
    all.wait_connected();

    let gateway = &all.gateways[0];
    let delivered = sent(gateway, PHONE, "wamid.delivered");
    let dead = sent(gateway, OTHER_PHONE, "wamid.dead");
    let received = receiver.wait_for(1);
    assert_eq!(received[0].header("x-request-id"), Some(&*delivered));
    for (id, outcome, request_id) in [("wamid.delivered", "delivered", delivered), ("wamid.dead", "dead", dead)] {
        gateway.wait_until(|| !found(&all, id).is_empty());
        let outcomes = found(&all, id);
        assert_eq!(outcomes.len(), 1, "{outcomes:?}\n{}", all.printed());
        assert_eq!((&outcomes[0]["outcome"], &outcomes[0]["request_id"]), (&json!(outcome), &json!(request_id)));
    }
    let counted = |process: &Gateway| {
        let metrics = process.metrics();
        let is_death = |line: &&str| line.contains("outcome=\"dead\"") && line.contains("reason=\"tenant_mismatch\"");
        metrics.lines().any(|line| line.starts_with("postern_event_outcomes_total") && is_death(&line))
    };
    assert!(all.spools.iter().any(counted), "the shard that has the dead letter counts it");

    let lags = || all.delivers.iter().filter(|one| one.metrics().contains("postern_partition_lag_seconds{")).count();
    gateway.wait_until(|| lags() == all.delivers.len());
    assert_eq!(lags(), all.delivers.len(), "{}", all.printed());
    assert!(all.spools[0].metrics().contains("postern_event_oldest_age_seconds{place=\"shard\"} 0"));
    assert!(all.delivers.iter().all(|one| one.metrics().contains("postern_event_oldest_age_seconds{place=\"held\"}")));
    let unreadable = all.spools.iter().chain(&all.delivers).map(|one| one.events("unreadable") + one.events("damaged"));
    assert_eq!(unreadable.sum::<u64>(), 0, "a tick is no event");
}
