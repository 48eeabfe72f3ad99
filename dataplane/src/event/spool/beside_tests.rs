//! A shard beside a broker: what it keeps, what it says, and that both are one.

use super::super::{Ask, Death, LastAttempt, Place, Record, Settlement, Verdict};
use super::*;
use crate::event::Envelope;
use crate::event::claim::conversation_key;
use crate::event::sample::{envelope, numbered};
use crate::event::spool::operate::{Change, Filter, State, list};

fn key() -> Key {
    let event = envelope(1).event;
    conversation_key(&event.tenant, &event.source, &event.conversation)
}

/// A row as a copy of an older version names it.
fn here(row: i64) -> Place {
    Place { store: None, row }
}

fn open(directory: &Path) -> Shard {
    Shard::open(Settings { beside_broker: true, ..Settings::new(directory) }).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn consult(shard: &Shard, sequence: i64, row: Option<i64>) -> Verdict {
    run(shard.consult(Ask { envelope: envelope(sequence), row: row.map(here) })).unwrap()
}

fn park(shard: &Shard, sequence: i64, row: Option<i64>) {
    let parked = Record { envelope: envelope(sequence), row: row.map(here), settlement: parked(0), unsure: false };
    assert!(run(shard.record(parked)));
}

fn states(directory: &Path) -> Vec<(String, State)> {
    list(directory, &Filter::default(), 0, 10).unwrap().into_iter().map(|one| (one.id, one.state)).collect()
}

fn row_of(directory: &Path, id: &str) -> i64 {
    list(directory, &Filter { id: Some(id.into()), ..Filter::default() }, 0, 1).unwrap()[0].row
}

fn parked(due_ms: i64) -> Settlement {
    Settlement::Parked { last: LastAttempt { attempts: 1, status: Some(500), answer: "no".into() }, due_ms }
}

#[test]
fn what_the_broker_did_not_take_is_drained_before_it_is_attempted() {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(dir.path());
    let queue = shard.queue().unwrap();
    run(shard.keep(vec![numbered(10), numbered(11)])).unwrap();
    assert!(run(shard.keep(vec![numbered(10)])).unwrap()[0].duplicate, "a repeat adds nothing");
    let Some(Read::Whole(head)) = queue.next(&key()).unwrap() else { panic!("nothing is owed") };
    assert!(head.in_broker, "its turn comes from the broker");
    let spooled = queue.next_spooled(0, 10).unwrap();
    let rows: Vec<i64> = spooled
        .iter()
        .map(|read| match read {
            Read::Whole(pending) => pending.row,
            Read::Damaged(row) => panic!("row {row} is damaged"),
        })
        .collect();
    assert_eq!(rows.len(), 2);
    assert!(run(queue.drained(rows.clone())));
    assert!(queue.next_spooled(0, 10).unwrap().is_empty());
    assert_eq!(consult(&shard, 10, Some(rows[0])), Verdict::Clear { done: None, idle: false });
    let settled =
        Record { envelope: envelope(10), row: Some(here(rows[0])), settlement: Settlement::Delivered, unsure: false };
    assert!(run(shard.record(settled)));
    assert_eq!(consult(&shard, 10, Some(rows[0])), Verdict::Gone, "a second copy is of no use");
    assert_eq!(consult(&shard, 11, Some(rows[1])), Verdict::Clear { done: Some(10), idle: false });
    drop(queue);
    shard.shutdown();
}

#[test]
fn an_event_is_kept_behind_what_is_owed_and_its_turn_comes_from_here() {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(dir.path());
    let queue = shard.queue().unwrap();
    run(shard.keep(vec![numbered(10)])).unwrap();
    assert_eq!(consult(&shard, 12, None), Verdict::Owed);
    park(&shard, 12, None);
    assert_eq!(consult(&shard, 12, None), Verdict::Kept { behind: true }, "a redelivered copy is here already");
    assert_eq!(states(dir.path()), [("10".into(), State::Spooled), ("12".into(), State::Parked)]);
    // The drained copy of the older one fails: the shard attempts both from now on, in order.
    let first = row_of(dir.path(), "10");
    let failed = Record { envelope: envelope(10), row: Some(here(first)), settlement: parked(0), unsure: false };
    assert!(run(shard.record(failed)));
    let Some(Read::Whole(head)) = queue.next(&key()).unwrap() else { panic!("nothing is owed") };
    assert_eq!((head.envelope.sequence, head.in_broker, head.attempts), (10, false, 1));
    assert!(run(queue.settle(head.row, Settlement::Delivered)));
    let Some(Read::Whole(head)) = queue.next(&key()).unwrap() else { panic!("nothing is owed") };
    assert_eq!(head.envelope.sequence, 12);
    assert!(run(queue.settle(head.row, Settlement::Delivered)));
    assert_eq!(consult(&shard, 13, None), Verdict::Clear { done: Some(12), idle: true });
    drop(queue);
    shard.shutdown();
}

#[test]
fn a_drained_copy_behind_something_older_becomes_the_shards() {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(dir.path());
    run(shard.keep(vec![numbered(11)])).unwrap();
    let row = row_of(dir.path(), "11");
    run(shard.keep(vec![numbered(10)])).unwrap();
    assert_eq!(consult(&shard, 11, Some(row)), Verdict::Owed);
    park(&shard, 11, Some(row));
    assert_eq!(consult(&shard, 11, Some(row)), Verdict::Kept { behind: true });
    assert_eq!(states(dir.path()), [("11".into(), State::Parked), ("10".into(), State::Spooled)]);
    shard.shutdown();
}

#[test]
fn who_asks_leaves_nothing_behind_and_only_what_is_older_counts() {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(dir.path());
    run(shard.keep(vec![numbered(10)])).unwrap();
    let ask = |sequence| Ask { envelope: envelope(sequence), row: None };
    assert_eq!(run(shard.consult(ask(11))), Some(Verdict::Owed));
    assert_eq!(
        run(shard.consult(ask(9))),
        Some(Verdict::Clear { done: None, idle: false }),
        "what is later does not hold up what is older"
    );
    assert_eq!(states(dir.path()).len(), 1);
    // What has no claimed number is behind everything that is there.
    let degraded = Envelope { degraded: true, previous: None, ..envelope(5) };
    assert_eq!(run(shard.consult(Ask { envelope: degraded, row: None })), Some(Verdict::Owed));
    shard.shutdown();
}

#[test]
fn what_died_in_the_broker_is_a_dead_letter_and_done() {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(dir.path());
    let last = LastAttempt { attempts: 3, status: Some(410), answer: "gone".into() };
    let settlement = Settlement::Dead { last, death: Death::Gone, expires_ms: i64::MAX };
    assert!(run(shard.record(Record { envelope: envelope(10), row: None, settlement, unsure: false })));
    let found = list(dir.path(), &Filter::default(), 0, 10).unwrap();
    assert_eq!((found[0].state, found[0].attempts, found[0].last_status), (State::Dead, 3, Some(410)));
    assert_eq!(consult(&shard, 11, None), Verdict::Clear { done: Some(10), idle: true });
    shard.shutdown();
}

#[test]
fn a_shard_that_loses_its_broker_attempts_everything_itself() {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(dir.path());
    run(shard.keep(vec![numbered(10)])).unwrap();
    shard.shutdown();
    let shard = Shard::open(Settings::new(dir.path())).unwrap();
    assert_eq!(states(dir.path()), [("10".into(), State::Waiting)]);
    shard.shutdown();
}

#[test]
fn an_earlier_layout_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(dir.path());
    run(shard.keep(vec![numbered(10)])).unwrap();
    shard.shutdown();
    let conn = Connection::open(dir.path().join("events.sqlite")).unwrap();
    conn.execute_batch(
        "DROP INDEX owed; CREATE INDEX owed ON events(conversation, sequence) WHERE state < 2; DROP INDEX spooled; ALTER TABLE events DROP COLUMN flags;
         ALTER TABLE conversations DROP COLUMN done; UPDATE events SET state=2, reason=NULL, expires_ms=9223372036854775807;
         PRAGMA user_version=1;",
    )
    .unwrap();
    drop(conn);
    let shard = open(dir.path());
    assert_eq!(states(dir.path()), [("10".into(), State::Dead)]);
    assert_eq!(consult(&shard, 11, None), Verdict::Clear { done: None, idle: true });
    shard.shutdown();
}

#[test]
fn a_store_says_nothing_of_the_rows_of_the_one_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(dir.path());
    run(shard.keep(vec![numbered(10)])).unwrap();
    let drained = Place { store: Some(shard.store()), row: row_of(dir.path(), "10") };
    shard.shutdown();
    let shard = open(dir.path());
    assert_eq!(shard.store(), drained.store.unwrap(), "a restart changes nothing");
    shard.shutdown();
    std::fs::remove_file(dir.path().join("events.sqlite")).unwrap();
    let shard = open(dir.path());
    let ask = Ask { envelope: envelope(10), row: Some(drained) };
    assert_eq!(run(shard.consult(ask)), Some(Verdict::Clear { done: None, idle: true }), "the copy is all there is");
    let failed = Record { envelope: envelope(10), row: Some(drained), settlement: parked(0), unsure: false };
    assert!(run(shard.record(failed)));
    assert_eq!(states(dir.path()), [("10".into(), State::Parked)]);
    shard.shutdown();
}

#[test]
fn a_shard_refuses_the_volume_of_another() {
    let dir = tempfile::tempdir().unwrap();
    let named = |name: &str| Settings { name: Some(name.into()), ..Settings::new(dir.path()) };
    Shard::open(named("spool-0")).unwrap().shutdown();
    Shard::open(named("spool-0")).unwrap().shutdown();
    let refused = Shard::open(named("spool-1")).err().map(|error| error.to_string());
    assert!(refused.is_some_and(|said| said.contains("another shard than spool-1")));
}

fn skip(shard: &Shard) -> u64 {
    let filter = Filter { conversation: Some("a".into()), ..Filter::default() };
    run(shard.change(Change::Skip(filter))).unwrap()
}

#[test]
fn a_conversation_is_let_go_past_a_shard_that_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(dir.path());
    let queue = shard.queue().unwrap();
    let unsure = Record { envelope: envelope(10), row: None, settlement: parked(i64::MAX), unsure: true };
    assert!(run(shard.record(unsure)));
    assert_eq!(skip(&shard), 1);
    let Some(Read::Whole(head)) = queue.next(&key()).unwrap() else { panic!("nothing is owed") };
    assert_eq!((head.envelope.sequence, head.unsure, head.envelope.gap, head.due_ms), (10, false, true, 0));
    drop(queue);
    shard.shutdown();
}

#[test]
fn a_conversation_is_let_go_past_the_event_that_it_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    let shard = open(dir.path());
    let queue = shard.queue().unwrap();
    park(&shard, 10, None);
    park(&shard, 11, None);
    assert_eq!(skip(&shard), 1);
    let Some(Read::Whole(head)) = queue.next(&key()).unwrap() else { panic!("nothing is owed") };
    assert_eq!((head.envelope.sequence, head.envelope.gap), (11, true));
    let dead = list(dir.path(), &Filter { state: Some(State::Dead), ..Filter::default() }, 0, 10).unwrap();
    assert_eq!((dead[0].id.as_str(), dead[0].reason.as_deref()), ("10", Some("skipped")));
    // What only the broker can give is not passed over here.
    run(shard.keep(vec![numbered(9)])).unwrap();
    assert_eq!(skip(&shard), 0);
    drop(queue);
    shard.shutdown();
}
