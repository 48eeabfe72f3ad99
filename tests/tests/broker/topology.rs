//! What is declared, and what is said when something else is there.

use std::num::NonZeroU16;

use super::*;

fn problem(settings: &BrokerSettings) -> String {
    let publisher = Publisher::start(settings.clone()).unwrap();
    assert!(wait_until(|| publisher.problem().is_some()));
    assert_eq!(publisher.state(), State::Away);
    publisher.problem().unwrap().replace(&settings.prefix, "postern")
}

#[test]
fn queues_that_differ_from_the_settings_are_explained_and_left_alone() {
    let broker = shared();
    let mut settings = settings(&broker, 8);
    drop(started(&settings));
    settings.queue_max_bytes /= 2;
    settings.delivery_limit = 20;
    let said = problem(&settings);
    assert_eq!(
        said,
        "what is declared on the broker is not what the settings say:\n\
         - queue postern.dead and 8 more: x-max-length-bytes is 1073741824, the settings say 536870912. Change the setting, or, when the queue is empty \
         and nobody uses it, delete it: it is declared again"
    );
    settings.queue_max_bytes *= 2;
    settings.delivery_limit = 10_000;
    drop(started(&settings));
}

#[test]
fn another_number_of_partitions_is_explained() {
    let broker = shared();
    let mut settings = settings(&broker, 8);
    drop(started(&settings));
    settings.partitions = NonZeroU16::new(9).unwrap();
    assert_eq!(
        problem(&settings),
        "what is declared on the broker is not what the settings say:\n\
         - exchange postern.partitions says that this prefix has 8 partitions, the settings say 9. Set partitions to 8. The number is fixed at install: \
         another one would put conversations into other queues than their earlier events. To change it install anew with another prefix, and let \
         the old one drain"
    );
    broker.depth(&format!("{}.p.8", settings.prefix)).expect_err("a queue was declared all the same");
}

#[test]
fn an_exchange_that_swallows_what_has_no_queue_is_not_used() {
    let broker = RabbitMq::start().unwrap();
    let settings = settings(&broker, 1);
    drop(started(&settings));
    let exchange = format!("{}.events", settings.prefix);
    broker.alternate_exchange(&exchange, Some("amq.fanout")).unwrap();
    // An exchange without a queue swallows nothing: the policy names one that has a queue.
    broker.alternate_exchange(&exchange, Some(&format!("{}.dead", settings.prefix))).unwrap();
    let publisher = Publisher::start(settings).unwrap();
    let swallows = |problem: String| problem.contains("alternate exchange") && problem.contains(&exchange);
    assert!(wait_until(|| publisher.problem().is_some_and(swallows)), "{:?}", publisher.problem());
    broker.alternate_exchange(&exchange, None).unwrap();
    wait_for(&publisher, State::Connected);
}

#[test]
fn a_virtual_host_that_is_not_there_is_said() {
    let broker = shared();
    let mut settings = settings(&broker, 1);
    settings.vhost = "elsewhere".to_owned();
    let said = problem(&settings);
    assert!(said.contains("\"elsewhere\""), "{said}");
}
