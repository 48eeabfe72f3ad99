//! What the broker gives up: a deliver makes dead letters of it, and loses none.

use std::path::Path;

use dataplane::event::deliver::{Destination, Destinations, PartitionDeliver, PartitionSettings};
use dataplane::event::shards::{NamedShard, Reach, Shards};
use dataplane::event::spool::operate::{Filter, Listed, State as Life, list, show};
use dataplane::event::spool::{Settings, Shard};
use dataplane::event::{Envelope, Event};
use dataplane::health::Health;
use policy::names::{Kind, ObjectRef, TenantName};
use policy::upstream::AddressGuard;

use super::*;

/// No source has a destination now.
struct Nowhere;

impl Destinations for Nowhere {
    fn get(&self, _: &TenantName, _: &ObjectRef) -> Option<Arc<Destination>> {
        None
    }
}

fn event(id: &str) -> Outgoing {
    let event = Event {
        tenant: TenantName::parse("acme").unwrap(),
        source: ObjectRef::new(Kind::WebhookSource, "acme", "whatsapp"),
        id: id.into(),
        kind: "whatsapp.message.text".into(),
        conversation: "a".into(),
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
        data: "{}".into(),
        dataraw: None,
        traceparent: None,
        unknown: false,
        sanitised: None,
        request_id: None,
    };
    let (redelivered, gap, late, degraded) = (false, false, false, false);
    let envelope = Envelope { event, sequence: 7, previous: None, redelivered, gap, late, degraded };
    Outgoing { partition: 0, event_id: id.to_owned(), body: envelope.to_json().unwrap().into(), headers: Vec::new() }
}

/// A deliver with one shard in its process.
struct Delivering {
    consumer: Consumer,
    deliver: PartitionDeliver,
    shard: Arc<Shard>,
    _partitions: watch::Sender<BTreeSet<u16>>,
}

fn deliver(settings: &BrokerSettings, folder: &Path) -> Delivering {
    let shard = Arc::new(Shard::open(Settings { beside_broker: true, ..Settings::new(folder) }).unwrap());
    let (partitions, wanted) = watch::channel(BTreeSet::from([0]));
    let ((to, taken), (dead, given_up)) = (mpsc::channel(64), mpsc::channel(1));
    let consumer = Consumer::start(settings.clone(), wanted, to, Some(dead)).unwrap();
    let delivering = PartitionSettings {
        destinations: Arc::new(Nowhere),
        shards: Shards::new(vec![NamedShard::new("spool-0", Reach::Here(shard.clone()))]),
        claims: None,
        guard: AddressGuard::new(Vec::new()),
        counters: shard.counters().clone(),
        health: Arc::new(Health::default()),
        publisher: Arc::new(started(settings)),
        preferred: Box::new(BTreeSet::new),
    };
    let deliver = PartitionDeliver::start(delivering, (taken, given_up), std::future::pending()).unwrap();
    Delivering { consumer, deliver, shard, _partitions: partitions }
}

fn in_life(folder: &Path, state: Life) -> Vec<Listed> {
    list(folder, &Filter { state: Some(state), ..Filter::default() }, 0, 10).unwrap()
}

#[test]
fn what_the_broker_gives_up_becomes_a_dead_letter_of_a_shard_and_nothing_is_left() {
    let broker = shared();
    let mut settings = settings(&broker, 1);
    settings.delivery_limit = 1;
    let publisher = started(&settings);
    let (queue, dead) = (format!("{}.p.0", settings.prefix), format!("{}.dead", settings.prefix));
    assert_eq!(publish(&publisher, vec![event("a")]), [Ok(())]);
    let mut consuming = Consuming::start(&settings, [0]);
    // Each is given back by being dropped.
    assert!(wait_until(|| {
        drop(consuming.deliveries.try_recv());
        broker.depth(&dead).is_ok_and(|depth| depth == 1)
    }));
    consuming.consumer.stop();
    holds(&broker, &dead, 1);
    let folder = tempfile::tempdir().unwrap();
    let Delivering { consumer, deliver: delivering, shard, _partitions } = deliver(&settings, folder.path());
    assert!(wait_until(|| in_life(folder.path(), Life::Dead).len() == 1));
    let found = in_life(folder.path(), Life::Dead);
    assert_eq!((found[0].id.as_str(), found[0].tenant.as_str()), ("a", "acme"));
    assert_eq!(found[0].reason.as_deref(), Some("delivery_limit"));
    // What is no event comes the same way, and is set aside with what was there of it.
    assert_eq!(publish(&publisher, vec![message(0, "no event")]), [Ok(())]);
    assert!(wait_until(|| in_life(folder.path(), Life::Damaged).len() == 1));
    let found = in_life(folder.path(), Life::Damaged);
    assert_eq!(found[0].reason.as_deref(), Some("unreadable"));
    assert_eq!(show(folder.path(), found[0].row).unwrap().unwrap().remains.as_deref(), Some("no event"));
    holds(&broker, &dead, 0);
    holds(&broker, &queue, 0);
    consumer.stop();
    delivering.stop();
    Arc::into_inner(shard).unwrap().shutdown();
}

#[test]
fn what_no_shard_takes_stays_with_the_broker() {
    let broker = shared();
    let settings = settings(&broker, 1);
    let publisher = started(&settings);
    let dead = format!("{}.dead", settings.prefix);
    assert_eq!(publish(&publisher, vec![message(0, "no event")]), [Ok(())]);
    let folder = tempfile::tempdir().unwrap();
    Shard::open(Settings::new(folder.path())).unwrap().shutdown();
    let store = rusqlite::Connection::open(folder.path().join("events.sqlite")).unwrap();
    store.execute_batch("CREATE TRIGGER no BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END;").unwrap();
    let Delivering { consumer, deliver: delivering, shard, _partitions } = deliver(&settings, folder.path());
    holds(&broker, &dead, 1);
    store.execute_batch("DROP TRIGGER no;").unwrap();
    assert!(wait_until(|| in_life(folder.path(), Life::Damaged).len() == 1));
    holds(&broker, &dead, 0);
    consumer.stop();
    delivering.stop();
    Arc::into_inner(shard).unwrap().shutdown();
}
