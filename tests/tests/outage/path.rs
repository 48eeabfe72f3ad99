//! One event after the other, and what each part of the path does with it.

use tests::count::arrivals;
use tests::gateway::Gateway;
use tests::installation::settings;
use tests::rabbitmq::RabbitMq;
use tests::redis::Redis;
use tests::traffic::{HOST, body, manifests, sign};
use tests::upstream::{Reply, Upstream};

use super::connected;

/// A gateway that is connected to both; the folder holds its settings.
fn start(manifests: &str, broker: &RabbitMq, redis: &Redis) -> (Gateway, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), broker, Some(redis), "").unwrap();
    let gateway = Gateway::start_with(manifests, &["--settings", &settings]).unwrap();
    connected(&gateway);
    (gateway, folder)
}

fn send(gateway: &Gateway, conversation: &str, ids: &[&str]) -> u16 {
    let ids: Vec<String> = ids.iter().map(|&id| id.to_owned()).collect();
    let body = body(conversation, &ids);
    let request =
        tests::client::post(HOST, "/webhooks/whatsapp", body.as_str()).header("x-hub-signature-256", &sign(&body));
    request.send(gateway.address).unwrap().status
}

#[test]
fn an_event_goes_through_the_broker_once_and_is_told_apart_from_its_repeat() {
    let (broker, redis) = (RabbitMq::start().unwrap(), Redis::start().unwrap());
    let receiver = Upstream::echo().unwrap();
    let (gateway, _folder) = start(&manifests(receiver.address), &broker, &redis);
    gateway
        .wait_until(|| tests::rabbitmq::wait_until(|| broker.consumers("postern.p.0").is_ok_and(|count| count == 1)));
    assert_eq!(send(&gateway, "491", &["a", "b"]), 200);
    let first = receiver.wait_for(2);
    assert_eq!(send(&gateway, "491", &["b", "c"]), 200);
    let all = arrivals(&receiver.wait_for(3));
    assert_eq!(all.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let previous = |at: usize| receiver.received()[at].json()["previous"].as_str().map(str::to_owned);
    assert_eq!((previous(1), previous(2)), (Some(all[0].sequence.clone()), Some(all[1].sequence.clone())));
    assert!(first.iter().all(|one| one.json().get("gap").is_none() && one.json().get("degraded").is_none()));
    assert_eq!((gateway.events("published"), gateway.events("duplicate")), (3, 1));
    let claims = |outcome: &str| gateway.metric(&format!("postern_claims_total{{outcome=\"{outcome}\"}}"));
    assert_eq!((claims("new"), claims("duplicate"), claims("taken_over"), claims("refused_full")), (3, 1, 0, 0));
    assert!(gateway.metric("postern_redis_round_trips_total") >= 2);
    assert!(gateway.metric("postern_redis_bytes_total{direction=\"sent\"}") > 100);
    assert_eq!(gateway.events("spooled"), 0);
}

#[test]
fn a_delivery_that_fails_waits_in_the_shard_and_what_follows_waits_behind_it() {
    let (broker, redis) = (RabbitMq::start().unwrap(), Redis::start().unwrap());
    let failures = std::sync::atomic::AtomicU64::new(0);
    let receiver = Upstream::start(move |_| match failures.fetch_add(1, std::sync::atomic::Ordering::AcqRel) {
        0..3 => Reply::Status(503, String::new()),
        _ => Reply::Status(200, String::new()),
    })
    .unwrap();
    let (gateway, _folder) = start(&manifests(receiver.address), &broker, &redis);
    assert_eq!(send(&gateway, "491", &["a", "b"]), 200);
    let seen = arrivals(&receiver.wait_for(5));
    assert_eq!(seen.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "a", "a", "a", "b"]);
    gateway.wait_until(|| gateway.events("delivered") == 2);
    assert_eq!(gateway.events("delivered"), 2);
}

#[test]
fn without_the_broker_events_are_kept_and_go_when_it_is_back() {
    let (broker, redis) = (RabbitMq::start().unwrap(), Redis::start().unwrap());
    let receiver = Upstream::echo().unwrap();
    let (gateway, _folder) = start(&manifests(receiver.address), &broker, &redis);
    assert_eq!(send(&gateway, "491", &["a"]), 200);
    assert_eq!(receiver.wait_for(1).len(), 1);
    broker.kill();
    assert_eq!(send(&gateway, "491", &["b", "c"]), 200);
    assert_eq!(gateway.events("spooled"), 2);
    broker.restart().unwrap();
    assert_eq!(send(&gateway, "491", &["d"]), 200);
    let seen = arrivals(&receiver.wait_for(4));
    assert_eq!(seen.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
}

#[test]
fn without_redis_events_are_degraded_and_by_themselves_they_are_not_any_more() {
    let (broker, mut redis) = (RabbitMq::start().unwrap(), Redis::start().unwrap());
    let receiver = Upstream::echo().unwrap();
    let (gateway, _folder) = start(&manifests(receiver.address), &broker, &redis);
    redis.kill();
    assert_eq!(send(&gateway, "491", &["a", "b"]), 200);
    let seen = arrivals(&receiver.wait_for(2));
    assert_eq!(seen.iter().map(|one| (one.id.as_str(), one.degraded)).collect::<Vec<_>>(), [("a", true), ("b", true)]);
    redis.restart().unwrap();
    let mut number = 0;
    gateway.wait_until(|| {
        number += 1;
        assert_eq!(send(&gateway, "492", &[&format!("c{number}")]), 200);
        let seen = arrivals(&receiver.wait_for(2 + number));
        seen.last().is_some_and(|last| !last.degraded)
    });
    assert!(arrivals(&receiver.received()).last().is_some_and(|last| !last.degraded));
}

#[test]
fn a_broker_that_takes_nothing_for_now_is_not_waited_for() {
    let (broker, redis) = (RabbitMq::start().unwrap(), Redis::start().unwrap());
    let receiver = Upstream::echo().unwrap();
    let (gateway, _folder) = start(&manifests(receiver.address), &broker, &redis);
    broker.block().unwrap();
    // RabbitMQ says so to who publishes, so the first of these may have been taken.
    let mut number = 0;
    gateway.wait_until(|| {
        number += 1;
        assert_eq!(send(&gateway, "491", &[&format!("a{number}")]), 200);
        gateway.events("spooled") > 0
    });
    assert!(gateway.events("spooled") > 0);
    broker.unblock().unwrap();
    let expected: Vec<String> = (1..=number).map(|number| format!("a{number}")).collect();
    let seen = arrivals(&receiver.wait_for(expected.len()));
    assert_eq!(seen.iter().map(|one| &one.id).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
}

#[test]
fn a_redis_that_forgot_everything_repeats_no_number_and_opens_no_gap() {
    let (broker, redis) = (RabbitMq::start().unwrap(), Redis::start().unwrap());
    let receiver = Upstream::echo().unwrap();
    let (gateway, _folder) = start(&manifests(receiver.address), &broker, &redis);
    assert_eq!(send(&gateway, "491", &["a"]), 200);
    assert_eq!(receiver.wait_for(1).len(), 1);
    redis.flush().unwrap();
    assert_eq!(send(&gateway, "491", &["b", "c"]), 200);
    let received = receiver.wait_for(3);
    let seen = arrivals(&received);
    assert_eq!(seen.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let numbers: Vec<i64> = seen.iter().map(|one| one.sequence.parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    assert!(received.iter().all(|one| one.json().get("gap").is_none()));
}

#[test]
fn a_tenant_whose_destination_hangs_holds_up_nobody_else() {
    let (broker, redis) = (RabbitMq::start().unwrap(), Redis::start().unwrap());
    let (hanging, receiver) = (Upstream::start(|_| Reply::Hang).unwrap(), Upstream::echo().unwrap());
    let other = manifests(hanging.address).replace("acme", "globex").replace("106540352242922", "209991112223334");
    let both = format!("{}---\n{other}", manifests(receiver.address));
    let (gateway, _folder) = start(&both, &broker, &redis);
    let flood = |number: usize| {
        let body = body(&format!("48{number}"), &[format!("x{number}")]).replace("106540352242922", "209991112223334");
        let request = tests::client::post(&HOST.replace("acme", "globex"), "/webhooks/whatsapp", body.as_str());
        request.header("x-hub-signature-256", &sign(&body)).send(gateway.address).unwrap().status
    };
    // More than a tenant may have in flight, and more than a partition hands out.
    for number in 0..600 {
        assert_eq!(flood(number), 200);
    }
    let ids: Vec<String> = (0..20).map(|number| format!("a{number}")).collect();
    for id in &ids {
        assert_eq!(send(&gateway, "491", &[id]), 200);
    }
    let seen = arrivals(&receiver.wait_for(ids.len()));
    assert_eq!(seen.iter().map(|one| &one.id).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
}
