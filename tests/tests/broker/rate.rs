//! How fast it is, by hand: `cargo test --release -p tests --test broker -- --ignored --nocapture rate`.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::time::Instant;

use super::*;

#[test]
#[ignore = "a measurement"]
fn rate_of_confirmed_messages() {
    const BATCH: usize = 8;
    const ROUNDS: usize = 100;
    let broker = shared();
    for (partitions, senders) in [(1_u16, 32), (8, 32), (1, 128), (8, 128)] {
        let settings = settings(&broker, partitions);
        let publisher = started(&settings);
        let body = Bytes::from(vec![b'x'; 2048]);
        let send = async |sender: usize| {
            for round in 0..ROUNDS {
                let make = |n: usize| Outgoing {
                    partition: u16::try_from((sender + n) % usize::from(partitions)).unwrap(),
                    event_id: format!("{sender}-{round}-{n}"),
                    body: body.clone(),
                    headers: Vec::new(),
                };
                assert!(publisher.publish((0..BATCH).map(make).collect()).await.iter().all(Result::is_ok));
            }
        };
        let begun = Instant::now();
        on_core(futures_util::future::join_all((0..senders).map(send)));
        let total = senders * BATCH * ROUNDS;
        let rate = total as f64 / begun.elapsed().as_secs_f64();
        println!("{partitions} queues, window {}: {rate:.0}/s", senders * BATCH);
    }
}
