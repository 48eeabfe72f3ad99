//! One transaction for many: who of them fails, and what of it counts.

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::*;
use crate::event::sample::{deliver, event};
use crate::event::spool::command::{Ask, Settlement, Verdict};
use crate::event::spool::operate::{Filter, list};
use crate::event::{AcceptError, Accepted, Entry, Envelope};

const MIB: u64 = 1 << 20;

/// A writer that nobody but the test tells anything, beside a broker.
fn writer(directory: &std::path::Path, max_bytes: u64) -> Writer {
    let spool = Spool::open(directory, max_bytes).unwrap();
    Writer::load(spool, Arc::default(), (Arc::default(), Arc::default()), (max_bytes, 1000), true).unwrap()
}

/// Whatever writes an event with this id makes a mess when it is written, or when it is committed.
fn mess(writer: &Writer) -> &Connection {
    let conn = &writer.spool.conn;
    conn.execute_batch(
        "PRAGMA foreign_keys=ON;
         CREATE TABLE parent(id INTEGER PRIMARY KEY);
         CREATE TABLE child(parent INTEGER REFERENCES parent(id) DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER at_once AFTER INSERT ON events WHEN new.id='bad' BEGIN SELECT RAISE(ABORT, 'no'); END;
         CREATE TRIGGER at_commit AFTER INSERT ON events WHEN new.id='late' BEGIN INSERT INTO child VALUES(1); END;",
    )
    .unwrap();
    conn
}

type Answer = oneshot::Receiver<Result<Vec<Accepted>, AcceptError>>;

fn append(entries: Vec<Entry>) -> (Command, Answer) {
    let (reply, answer) = oneshot::channel();
    (Command::Append { entries, reply }, answer)
}

fn heard<T>(mut answer: oneshot::Receiver<T>) -> T {
    answer.try_recv().unwrap()
}

fn stored(directory: &std::path::Path) -> Vec<String> {
    list(directory, &Filter::default(), 0, 10).unwrap().into_iter().map(|one| one.id).collect()
}

#[test]
fn a_command_that_cannot_be_written_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path(), 64 * MIB);
    mess(&writer);
    let (first, first_said) = append(vec![deliver("a", "1")]);
    let (bad, bad_said) = append(vec![deliver("a", "2"), deliver("a", "bad")]);
    let (last, last_said) = append(vec![deliver("a", "3")]);
    writer.commit(vec![first, bad, last]);
    let first = heard(first_said).unwrap();
    assert!(matches!(heard(bad_said), Err(AcceptError::NotDurable { cause: Some(_) })));
    assert!(heard(last_said).unwrap()[0].sequence > first[0].sequence);
    assert_eq!(stored(dir.path()), ["1", "3"]);
    let tenant = TenantName::parse("acme").unwrap();
    assert_eq!(writer.counters.depth_of(&tenant).rows, 2, "what failed is not counted");
    assert_eq!(writer.counters.not_durable.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn an_event_too_large_for_what_is_left_fails_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path(), MIB);
    let (first, first_said) = append(vec![deliver("a", "1")]);
    let (large, large_said) = append(vec![Entry::Deliver(event("acme", "a", "large", 1_500_000))]);
    let (last, last_said) = append(vec![deliver("a", "3")]);
    writer.commit(vec![first, large, last]);
    assert!(heard(first_said).is_ok() && heard(large_said).is_err() && heard(last_said).is_ok());
    assert_eq!(stored(dir.path()), ["1", "3"]);
}

#[test]
fn a_row_that_cannot_be_read_fails_who_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path(), 64 * MIB);
    let (first, first_said) = append(vec![deliver("a", "1"), deliver("b", "2")]);
    writer.commit(vec![first]);
    heard(first_said).unwrap();
    writer.spool.conn.execute("UPDATE events SET conversation=x'22' WHERE id='1'", []).unwrap();
    let settle = |row| {
        let (reply, said) = oneshot::channel();
        (Command::Settle { row, settlement: Settlement::Delivered, reply }, said)
    };
    let ((damaged, damaged_said), (whole, whole_said)) = (settle(1), settle(2));
    let (reply, verdict) = oneshot::channel();
    let envelope = Envelope { sequence: i64::MAX, ..crate::event::sample::envelope(1) };
    let consult = Command::Consult { ask: Box::new(Ask { envelope, row: None }), reply };
    writer.commit(vec![damaged, whole, consult]);
    assert!(!heard(damaged_said) && heard(whole_said));
    assert!(matches!(heard(verdict), Some(Verdict::Clear { .. })));
    assert_eq!(stored(dir.path()), ["1"]);
}

#[test]
fn a_commit_that_fails_fails_all_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = writer(dir.path(), 64 * MIB);
    mess(&writer);
    let (first, first_said) = append(vec![deliver("a", "1")]);
    let (late, late_said) = append(vec![deliver("a", "late")]);
    writer.commit(vec![first, late]);
    assert!(heard(first_said).is_err() && heard(late_said).is_err());
    assert_eq!(stored(dir.path()), [""; 0]);
    let (again, again_said) = append(vec![deliver("a", "1")]);
    writer.commit(vec![again]);
    assert!(!heard(again_said).unwrap()[0].duplicate, "its id was not remembered");
    assert_eq!(stored(dir.path()), ["1"]);
}
