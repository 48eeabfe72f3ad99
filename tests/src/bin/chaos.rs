//! An installation of two gateways, two delivers and two shards with a real RabbitMQ and a real Redis: each dies at random
//! while events arrive, and then everything is counted. `chaos OUTAGES SEED`; ends with 1 when something was lost,
//! misordered, or came again under another number.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "it ends by panicking when it cannot go on, and says what it counted"
)]

use std::process::ExitCode;

use tests::gateway::Gateway;
use tests::installation::Installation;
use tests::rabbitmq::RabbitMq;
use tests::redis::Redis;
use tests::traffic::{Counted, Random, SENDERS, Traffic, count, manifests, receiver, sender, settled};

fn pick<'p>(random: &mut Random, processes: &'p mut [Gateway]) -> &'p mut Gateway {
    let at = usize::try_from(random.below(2)).unwrap();
    processes.get_mut(at).unwrap()
}

/// A Redis that loses nothing it has acknowledged when it is killed.
fn servers() -> (RabbitMq, Redis) {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    (RabbitMq::start().unwrap(), Redis::start_with(&durable).unwrap())
}

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse::<u64>().ok());
    let (outages, seed) = (numbers.next().unwrap_or(20), numbers.next().unwrap_or(20_261_125));
    println!("outages {outages}, seed {seed}");
    let (broker, mut redis) = servers();
    let receiver = receiver().unwrap();
    let mut all = Installation::start(&manifests(receiver.address), &broker, &redis).unwrap();
    // A node that is killed seconds after its first declarations may forget them; one clean restart keeps them.
    all.wait_connected();
    broker.stop();
    broker.restart().unwrap();
    let addresses: Vec<_> = all.gateways.iter().map(|gateway| gateway.address).collect();
    let traffic = Traffic::default();
    let mut died = [0_u64; 5];
    std::thread::scope(|scope| {
        for number in 0..SENDERS {
            let (traffic, addresses) = (&traffic, &addresses);
            let address = addresses.iter().copied().cycle().nth(usize::try_from(number).unwrap()).unwrap();
            scope.spawn(move || sender(number, address, traffic));
        }
        let mut random = Random(seed);
        for _ in 0..outages {
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
    if (lost, misordered, changed) == (0, 0, 0) {
        return ExitCode::SUCCESS;
    }
    println!("what the shards hold:\n{}", all.held());
    ExitCode::FAILURE
}
