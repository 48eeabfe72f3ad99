use super::*;
use crate::event::NewEvent;
use crate::event::claim::conversation_key;
use crate::event::sample::{deliver, event};
use crate::event::spool::operate::{Filter, State, list};
use crate::event::spool::replay::{Revival, Revived};
use crate::event::spool::{LastAttempt, Settlement};

const MIB: u64 = 1 << 20;

fn key(conversation: &str) -> Key {
    let event = event("acme", conversation, "any", 0).event;
    conversation_key(&event.tenant, &event.source, conversation)
}

fn open(directory: &Path) -> Shard {
    Shard::open(Settings::new(directory)).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn next(queue: &Queue, conversation: &str) -> Option<Box<crate::event::spool::Pending>> {
    match queue.next(&key(conversation)).unwrap() {
        Some(Read::Whole(pending)) => Some(pending),
        Some(Read::Damaged(row)) => panic!("row {row} is damaged"),
        None => None,
    }
}

#[test]
fn an_acknowledged_id_is_a_duplicate_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = open(dir.path());
    let first = run(path.append(vec![deliver("a", "1"), deliver("a", "2"), deliver("a", "1")])).unwrap();
    assert_eq!(first.iter().map(|one| one.duplicate).collect::<Vec<_>>(), [false, false, true]);
    path.shutdown();
    let path = open(dir.path());
    let again = run(path.append(vec![deliver("a", "1"), deliver("a", "3")])).unwrap();
    assert_eq!(again[0], Accepted { sequence: first[0].sequence, duplicate: true });
    assert!(again[1].sequence > first[1].sequence);
    assert_eq!(path.counters().depth_of(&TenantName::parse("acme").unwrap()).rows, 3);
    path.shutdown();
}

#[test]
fn a_conversation_is_owed_its_oldest_event_until_that_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let path = open(dir.path());
    let queue = path.queue().unwrap();
    let numbers = run(path.append(vec![deliver("a", "1"), deliver("b", "2"), deliver("a", "3")])).unwrap();
    assert_eq!(run(queue.woken()).len(), 2);
    let oldest = next(&queue, "a").unwrap();
    assert_eq!(oldest.envelope.sequence, numbers[0].sequence);
    let parked =
        Settlement::Parked { last: LastAttempt { attempts: 1, status: Some(500), answer: "no".into() }, due_ms: 5 };
    assert!(run(queue.settle(oldest.row, parked)));
    let parked = next(&queue, "a").unwrap();
    assert_eq!((&*parked.envelope.event.id, parked.attempts, parked.due_ms), ("1", 1, 5));
    assert!(parked.envelope.redelivered);
    assert!(run(queue.settle(parked.row, Settlement::Delivered)));
    let second = next(&queue, "a").unwrap();
    assert_eq!((&*second.envelope.event.id, second.envelope.previous), ("3", Some(numbers[0].sequence)));
    drop(queue);
    path.shutdown();
}

#[test]
fn a_full_store_accepts_nothing_of_a_batch_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let path = Shard::open(Settings { max_bytes: MIB, ..Settings::new(dir.path()) }).unwrap();
    let big = |id: &str| vec![deliver("a", id), Entry::Deliver(event("acme", "a", &format!("{id}-big"), 1_500_000))];
    let refused = run(path.append(big("1")));
    assert!(matches!(refused, Err(AcceptError::NotDurable { cause: Some(_) })), "{refused:?}");
    assert_eq!(list(dir.path(), &Filter::default(), 0, 10).unwrap(), []);
    assert!(path.healthy());
    // The id was not remembered either: the retry is accepted.
    assert!(!run(path.append(vec![deliver("a", "1")])).unwrap()[0].duplicate);
    path.shutdown();
}

#[test]
fn accepting_leaves_half_of_the_store_free_and_settling_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = Shard::open(Settings { max_bytes: 2 * MIB, ..Settings::new(dir.path()) }).unwrap();
    let tenants = ["acme", "globex"];
    let refused = (0..100)
        .find_map(|n| run(path.append(vec![Entry::Deliver(event(tenants[n % 2], "a", &n.to_string(), 50_000))])).err());
    // The last one may be over the share of its tenant before it is over half of the store.
    assert!(matches!(refused, Some(AcceptError::Reserve | AcceptError::PendingFull { .. })), "{refused:?}");
    assert!(run(path.append(vec![deliver("a", "0")])).unwrap()[0].duplicate);
    let dropped = run(path.change(Change::Drop(Filter::default()))).unwrap();
    assert!(dropped > 1);
    assert!(run(path.append(vec![deliver("a", "new")])).is_ok());
    path.shutdown();
}

#[test]
fn a_full_tenant_alone_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = open(dir.path());
    let small = |tenant, id| Entry::Deliver(NewEvent { pending_bytes: 1000, ..event(tenant, "a", id, 400) });
    assert!(run(path.append(vec![small("acme", "1")])).is_ok());
    let full = run(path.append(vec![small("acme", "2")]));
    assert!(matches!(full, Err(AcceptError::PendingFull { ref tenant }) if tenant.as_str() == "acme"), "{full:?}");
    assert!(run(path.append(vec![small("globex", "1")])).is_ok());
    assert!(run(path.append(vec![small("acme", "1")])).unwrap()[0].duplicate);
    path.shutdown();
}

#[test]
fn a_refused_entry_is_a_dead_letter_that_can_be_replayed() {
    let dir = tempfile::tempdir().unwrap();
    let path = open(dir.path());
    let retention = Duration::from_secs(60);
    let dead = || {
        let (new, reason) = (event("acme", "a", "1", 10), "unclaimed".into());
        Entry::Dead { new, reason, retention, violations: None, origin: None }
    };
    run(path.append(vec![dead()])).unwrap();
    assert!(run(path.append(vec![dead()])).unwrap()[0].duplicate);
    let found = list(dir.path(), &Filter { state: Some(State::Dead), ..Filter::default() }, 0, 10).unwrap();
    assert_eq!(found[0].reason.as_deref(), Some("unclaimed"));
    let queue = path.queue().unwrap();
    assert!(next(&queue, "a").is_none());
    let revival = || Revival {
        row: found[0].row,
        sequence: found[0].sequence,
        new: event("globex", "b", "1", 10),
        origin: None,
        number: None,
    };
    let full = Revival { new: NewEvent { pending_bytes: 1, ..event("globex", "b", "1", 10) }, ..revival() };
    assert_eq!(run(path.revive(vec![full])).unwrap(), [Revived::Full]);
    // Two replays at once find it dead once.
    assert_eq!(run(path.revive(vec![revival(), revival()])).unwrap(), [Revived::Waits, Revived::Changed]);
    let waits = list(dir.path(), &Filter::default(), 0, 10).unwrap();
    assert_eq!(
        (waits.len(), waits[0].row, &*waits[0].tenant, waits[0].state),
        (1, found[0].row, "globex", State::Waiting)
    );
    assert!(waits[0].sequence > found[0].sequence);
    let of = |tenant| path.counters().depth_of(&TenantName::parse(tenant).unwrap()).rows;
    assert_eq!((of("acme"), of("globex")), (0, 1));
    let expires: Option<i64> = Connection::open(dir.path().join("events.sqlite"))
        .unwrap()
        .query_row("SELECT expires_ms FROM events", [], |row| row.get(0))
        .unwrap();
    assert!(expires.is_some(), "its retention stays");
    // The id is its new tenant's from here on, and a second dead letter with it is a repeat.
    assert!(run(path.append(vec![Entry::Deliver(event("globex", "b", "1", 10))])).unwrap()[0].duplicate);
    let mut new = event("acme", "c", "1", 10);
    new.event.source = policy::names::ObjectRef::new(policy::names::Kind::WebhookSource, "acme", "other");
    let other = Entry::Dead { new, reason: "unclaimed".into(), retention, violations: None, origin: None };
    let second = run(path.append(vec![other])).unwrap()[0].sequence;
    let row = list(dir.path(), &Filter { state: Some(State::Dead), ..Filter::default() }, 0, 10).unwrap()[0].row;
    assert_eq!(run(path.revive(vec![Revival { row, sequence: second, ..revival() }])).unwrap(), [Revived::Known]);
    drop(queue);
    path.shutdown();
}

#[test]
fn a_damaged_row_is_reported_and_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = open(dir.path());
    run(path.append(vec![deliver("a", "1"), deliver("a", "2")])).unwrap();
    path.shutdown();
    let conn = Connection::open(dir.path().join("events.sqlite")).unwrap();
    conn.execute("UPDATE events SET data=x'22' WHERE id='1'", []).unwrap();
    drop(conn);
    let path = open(dir.path());
    let queue = path.queue().unwrap();
    let Some(Read::Damaged(row)) = queue.next(&key("a")).unwrap() else { panic!("not noticed") };
    assert!(run(queue.settle(row, Settlement::Damaged)));
    assert_eq!(&*next(&queue, "a").unwrap().envelope.event.id, "2");
    let found = list(dir.path(), &Filter { state: Some(State::Damaged), ..Filter::default() }, 0, 10).unwrap();
    assert_eq!(found[0].id, "1");
    drop(queue);
    path.shutdown();
}

#[test]
fn two_processes_cannot_share_a_spool_and_a_newer_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = open(dir.path());
    assert!(matches!(Shard::open(Settings::new(dir.path())), Err(SpoolError::InUse { .. })));
    path.shutdown();
    Connection::open(dir.path().join("events.sqlite")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(Shard::open(Settings::new(dir.path())), Err(SpoolError::Newer { found: 99 })));
}

#[test]
fn a_repeat_of_what_is_durable_asks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = open(dir.path());
    let first = run(path.append(vec![deliver("a", "1"), deliver("a", "2")])).unwrap();
    let commits = path.counters().commits.load(std::sync::atomic::Ordering::Relaxed);
    let again = run(path.append(vec![deliver("a", "2"), deliver("a", "1")])).unwrap();
    assert!(again.iter().all(|one| one.duplicate));
    assert_eq!([again[0].sequence, again[1].sequence], [first[1].sequence, first[0].sequence]);
    let counters = path.counters();
    assert_eq!(counters.commits.load(std::sync::atomic::Ordering::Relaxed), commits);
    assert_eq!(counters.duplicates.load(std::sync::atomic::Ordering::Relaxed), 2);
    let mixed = run(path.append(vec![deliver("a", "1"), deliver("a", "3")])).unwrap();
    assert_eq!(mixed.iter().map(|one| one.duplicate).collect::<Vec<_>>(), [true, false]);
    path.shutdown();
}

#[test]
fn an_id_that_the_store_gave_up_is_known_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let path = Shard::open(Settings { max_ids_per_tenant: 1, ..Settings::new(dir.path()) }).unwrap();
    for id in ["1", "2", "3"] {
        run(path.append(vec![deliver("a", id)])).unwrap();
    }
    assert!(path.counters().ids_forgotten.load(std::sync::atomic::Ordering::Relaxed) > 0);
    let again = run(path.append(vec![deliver("a", "1"), deliver("a", "3")])).unwrap();
    assert!(again.iter().all(|one| !one.duplicate), "{again:?}");
    path.shutdown();
}
