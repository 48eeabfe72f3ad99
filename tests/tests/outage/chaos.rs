//! Everything dies, again and again, while events arrive.

use tests::count::{Counted, count, settled};
use tests::gateway::Gateway;
use tests::installation::settings;
use tests::rabbitmq::RabbitMq;
use tests::redis::Redis;
use tests::traffic::{Random, SENDERS, Traffic, manifests, receiver, sender};

use super::connected;

/// How often something dies; `POSTERN_OUTAGES` asks for more.
fn outages() -> u64 {
    std::env::var("POSTERN_OUTAGES").ok().and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// What chooses who dies; `POSTERN_SEED` asks for another run.
fn seed() -> u64 {
    std::env::var("POSTERN_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_124)
}

#[test]
fn no_acknowledged_event_is_lost_or_overtaken_whatever_dies() {
    let (broker, mut redis) =
        (RabbitMq::start().unwrap(), Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).unwrap());
    let receiver = receiver().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path(), &broker, Some(&redis), "").unwrap();
    let arguments = ["--cores", "2", "--settings", &settings];
    let mut gateway = Gateway::start_with(&manifests(receiver.address), &arguments).unwrap();
    // A node that is killed seconds after its first declarations may forget them; one clean restart keeps them.
    connected(&gateway);
    broker.stop();
    broker.restart().unwrap();
    let address = gateway.address;
    let traffic = Traffic::default();
    let mut died = [0_u64; 4];
    std::thread::scope(|scope| {
        for number in 0..SENDERS {
            let traffic = &traffic;
            scope.spawn(move || sender(number, address, traffic));
        }
        let mut random = Random(seed());
        for _ in 0..outages() {
            traffic.pass(1 + random.below(40));
            match random.below(8) {
                0 => {
                    died[0] += 1;
                    broker.kill();
                    // Some are kept by the shard before the broker is back, some after.
                    traffic.pass(1 + random.below(30));
                    broker.restart().unwrap();
                }
                1 => {
                    died[1] += 1;
                    redis.kill();
                    traffic.pass(1 + random.below(10));
                    redis.restart().unwrap();
                }
                2 => {
                    died[2] += 1;
                    broker.close_connections().unwrap();
                }
                _ => {
                    died[3] += 1;
                    gateway.restart().unwrap();
                    // Half of them die before they reach the broker, half while they take from it.
                    if random.below(2) == 0 {
                        connected(&gateway);
                    }
                }
            }
        }
        traffic.stop();
    });
    let acknowledged = traffic.acknowledged();
    let arrived = settled(&receiver, &acknowledged);
    let counted = count(&acknowledged, &arrived);
    println!(
        "died: broker, redis, connections, gateway {died:?}; acknowledged {}, attempts {}, {counted:?}, drained {}",
        acknowledged.values().map(Vec::len).sum::<usize>(),
        arrived.len(),
        gateway.events("drained"),
    );
    let Counted { lost, misordered, changed, .. } = counted;
    assert_eq!((lost, misordered, changed), (0, 0, 0), "{}", gateway.printed());
}
