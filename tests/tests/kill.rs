//! The gateway is killed again and again while events arrive; then everything is counted.
//!
//! What must hold: an event that got its 2xx is delivered (lost = 0), in the order of its conversation
//! (misordered = 0), and a repeat carries the same event id and number.

#![expect(clippy::print_stdout, reason = "the test says what it counted")]

use tests::count::{Counted, count, settled};
use tests::gateway::Gateway;
use tests::traffic::{CONVERSATIONS_PER_SENDER, Random, SENDERS, Traffic, manifests, receiver, sender};

/// How often the gateway is killed; `POSTERN_KILLS` asks for more.
fn kills() -> u64 {
    std::env::var("POSTERN_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

#[test]
fn no_acknowledged_event_is_lost_or_overtaken_whenever_the_gateway_is_killed() {
    let receiver = receiver().unwrap();
    let mut gateway = Gateway::start_with(&manifests(receiver.address), &["--cores", "2"]).unwrap();
    let address = gateway.address;
    let traffic = Traffic::default();
    std::thread::scope(|scope| {
        for number in 0..SENDERS {
            let traffic = &traffic;
            scope.spawn(move || sender(number, address, traffic));
        }
        let mut random = Random(20_261_123);
        for _ in 0..kills() {
            traffic.pass(1 + random.below(40));
            gateway.restart().unwrap();
        }
        traffic.stop();
    });
    let acknowledged = traffic.acknowledged();
    let arrived = settled(&receiver, &acknowledged);
    let Counted { lost, misordered, repeated, changed, .. } = count(&acknowledged, &arrived);
    println!(
        "kills {}, acknowledged {}, attempts {}, lost {lost}, misordered {misordered}, repeated {repeated}",
        kills(),
        acknowledged.values().map(Vec::len).sum::<usize>(),
        arrived.len()
    );
    assert_eq!((lost, misordered, changed), (0, 0, 0), "{}", gateway.printed());
    // Each conversation can have one delivery whose settlement a kill undid.
    let explained = usize::try_from(kills() * SENDERS * CONVERSATIONS_PER_SENDER).unwrap_or(usize::MAX);
    assert!(repeated <= explained, "{repeated} repeats, {explained} explained");
}
