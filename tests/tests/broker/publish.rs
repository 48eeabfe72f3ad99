//! What an answer of the publisher means.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::*;

#[test]
fn a_confirmed_message_is_in_its_queue_after_the_broker_is_killed() {
    let (broker, settings) = settled(|broker| settings(broker, 2));
    let publisher = started(&settings);
    let answers = publish(&publisher, (0..200).map(|n| message(n % 2, format!("m-{n}"))).collect());
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    broker.kill();
    broker.restart().unwrap();
    for partition in 0..2 {
        holds(&broker, &format!("{}.p.{partition}", settings.prefix), 100);
    }
}

#[test]
fn a_message_without_a_queue_comes_back_and_is_not_accepted() {
    let broker = shared();
    let settings = settings(&broker, 4);
    let publisher = started(&settings);
    broker.unbind(&format!("{}.events", settings.prefix), &format!("{}.p.1", settings.prefix), "p.1").unwrap();
    let answers = publish(&publisher, (0..400).map(|n| message(n % 4, format!("m-{n}"))).collect());
    for (n, answer) in answers.iter().enumerate() {
        if n % 4 == 1 {
            assert!(matches!(answer, Err(NotPublished::Returned | NotPublished::Unknown)), "{n}: {answer:?}");
        } else {
            assert_eq!(*answer, Ok(()), "{n}");
        }
    }
    assert!(publisher.counters().returned.load(Ordering::Relaxed) > 50);
    // Its queue is bound again without a new connection.
    assert!(wait_until(|| publish(&publisher, vec![message(1, "again")])[0].is_ok()));
    assert_eq!(publisher.counters().connections.load(Ordering::Relaxed), 1);
}

#[test]
fn two_partitions_on_one_channel_do_not_mix_up_what_came_back() {
    let broker = shared();
    let settings = settings(&broker, 32);
    let publisher = started(&settings);
    // 1 and 17 share a channel.
    broker.unbind(&format!("{}.events", settings.prefix), &format!("{}.p.1", settings.prefix), "p.1").unwrap();
    let batch = (0..500).map(|n| message(if n % 5 == 0 { 1 } else { 17 }, format!("m-{n}"))).collect();
    let answers = publish(&publisher, batch);
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    holds(&broker, &format!("{}.p.17", settings.prefix), 400);
    for (n, answer) in answers.iter().enumerate().filter(|(n, _)| n % 5 == 0) {
        assert!(answer.is_err(), "{n} has no queue and was taken for accepted");
    }
    assert!(accepted <= 400, "{accepted}");
}

#[test]
fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    let broker = shared();
    let mut settings = settings(&broker, 1);
    settings.queue_max_bytes = 10_000;
    let publisher = started(&settings);
    let mut refused = false;
    for n in 0..100 {
        let answer = publish(&publisher, vec![message(0, format!("{n}-{}", "x".repeat(2000)))]);
        match answer[0] {
            Ok(()) => {}
            Err(NotPublished::Nacked) => refused = true,
            Err(other) => panic!("{other:?}"),
        }
        if refused {
            break;
        }
    }
    assert!(refused, "100 messages of 2 KB fit into 10 KB");
    let mut consuming = Consuming::start(&settings, [0]);
    consuming.next().ack();
    let taken = wait_until(|| {
        // What is delivered is dropped and with it what the queue holds.
        while let Ok(delivered) = consuming.deliveries.try_recv() {
            delivered.ack();
        }
        publish(&publisher, vec![message(0, "small")])[0].is_ok()
    });
    assert!(taken);
}

#[test]
fn an_alarm_is_said_at_once_and_ends_by_itself() {
    let broker = RabbitMq::start().unwrap();
    let settings = settings(&broker, 2);
    let publisher = started(&settings);
    broker.block().unwrap();
    // The broker tells a connection of its alarm when that publishes.
    let told = wait_until(|| {
        let answer = publish(&publisher, vec![message(0, "first")])[0];
        assert!(answer.is_ok() || answer == Err(NotPublished::Unknown) || answer == Err(NotPublished::Blocked));
        publisher.state() == State::Blocked
    });
    assert!(told);
    let answers = publish(&publisher, vec![message(0, "a"), message(1, "b")]);
    assert_eq!(answers, [Err(NotPublished::Blocked); 2]);
    broker.unblock().unwrap();
    wait_for(&publisher, State::Connected);
    assert_eq!(publish(&publisher, vec![message(0, "c")]), [Ok(())]);
}

#[test]
fn a_broker_that_does_not_answer_is_not_waited_for_longer_than_a_confirm_may_take() {
    let broker = RabbitMq::start().unwrap();
    let mut settings = settings(&broker, 1);
    settings.confirm_timeout = Duration::from_millis(300);
    let publisher = started(&settings);
    let pid = broker.eval("list_to_integer(os:getpid()).").unwrap();
    let signal = |name: &str| std::process::Command::new("kill").args([name, &pid]).status().unwrap();
    signal("-STOP");
    let answers = publish(&publisher, (0..10).map(|n| message(0, format!("m-{n}"))).collect());
    // One has waited: the next ones are told at once, and leave nothing with the broker.
    let next = publish(&publisher, vec![message(0, "next")]);
    signal("-CONT");
    assert_eq!(next, [Err(NotPublished::Away)]);
    assert_eq!(answers, [Err(NotPublished::TimedOut); 10]);
    assert!(NotPublished::TimedOut.may_be_there());
    // They were only late: the same channel goes on, behind them.
    assert!(wait_until(|| publish(&publisher, vec![message(0, "after")])[0].is_ok()));
    let mut consuming = Consuming::start(&settings, [0]);
    for n in 0..10 {
        let delivered = consuming.next();
        assert_eq!(body(&delivered), format!("m-{n}"));
        delivered.ack();
    }
}

#[test]
fn more_than_the_window_waits_for_room_and_none_is_lost() {
    let broker = shared();
    let mut settings = settings(&broker, 1);
    settings.in_flight = std::num::NonZeroU32::new(2049).unwrap();
    let publisher = started(&settings);
    let answers = publish(&publisher, (0..6000).map(|n| message(0, format!("m-{n}"))).collect());
    assert!(answers.iter().all(Result::is_ok));
    holds(&broker, &format!("{}.p.0", settings.prefix), 6000);
}

#[test]
fn what_cannot_be_sent_stops_the_rest_of_its_partition() {
    let broker = shared();
    let settings = settings(&broker, 2);
    let publisher = started(&settings);
    let mut big = message(0, "big");
    big.body = Bytes::from(vec![b'x'; dataplane::event::broker::MAX_MESSAGE_BYTES + 1]);
    let batch = vec![message(0, "before"), big, message(0, "after"), message(1, "other"), message(2, "none")];
    let (big, none) = (Err(NotPublished::TooLarge), Err(NotPublished::NoPartition));
    assert_eq!(publish(&publisher, batch), [Ok(()), big, big, Ok(()), none]);
}

#[test]
fn publishers_on_many_cores_keep_the_order_of_each() {
    let broker = shared();
    let settings = settings(&broker, 2);
    let publishers = [started(&settings), started(&settings)];
    std::thread::scope(|scope| {
        for core in 0..4_usize {
            let publisher = &publishers[core % 2];
            scope.spawn(move || {
                for n in 0..50 {
                    let batch = (0..6).map(|m| message(m % 2, format!("{core} {}", n * 6 + m))).collect();
                    assert!(publish(publisher, batch).iter().all(Result::is_ok));
                }
            });
        }
    });
    let mut consuming = Consuming::start(&settings, [0, 1]);
    let mut last = std::collections::BTreeMap::new();
    for _ in 0..4 * 300 {
        let delivered = consuming.next();
        assert_eq!(delivered.headers.get("postern-tenant").map(String::as_str), Some("acme"));
        let text = body(&delivered);
        let (core, n) = text.split_once(' ').unwrap();
        let n: u32 = n.parse().unwrap();
        let before = last.insert((core.to_owned(), delivered.partition), n);
        assert!(before.is_none_or(|before| before < n), "{core}: {n} after {before:?}");
        delivered.ack();
    }
}
