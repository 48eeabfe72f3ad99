//! Deliveries: order, hand-over, and what becomes of them when something goes.

use super::*;

fn fill(settings: &BrokerSettings, count: u32) {
    let publisher = started(settings);
    let answers = publish(&publisher, (0..count).map(|n| message(0, n.to_string())).collect());
    assert!(answers.iter().all(Result::is_ok));
}

#[test]
fn a_hand_over_finishes_what_is_in_flight_and_loses_and_misorders_nothing() {
    let broker = shared();
    let settings = settings(&broker, 1);
    fill(&settings, 300);
    let mut first = Consuming::start(&settings, [0]);
    let held: Vec<Delivered> = (0..10).map(|_| first.next()).collect();
    let mut second = Consuming::start(&settings, [0]);
    let queue = format!("{}.p.0", settings.prefix);
    assert!(wait_until(|| broker.consumers(&queue).is_ok_and(|count| count == 2)));

    first.partitions.send_replace(BTreeSet::new());
    let mut seen = Vec::new();
    for delivered in held {
        assert!(!delivered.is_cancelled());
        assert!(second.deliveries.try_recv().is_err(), "the next began before the last had finished");
        seen.push(body(&delivered));
        delivered.ack();
    }
    // What had been handed over before it heard of the change is in flight too.
    while seen.len() < 300 {
        for from in [&mut first, &mut second] {
            if let Ok(delivered) = from.deliveries.try_recv() {
                // RabbitMQ may forget the last acknowledgements: a repeat is no loss and no change of order.
                if !seen.contains(&body(&delivered)) {
                    seen.push(body(&delivered));
                }
                delivered.ack();
            }
        }
        std::thread::yield_now();
    }
    let expected: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected);
    holds(&broker, &queue, 0);
    assert!(wait_until(|| broker.consumers(&queue).is_ok_and(|count| count == 1)));
}

#[test]
fn a_lost_connection_cancels_its_deliveries_and_they_come_again_in_order() {
    // Not the shared one: every connection is closed.
    let broker = RabbitMq::start().unwrap();
    let settings = settings(&broker, 1);
    fill(&settings, 20);
    let mut consuming = Consuming::start(&settings, [0]);
    let held: Vec<Delivered> = (0..5).map(|_| consuming.next()).collect();
    broker.close_connections().unwrap();
    for delivered in held {
        on_core(delivered.cancelled());
        assert!(delivered.is_cancelled());
        // Too late, and harmless.
        delivered.ack();
    }
    let mut seen = Vec::new();
    while seen.len() < 20 {
        let delivered = consuming.next();
        if !delivered.is_cancelled() {
            seen.push((body(&delivered), delivered.redelivered));
            delivered.ack();
        }
    }
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(seen.iter().map(|(body, _)| body.clone()).collect::<Vec<_>>(), expected);
    assert!(seen[0].1, "what was delivered before says so");
}

#[test]
fn a_delivery_that_is_dropped_comes_again_with_those_behind_it_in_order() {
    let broker = shared();
    let settings = settings(&broker, 1);
    fill(&settings, 10);
    let mut consuming = Consuming::start(&settings, [0]);
    consuming.next().ack();
    let (second, third) = (consuming.next(), consuming.next());
    drop(second);
    on_core(third.cancelled());
    let mut seen = Vec::new();
    while seen.len() < 9 {
        let delivered = consuming.next();
        if !delivered.is_cancelled() {
            seen.push(body(&delivered));
            delivered.ack();
        }
    }
    assert_eq!(seen, (1..10).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_partition_that_leaves_and_comes_back_is_consumed_again() {
    let broker = shared();
    let settings = settings(&broker, 2);
    let publisher = started(&settings);
    let mut consuming = Consuming::start(&settings, [0, 1]);
    assert_eq!(publish(&publisher, vec![message(0, "a")]), [Ok(())]);
    let held = consuming.next();
    consuming.partitions.send_replace(BTreeSet::from([1]));
    consuming.partitions.send_replace(BTreeSet::from([0, 1]));
    held.ack();
    assert_eq!(publish(&publisher, vec![message(0, "b")]), [Ok(())]);
    let delivered = consuming.next();
    assert_eq!(body(&delivered), "b");
    delivered.ack();
}

#[test]
fn a_deleted_queue_is_declared_again_and_its_neighbour_does_not_notice() {
    let broker = shared();
    let settings = settings(&broker, 2);
    let publisher = started(&settings);
    let mut consuming = Consuming::start(&settings, [0, 1]);
    assert_eq!(publish(&publisher, vec![message(1, "neighbour")]), [Ok(())]);
    let neighbour = consuming.next();
    broker.delete_queue(&format!("{}.p.0", settings.prefix)).unwrap();
    assert!(wait_until(|| publish(&publisher, vec![message(0, "again")])[0].is_ok()));
    let delivered = consuming.next();
    assert_eq!(body(&delivered), "again");
    delivered.ack();
    assert!(!neighbour.is_cancelled());
    neighbour.ack();
}

#[test]
fn stopping_hands_everything_over() {
    let broker = shared();
    let settings = settings(&broker, 1);
    let publisher = started(&settings);
    assert!(publish(&publisher, (0..3).map(|n| message(0, n.to_string())).collect()).iter().all(Result::is_ok));
    let mut consuming = Consuming::start(&settings, [0]);
    let held: Vec<Delivered> = (0..3).map(|_| consuming.next()).collect();
    assert!(publish(&publisher, vec![message(0, "3")])[0].is_ok());
    let stopping = std::thread::spawn(move || consuming.consumer.stop());
    for delivered in held {
        assert!(!delivered.is_cancelled());
        delivered.ack();
    }
    // It may have been handed over before.
    while let Some(delivered) = on_core(consuming.deliveries.recv()) {
        delivered.ack();
    }
    stopping.join().unwrap();
    let queue = format!("{}.p.0", settings.prefix);
    assert!(wait_until(|| broker.consumers(&queue).is_ok_and(|count| count == 0)));
    assert_eq!(publish(&publisher, vec![message(0, "4")]), [Ok(())]);
    let mut next = Consuming::start(&settings, [0]);
    let mut delivered = next.next();
    if body(&delivered) == "3" {
        delivered.ack();
        delivered = next.next();
    }
    assert_eq!(body(&delivered), "4");
    delivered.ack();
}
