//! Gateways, delivers and shards in processes of their own: each kind dies while events arrive.

use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use tests::installation::Installation;
use tests::proxy::Network;
use tests::rabbitmq::RabbitMq;
use tests::redis::Redis;
use tests::traffic::{manifests, notice};
use tests::upstream::{Reply, Upstream};

#[test]
fn no_role_loses_or_overtakes_when_it_dies() {
    let counted = Command::new(env!("CARGO_BIN_EXE_chaos")).args(["--kills", "20"]).output().unwrap();
    let said = String::from_utf8_lossy(&counted.stdout);
    assert!(counted.status.success(), "{said}\n{}", String::from_utf8_lossy(&counted.stderr));
}

/// Makes the networks so that lead from a role to something.
fn set(all: &Installation, from: &str, to: &str, network: Network) {
    let leads = |name: &str| name.starts_with(from) && name.contains(&format!(" to {to}"));
    all.links.iter().filter(|link| leads(&link.name)).for_each(|link| link.set(network));
}

#[test]
fn a_shard_that_cannot_be_told_of_an_attempt_is_told_when_it_answers_again() {
    let (broker, redis) = (RabbitMq::start().unwrap(), Redis::start().unwrap());
    let ((began, begins), (go, goes)) = (channel(), channel::<()>());
    let goes = Mutex::new(Some(goes));
    let receiver = Upstream::start(move |_| match goes.lock().unwrap().take() {
        Some(goes) => {
            began.send(()).unwrap();
            goes.recv().unwrap();
            Reply::Status(503, String::new())
        }
        None => Reply::Status(200, String::new()),
    })
    .unwrap();
    let all = Installation::start(&manifests(receiver.address), &broker, &redis).unwrap();
    all.wait_connected();
    // A shard keeps it, drains it, and is asked by the deliver that then attempts it.
    set(&all, "gateway", "broker", Network::Refuses);
    assert_eq!(notice("491", "a").send(all.gateways[0].address).unwrap().status, 200);
    begins.recv().unwrap();
    set(&all, "deliver", "spool", Network::Refuses);
    go.send(()).unwrap();
    let noticed = || all.delivers.iter().any(|deliver| deliver.printed().contains("a shard does not answer"));
    all.gateways[0].wait_until(noticed);
    set(&all, "deliver", "spool", Network::Whole);
    // A shard has what it drained drained again only after two minutes: longer than is waited here.
    assert_eq!(receiver.wait_for(2).len(), 2);
}
