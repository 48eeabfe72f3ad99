//! Gateways, delivers and spools in processes of their own: each kind dies while events arrive.

use tests::gateway::Gateway;
use tests::installation::Installation;
use tests::rabbitmq::RabbitMq;
use tests::redis::Redis;
use tests::traffic::{Counted, Random, SENDERS, Traffic, count, manifests, sender, settled};

use super::chaos::{outages, receiver, seed};

fn pick<'p>(random: &mut Random, processes: &'p mut [Gateway]) -> &'p mut Gateway {
    let at = usize::try_from(random.below(2)).unwrap();
    processes.get_mut(at).unwrap()
}

#[test]
fn no_role_loses_or_overtakes_when_it_dies() {
    let (broker, mut redis) =
        (RabbitMq::start().unwrap(), Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).unwrap());
    let receiver = receiver();
    let mut all = Installation::start(&manifests(receiver.address), &broker, &redis).unwrap();
    let addresses: Vec<_> = all.gateways.iter().map(|gateway| gateway.address).collect();
    let traffic = Traffic::default();
    let mut died = [0_u64; 5];
    std::thread::scope(|scope| {
        for number in 0..SENDERS {
            let (traffic, addresses) = (&traffic, &addresses);
            let address = addresses.iter().copied().cycle().nth(usize::try_from(number).unwrap()).unwrap();
            scope.spawn(move || sender(number, address, traffic));
        }
        let mut random = Random(seed());
        for _ in 0..outages() / 2 {
            traffic.pass(1 + random.below(40));
            let kind = usize::try_from(random.below(5)).unwrap();
            died[kind] += 1;
            match kind {
                0 => pick(&mut random, &mut all.gateways).restart().unwrap(),
                1 => pick(&mut random, &mut all.delivers).restart().unwrap(),
                2 => {
                    // Its conversations wait with it; everybody else's go on.
                    let spool = pick(&mut random, &mut all.spools);
                    spool.kill();
                    traffic.pass(1 + random.below(30));
                    spool.restart().unwrap();
                }
                3 => {
                    broker.kill();
                    traffic.pass(1 + random.below(30));
                    broker.restart().unwrap();
                }
                _ => {
                    redis.kill();
                    traffic.pass(1 + random.below(10));
                    redis.restart().unwrap();
                }
            }
        }
        traffic.stop();
    });
    let acknowledged = traffic.acknowledged();
    let arrived = settled(&receiver, &acknowledged);
    let counted = count(&acknowledged, &arrived);
    println!(
        "died: gateway, deliver, spool, broker, redis {died:?}; acknowledged {}, attempts {}, {counted:?}",
        acknowledged.values().map(Vec::len).sum::<usize>(),
        arrived.len(),
    );
    let Counted { lost, misordered, changed, repeated: _, degraded: _ } = counted;
    assert_eq!((lost, misordered, changed), (0, 0, 0), "{}\n{}", all.held(), all.printed());
}
