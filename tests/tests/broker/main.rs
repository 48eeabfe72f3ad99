//! The broker module on a real RabbitMQ: what a confirm means, what is left after every failure, and in
//! which order.

#![cfg(test)]

mod consume;
mod dead;
mod outage;
mod publish;
mod topology;

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use dataplane::event::broker::{
    BrokerSettings, Consumer, Credentials, Delivered, NotPublished, Outgoing, Publisher, State,
};
use tests::rabbitmq::{RabbitMq, wait_until};
use tokio::sync::{mpsc, watch};

/// How long a test waits for one delivery or answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// The broker that tests share which leave it running: each uses a prefix of its own. It ends with the last
/// that holds it.
fn shared() -> Arc<RabbitMq> {
    static SHARED: Mutex<Weak<RabbitMq>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(broker) = shared.upgrade() {
        return broker;
    }
    let broker = Arc::new(RabbitMq::start().unwrap());
    *shared = Arc::downgrade(&broker);
    broker
}

fn password_file(broker: &RabbitMq, name: &str, password: &str) -> PathBuf {
    let path = broker.path(name);
    std::fs::write(&path, password).unwrap();
    path
}

/// Settings for a prefix that nobody else uses.
fn settings(broker: &RabbitMq, partitions: u16) -> BrokerSettings {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let credentials =
        Credentials { user: "guest".to_owned(), password_file: password_file(broker, "guest-password", "guest\n") };
    let address = format!("amqp://{}", broker.address).parse().unwrap();
    let mut settings = BrokerSettings::new(vec![address], credentials);
    settings.prefix = format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    settings.partitions = NonZeroU16::new(partitions).unwrap();
    settings
}

fn message(partition: u16, text: impl Into<String>) -> Outgoing {
    let text = text.into();
    Outgoing {
        partition,
        event_id: text.clone(),
        body: Bytes::from(text),
        headers: vec![("postern-tenant", "acme".to_owned())],
    }
}

fn wait_for(publisher: &Publisher, state: State) {
    let reached = wait_until(|| publisher.state() == state);
    assert!(reached, "{state:?} is not reached: {:?} {:?}", publisher.state(), publisher.problem());
}

fn started(settings: &BrokerSettings) -> Publisher {
    let publisher = Publisher::start(settings.clone()).unwrap();
    wait_for(&publisher, State::Connected);
    publisher
}

/// A broker that has written what these settings declare: it writes a message before it confirms it, but what
/// was declared only some seconds later.
fn settled(settings_of: impl Fn(&RabbitMq) -> BrokerSettings) -> (RabbitMq, BrokerSettings) {
    let broker = RabbitMq::start().unwrap();
    let settings = settings_of(&broker);
    started(&settings).stop();
    broker.stop();
    broker.restart().unwrap();
    (broker, settings)
}

/// Runs it on a runtime like one of the gateway's cores.
fn on_core<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("it never ended") })
}

fn publish(publisher: &Publisher, batch: Vec<Outgoing>) -> Vec<Result<(), NotPublished>> {
    on_core(publisher.publish(batch))
}

/// A consumer with its ends.
struct Consuming {
    partitions: watch::Sender<BTreeSet<u16>>,
    deliveries: mpsc::Receiver<Delivered>,
    consumer: Consumer,
}

impl Consuming {
    fn start(settings: &BrokerSettings, partitions: impl IntoIterator<Item = u16>) -> Self {
        let (sender, wanted) = watch::channel(partitions.into_iter().collect());
        let (to, deliveries) = mpsc::channel(64);
        let consumer = Consumer::start(settings.clone(), wanted, to, None).unwrap();
        Self { partitions: sender, deliveries, consumer }
    }

    fn next(&mut self) -> Delivered {
        on_core(self.deliveries.recv()).expect("the consumer ended")
    }
}

/// The broker counts every few seconds.
fn holds(broker: &RabbitMq, queue: &str, count: u64) {
    let holds = wait_until(|| broker.depth(queue).is_ok_and(|depth| depth == count));
    assert!(holds, "{queue} holds {:?}, not {count}", broker.depth(queue));
}

fn body(delivered: &Delivered) -> String {
    String::from_utf8(delivered.body.to_vec()).unwrap()
}
