//! The broker goes and comes back.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn every_publish_ends_while_the_broker_comes_and_goes_and_nothing_confirmed_is_lost() {
    let (broker, settings) = settled(|broker| settings(broker, 4));
    let publisher = started(&settings);
    let over = AtomicBool::new(false);
    let confirmed: Vec<String> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..3)
            .map(|sender| {
                let (publisher, over) = (&publisher, &over);
                scope.spawn(move || on_core(send(sender, publisher, over)))
            })
            .collect();
        let counters = publisher.counters();
        for round in 0..3 {
            let before = counters.confirmed.load(Ordering::Relaxed);
            assert!(
                wait_until(|| counters.confirmed.load(Ordering::Relaxed) > before + 300),
                "{:?}",
                publisher.problem()
            );
            if round == 1 {
                broker.stop()
            } else {
                broker.kill()
            }
            wait_for(&publisher, State::Away);
            broker.restart().unwrap();
            wait_for(&publisher, State::Connected);
        }
        let before = counters.confirmed.load(Ordering::Relaxed);
        assert!(wait_until(|| counters.confirmed.load(Ordering::Relaxed) > before + 300));
        over.store(true, Ordering::Relaxed);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    let mut owed: BTreeSet<String> = confirmed.into_iter().collect();
    let total = owed.len();
    let mut consuming = Consuming::start(&settings, 0..4);
    let mut order = Order::default();
    while !owed.is_empty() {
        let delivered = consuming.next();
        let id = body(&delivered);
        order.see(delivered.partition, &id);
        owed.remove(&id);
        delivered.ack();
    }
    assert!(total > 1200, "{total}");
}

/// Publishes until it is over; what was confirmed.
async fn send(sender: u32, publisher: &Publisher, over: &AtomicBool) -> Vec<String> {
    let mut confirmed = Vec::new();
    let mut states = publisher.states();
    for n in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let batch: Vec<_> = (0..20).map(|m| message(m % 4, format!("{sender}-{n}-{m}"))).collect();
        let ids: Vec<_> = batch.iter().map(|message| message.event_id.clone()).collect();
        let answers = publisher.publish(batch).await;
        if answers.iter().any(Result::is_err) {
            states.wait_for(|state| *state == State::Connected).await.unwrap();
        }
        confirmed.extend(ids.into_iter().zip(answers).filter(|(_, answer)| answer.is_ok()).map(|(id, _)| id));
    }
    confirmed
}

/// Each sender's first arrivals rise in each partition. (What is unknown may arrive late, but never before
/// what was sent before it.)
#[derive(Default)]
struct Order(std::collections::BTreeMap<(u16, String), (u32, u32)>);

impl Order {
    fn see(&mut self, partition: u16, id: &str) {
        let mut parts = id.split('-');
        let sender = parts.next().unwrap().to_owned();
        let place: Vec<u32> = parts.map(|part| part.parse().unwrap()).collect();
        let place = (place[0], place[1]);
        let before = self.0.insert((partition, sender), place);
        assert!(before.is_none_or(|before| before < place), "{id} after {before:?}");
    }
}

#[test]
fn it_starts_without_a_broker_and_works_when_one_comes() {
    let broker = RabbitMq::start().unwrap();
    let settings = settings(&broker, 1);
    broker.stop();
    let publisher = Publisher::start(settings.clone()).unwrap();
    assert_eq!(publish(&publisher, vec![message(0, "a")]), [Err(NotPublished::Away)]);
    assert!(wait_until(|| publisher.problem().is_some_and(|problem| problem.contains("cannot be reached"))));
    assert!(publisher.healthy());
    broker.restart().unwrap();
    wait_for(&publisher, State::Connected);
    assert_eq!(publisher.problem(), None);
    assert_eq!(publish(&publisher, vec![message(0, "b")]), [Ok(())]);
}

#[test]
fn the_next_node_is_tried_when_one_is_away() {
    let broker = shared();
    let mut settings = settings(&broker, 1);
    let nobody = tests::gateway::free_address().unwrap();
    settings.addresses.insert(0, format!("amqp://{nobody}").parse().unwrap());
    started(&settings);
}

#[test]
fn over_tls_only_a_broker_that_the_file_vouches_for_is_used() {
    let broker = RabbitMq::start_tls().unwrap();
    let mut settings = settings(&broker, 1);
    settings.addresses = vec![format!("amqps://localhost:{}", broker.address.port()).parse().unwrap()];
    settings.ca_file = Some(broker.path("ca.pem"));
    let publisher = started(&settings);
    assert_eq!(publish(&publisher, vec![message(0, "a")]), [Ok(())]);
    publisher.stop();

    let vouched = std::fs::read_to_string(broker.path("ca.pem")).unwrap();
    let by_others: Vec<&str> =
        vouched.split_inclusive("-----END CERTIFICATE-----").filter(|one| one.contains("BEGIN")).collect();
    // Erlang makes an authority for servers and one for clients; only one vouches for this server.
    let refused = by_others.iter().filter(|authority| {
        std::fs::write(broker.path("ca.pem"), authority).unwrap();
        let publisher = Publisher::start(settings.clone()).unwrap();
        assert!(wait_until(|| publisher.state() == State::Connected || publisher.problem().is_some()));
        let problem = publisher.problem().unwrap_or_default();
        assert!(problem.is_empty() || problem.contains("UnknownIssuer"), "{problem}");
        publisher.state() != State::Connected
    });
    assert_eq!(refused.count(), by_others.len() - 1);
    std::fs::write(broker.path("ca.pem"), "").unwrap();
    let publisher = Publisher::start(settings).unwrap();
    assert!(wait_until(|| publisher.problem().is_some_and(|problem| problem.contains("no certificate in PEM"))));
}

#[test]
fn a_new_password_is_read_when_it_connects_again() {
    let broker = RabbitMq::start().unwrap();
    broker.user("postern", "first").unwrap();
    let mut settings = settings(&broker, 1);
    let password_file = password_file(&broker, "password", "first");
    settings.credentials = Credentials { user: "postern".to_owned(), password_file: password_file.clone() };
    let publisher = started(&settings);
    broker.user("postern", "second").unwrap();
    broker.close_connections().unwrap();
    let refused = |problem: String| problem.contains("refuses user \"postern\"") && !problem.contains("first");
    assert!(wait_until(|| publisher.problem().is_some_and(refused)), "{:?}", publisher.problem());
    std::fs::write(password_file, "second\n").unwrap();
    wait_for(&publisher, State::Connected);
    assert_eq!(publish(&publisher, vec![message(0, "a")]), [Ok(())]);
}

#[test]
fn stopping_answers_what_is_under_way() {
    let broker = shared();
    let settings = settings(&broker, 1);
    let publisher = started(&settings);
    publisher.stop();
    let publisher = started(&settings);
    let answers = on_core(async {
        let publishing = publisher.publish((0..100).map(|n| message(0, format!("m-{n}"))).collect());
        let mut publishing = std::pin::pin!(publishing);
        let first = std::future::poll_fn(|context| std::task::Poll::Ready(publishing.as_mut().poll(context))).await;
        assert!(first.is_pending());
        publishing.await
    });
    publisher.stop();
    assert!(answers.iter().all(Result::is_ok));
}
