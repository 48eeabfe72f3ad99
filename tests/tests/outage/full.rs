//! A tenant whose destination takes nothing, and gateways that hold no shard.

use std::process::Command;

use tests::client::Answer;
use tests::count::arrivals;
use tests::gateway::{Gateway, binary};
use tests::installation::Installation;
use tests::rabbitmq::RabbitMq;
use tests::redis::Redis;
use tests::traffic::{HOST, body, manifests, sign};
use tests::upstream::{Reply, Upstream};

fn send(gateway: &Gateway, tenant: &str, phone: &str, id: &str) -> Answer {
    let body = body(id, &[id.to_owned()]).replace("106540352242922", phone);
    let request = tests::client::post(&HOST.replace("acme", tenant), "/webhooks/whatsapp", body.as_str());
    request.header("x-hub-signature-256", &sign(&body)).send(gateway.address).unwrap()
}

#[test]
fn a_full_tenant_alone_is_refused_by_a_gateway_in_a_process_of_its_own() {
    let (broker, redis) = (RabbitMq::start().unwrap(), Redis::start().unwrap());
    let (failing, receiver) =
        (Upstream::start(|_| Reply::Status(503, String::new())).unwrap(), Upstream::echo().unwrap());
    let full = manifests(failing.address).replace("  identifiers:", "  ceilings: {pendingBytes: 8Ki}\n  identifiers:");
    let full = full.replace("acme", "globex").replace("106540352242922", "209991112223334");
    let installation =
        Installation::start(&format!("{}---\n{full}", manifests(receiver.address)), &broker, &redis).unwrap();
    installation.wait_connected();
    let mut sent = 0;
    for gateway in &installation.gateways {
        let mut last = None;
        gateway.wait_until(|| {
            sent += 1;
            let answer = send(gateway, "globex", "209991112223334", &format!("x{sent}"));
            let full = answer.status == 503;
            last = Some(answer);
            full
        });
        let last = last.unwrap();
        assert_eq!((last.status, last.reason().as_str()), (503, "pending_full"), "{}", installation.printed());
        assert!(last.header("retry-after").is_some());
        let id = format!("a{}", gateway.address.port());
        assert_eq!(send(gateway, "acme", "106540352242922", &id).status, 200, "its neighbour is served");
    }
    assert_eq!(arrivals(&receiver.wait_for(2)).len(), 2);
    // Both shards hold something of it; dropped, its senders are served again.
    let events = |arguments: &[&str]| {
        let mut command = Command::new(binary().unwrap());
        let ran = command.arg("events").args(arguments).arg("--settings").arg(&installation.operate).output().unwrap();
        let said = [ran.stdout, ran.stderr].concat();
        (ran.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, listed) = events(&["ls", "--tenant", "globex", "--state", "parked"]);
    assert_eq!(code, Some(0), "{listed}");
    assert!(listed.contains("\"shard\":\"spool-0\"") && listed.contains("\"shard\":\"spool-1\""), "{listed}");
    let (code, said) = events(&["drop", "--tenant", "globex", "--yes"]);
    assert!(code == Some(0) && said.contains("dropped"), "{said}");
    let gateway = &installation.gateways[0];
    gateway.wait_until(|| send(gateway, "globex", "209991112223334", "y").status == 200);
    assert_eq!(send(gateway, "globex", "209991112223334", "z").status, 200);
}
