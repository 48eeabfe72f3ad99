//! The one writer: everything queued goes into one transaction, one fsync, then each is answered.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use policy::names::TenantName;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{Notify, mpsc, oneshot};

use super::dedupe::{self, Buckets};
use super::operate::{self, Change};
use super::row::{self, DAMAGED, DEAD, NewRow, PARKED, Refused, weight};
use super::{Spool, SpoolError};
use crate::event::claim::{Key, conversation_key, event_key, next_number};
use crate::event::counters::add;
use crate::event::{AcceptError, Accepted, Counters, Entry, NewEvent};

/// Commands in one transaction at most: bounds what a caller waits for.
const COMMANDS_AT_ONCE: usize = 512;
/// Dead letters dropped by one transaction.
const EXPIRED_AT_ONCE: i64 = 200;
/// Conversations that are silent for this long are forgotten; the floor keeps numbers rising.
const CONVERSATION_MEMORY_US: i64 = 7 * 24 * 3_600_000_000;
const CONVERSATIONS_AT_ONCE: i64 = 500;

/// Why an event that was to be delivered is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The last attempt failed.
    OutOfAttempts,
    /// The destination answered 410.
    Gone,
    /// It cannot be written as a CloudEvent.
    Malformed,
}

impl Death {
    /// The reason, as label and column.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OutOfAttempts => "out_of_attempts",
            Self::Gone => "gone",
            Self::Malformed => "malformed",
        }
    }

    fn counter(self) -> Count {
        match self {
            Self::OutOfAttempts => |counters| &counters.dead_attempts,
            Self::Gone => |counters| &counters.dead_gone,
            Self::Malformed => |counters| &counters.dead_malformed,
        }
    }
}

/// What is known of an event's last attempt.
#[derive(Clone, Debug)]
pub struct LastAttempt {
    /// Attempts made so far.
    pub attempts: u32,
    /// The answer's status; none when there was no answer.
    pub status: Option<u16>,
    /// The beginning of the answer, or what went wrong.
    pub answer: String,
}

/// What became of an event that was attempted.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// The destination has it; its row goes.
    Delivered,
    /// It is tried again.
    Parked {
        /// The attempt that failed.
        last: LastAttempt,
        /// When it is due, in milliseconds since the epoch.
        due_ms: i64,
    },
    /// It is tried no more.
    Dead {
        /// The attempt that failed.
        last: LastAttempt,
        /// Why.
        death: Death,
        /// When the dead letter is dropped, in milliseconds since the epoch.
        expires_ms: i64,
    },
    /// Its row is set aside.
    Damaged,
}

type Count = fn(&Counters) -> &AtomicU64;

pub(crate) type AcceptReply = oneshot::Sender<Result<Vec<Accepted>, AcceptError>>;

pub(crate) enum Command {
    Append {
        entries: Vec<Entry>,
        reply: AcceptReply,
    },
    Settle {
        row: i64,
        settlement: Settlement,
        reply: oneshot::Sender<bool>,
    },
    Change {
        change: Change,
        reply: oneshot::Sender<Result<u64, SpoolError>>,
    },
    /// Retention and bounds, when there is no traffic to carry them.
    Tidy,
    Stop,
}

/// Conversations that have something new; bounded by the conversations in the spool.
#[derive(Default)]
pub(crate) struct Wakes {
    waiting: Mutex<HashMap<Key, TenantName>>,
    pub(crate) notify: Notify,
}

impl Wakes {
    fn add(&self, woken: Vec<(Key, TenantName)>) {
        if !woken.is_empty() {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(woken);
            self.notify.notify_one();
        }
    }

    pub(crate) fn take(&self) -> HashMap<Key, TenantName> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

enum Reply {
    Append(AcceptReply, Result<Vec<Accepted>, AcceptError>),
    Settle(oneshot::Sender<bool>),
    Change(oneshot::Sender<Result<u64, SpoolError>>, u64),
}

/// What a transaction changes outside the store, once it is durable.
#[derive(Default)]
struct Effects {
    depth: HashMap<TenantName, (i64, i64)>,
    ids: Vec<(String, i64, i64)>,
    woken: Vec<(Key, TenantName)>,
    counts: Vec<(Count, u64)>,
    floor: Option<i64>,
}

impl Effects {
    fn weigh(&mut self, tenant: &TenantName, rows: i64, bytes: i64) {
        let depth = self.depth.entry(tenant.clone()).or_default();
        depth.0 += rows;
        depth.1 += bytes;
    }
}

pub(crate) struct Writer {
    spool: Spool,
    counters: Arc<Counters>,
    wakes: Arc<Wakes>,
    buckets: Buckets,
    floor: i64,
    accept_below: i64,
    max_ids: i64,
}

impl Writer {
    pub(crate) fn load(
        spool: Spool,
        counters: Arc<Counters>,
        wakes: Arc<Wakes>,
        (accept_below, max_ids): (u64, u64),
    ) -> Result<Self, SpoolError> {
        let buckets = Buckets::load(&spool.conn)?;
        let floor = spool
            .conn
            .query_row("SELECT value FROM facts WHERE name='floor'", [], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        for (tenant, rows, bytes) in operate::depths(&spool.conn)? {
            if let Ok(tenant) = TenantName::parse(&tenant) {
                counters.change_depth(&tenant, rows, bytes);
            }
        }
        let bound = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Ok(Self { spool, counters, wakes, buckets, floor, accept_below: bound(accept_below), max_ids: bound(max_ids) })
    }

    /// Runs until told to stop, or until nobody can tell it anything any more.
    pub(crate) fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut stop = false;
        while !stop {
            let Some(first) = commands.blocking_recv() else { break };
            let mut batch = vec![first];
            while batch.len() < COMMANDS_AT_ONCE
                && let Ok(command) = commands.try_recv()
            {
                batch.push(command);
            }
            stop = batch.iter().any(|command| matches!(command, Command::Stop));
            self.commit(batch);
        }
        commands.close();
        let _ = self.spool.conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        drop(self.spool.lock);
    }

    fn commit(&mut self, batch: Vec<Command>) {
        let mut replies = Vec::with_capacity(batch.len());
        let mut effects = Effects::default();
        let result = self.transact(batch, &mut replies, &mut effects);
        if let Err(cause) = result {
            // Nothing of the batch counts: all of it is answered so, and what was written is rolled back.
            if !self.spool.conn.is_autocommit() {
                let _ = self.spool.conn.execute_batch("ROLLBACK");
            }
            add(&self.counters.not_durable, replies.len() as u64);
            let cause = Arc::new(cause);
            for reply in replies {
                reply.fail(&cause);
            }
            return;
        }
        add(&self.counters.commits, 1);
        self.apply(effects);
        for reply in replies {
            reply.succeed();
        }
    }

    fn transact(
        &mut self,
        batch: Vec<Command>,
        replies: &mut Vec<Reply>,
        effects: &mut Effects,
    ) -> rusqlite::Result<()> {
        let mut failed = self.spool.conn.execute_batch("BEGIN IMMEDIATE").err();
        let now = Timestamp::now();
        let room = self.has_room();
        // After a failure the rest is still taken, to be answered.
        for command in batch {
            let skip = failed.is_some();
            let done = match command {
                Command::Append { entries, reply } => {
                    let result = if skip { Ok(Ok(Vec::new())) } else { self.append(&entries, now, room, effects) };
                    let (outcome, error) = split(result, Ok(Vec::new()));
                    replies.push(Reply::Append(reply, outcome));
                    error
                }
                Command::Settle { row, settlement, reply } => {
                    replies.push(Reply::Settle(reply));
                    if skip { None } else { self.settle(row, &settlement, effects).err() }
                }
                Command::Change { change, reply } => {
                    let result = if skip { Ok(0) } else { self.change(&change, effects) };
                    let (count, error) = split(result, 0);
                    replies.push(Reply::Change(reply, count));
                    error
                }
                Command::Tidy if !skip => self.tidy(now, effects).err(),
                Command::Tidy | Command::Stop => None,
            };
            failed = failed.or(done);
        }
        match failed {
            Some(cause) => Err(cause),
            None => self.forget_ids(now, effects).and_then(|()| self.spool.conn.execute_batch("COMMIT")),
        }
    }

    fn has_room(&self) -> bool {
        let pragma = |name: &str| -> rusqlite::Result<i64> {
            self.spool.conn.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get(0))
        };
        match (pragma("page_count"), pragma("freelist_count")) {
            (Ok(pages), Ok(free)) => (pages - free).saturating_mul(super::PAGE_BYTES) < self.accept_below,
            _ => false,
        }
    }

    fn append(
        &self,
        entries: &[Entry],
        now: Timestamp,
        room: bool,
        effects: &mut Effects,
    ) -> rusqlite::Result<Result<Vec<Accepted>, AcceptError>> {
        let hour = dedupe::hour(now.as_millisecond());
        let full = self.full_tenant(entries, effects);
        if full.is_some() || !room {
            // What is already here may still be said to be here.
            let mut known = Vec::with_capacity(entries.len());
            for entry in entries {
                let (new, refused) = entry.parts();
                let key = event_key(&new.event, refused.is_some());
                match dedupe::recall(&self.spool.conn, new.event.tenant.as_str(), &key, hour)? {
                    Some(sequence) => known.push(Accepted { sequence, duplicate: true }),
                    None => {
                        return Ok(
                            Err(full.map_or(AcceptError::Reserve, |tenant| AcceptError::PendingFull { tenant })),
                        );
                    }
                }
            }
            return Ok(Ok(known));
        }
        let mut accepted = Vec::with_capacity(entries.len());
        for entry in entries {
            accepted.push(self.append_one(entry, now, effects)?);
        }
        Ok(Ok(accepted))
    }

    fn full_tenant(&self, entries: &[Entry], effects: &Effects) -> Option<TenantName> {
        let mut sums: Vec<(&TenantName, u64)> = Vec::new();
        for entry in entries {
            let NewEvent { event, pending_bytes, .. } = entry.parts().0;
            let before = match sums.iter_mut().find(|(tenant, _)| **tenant == event.tenant) {
                Some((_, sum)) => {
                    *sum += weight(event);
                    *sum
                }
                None => {
                    sums.push((&event.tenant, weight(event)));
                    weight(event)
                }
            };
            let uncommitted = effects.depth.get(&event.tenant).map_or(0, |depth| depth.1);
            let held = self.counters.depth_of(&event.tenant).bytes.saturating_add_signed(uncommitted);
            if held.saturating_add(before) > *pending_bytes {
                return Some(event.tenant.clone());
            }
        }
        None
    }

    fn append_one(&self, entry: &Entry, now: Timestamp, effects: &mut Effects) -> rusqlite::Result<Accepted> {
        let conn = &self.spool.conn;
        let (NewEvent { event, dedupe_window, .. }, refused) = entry.parts();
        let tenant = event.tenant.as_str();
        let now_ms = now.as_millisecond();
        let id = event_key(event, refused.is_some());
        if let Some(sequence) = dedupe::recall(conn, tenant, &id, dedupe::hour(now_ms))? {
            effects.counts.push((|counters| &counters.duplicates, 1));
            return Ok(Accepted { sequence, duplicate: true });
        }
        let conversation = conversation_key(&event.tenant, &event.source, &event.conversation);
        let previous: Option<i64> = conn
            .prepare_cached("SELECT last FROM conversations WHERE key=?")?
            .query_row([conversation], |row| row.get(0))
            .optional()?;
        let sequence = next_number(previous, self.floor, now.as_microsecond());
        conn.prepare_cached("INSERT INTO conversations VALUES(?,?) ON CONFLICT DO UPDATE SET last=excluded.last")?
            .execute(params![conversation, sequence])?;
        let until = dedupe::hour(add_ms(now_ms, *dedupe_window));
        if let Some(old) = dedupe::remember(conn, tenant, &id, until, sequence)? {
            effects.ids.push((tenant.to_owned(), old, -1));
        }
        effects.ids.push((tenant.to_owned(), until, 1));
        let dead = refused.map(|(reason, retention)| Refused { reason, expires_ms: add_ms(now_ms, retention) });
        if dead.is_some() {
            effects.counts.push((|counters| &counters.refused, 1));
        } else {
            effects.counts.push((|counters| &counters.accepted, 1));
            effects.woken.push((conversation, event.tenant.clone()));
        }
        row::insert(conn, &NewRow { event, conversation, sequence, previous, accepted_ms: now_ms, refused: dead })?;
        effects.weigh(&event.tenant, 1, i64::try_from(weight(event)).unwrap_or(i64::MAX));
        Ok(Accepted { sequence, duplicate: false })
    }

    fn settle(&self, row: i64, settlement: &Settlement, effects: &mut Effects) -> rusqlite::Result<()> {
        let conn = &self.spool.conn;
        match settlement {
            Settlement::Delivered => {
                let removed = remove(conn, "row=?", params![row], effects)?;
                effects.counts.push((|counters| &counters.delivered, removed));
                return Ok(());
            }
            Settlement::Parked { last: LastAttempt { attempts, status, answer }, due_ms } => {
                effects.counts.push((|counters| &counters.retried, 1));
                conn.prepare_cached(
                    "UPDATE events SET state=?, attempts=?, due_ms=?, last_status=?, last_answer=? WHERE row=?",
                )?
                .execute(params![PARKED, attempts, due_ms, status, answer, row])?
            }
            Settlement::Dead { last: LastAttempt { attempts, status, answer }, death, expires_ms } => {
                effects.counts.push((death.counter(), 1));
                conn.prepare_cached(
                    "UPDATE events SET state=?, attempts=?, reason=?, last_status=?, last_answer=?, expires_ms=?
                     WHERE row=?",
                )?
                .execute(params![DEAD, attempts, death.as_str(), status, answer, expires_ms, row])?
            }
            Settlement::Damaged => {
                effects.counts.push((|counters| &counters.damaged, 1));
                conn.prepare_cached("UPDATE events SET state=?, reason='damaged' WHERE row=?")?
                    .execute(params![DAMAGED, row])?
            }
        };
        Ok(())
    }

    fn change(&self, change: &Change, effects: &mut Effects) -> rusqlite::Result<u64> {
        match change {
            Change::Replay(filter) => {
                let woken = operate::replay(&self.spool.conn, filter)?;
                let count = woken.len() as u64;
                let named = |(key, tenant): (Key, String)| Some((key, TenantName::parse(&tenant).ok()?));
                effects.woken.extend(woken.into_iter().filter_map(named));
                Ok(count)
            }
            Change::Drop(filter) => {
                let (condition, values) = filter.condition();
                remove(&self.spool.conn, &condition, rusqlite::params_from_iter(values), effects)
            }
        }
    }

    fn tidy(&self, now: Timestamp, effects: &mut Effects) -> rusqlite::Result<()> {
        let conn = &self.spool.conn;
        let expired = remove(
            conn,
            "row IN (SELECT row FROM events WHERE expires_ms < ? AND state=2 LIMIT ?)",
            params![now.as_millisecond(), EXPIRED_AT_ONCE],
            effects,
        )?;
        effects.counts.push((|counters| &counters.dead_expired, expired));
        let cutoff = now.as_microsecond().saturating_sub(CONVERSATION_MEMORY_US);
        let forgotten = conn
            .prepare_cached(
                "DELETE FROM conversations WHERE key IN (SELECT key FROM conversations WHERE last < ? LIMIT ?)",
            )?
            .execute(params![cutoff, CONVERSATIONS_AT_ONCE])?;
        if forgotten > 0 {
            conn.prepare_cached(
                "INSERT INTO facts VALUES('floor', ?) ON CONFLICT DO UPDATE SET value=max(value, excluded.value)",
            )?
            .execute([cutoff])?;
            effects.floor = Some(cutoff);
        }
        Ok(())
    }

    fn forget_ids(&self, now: Timestamp, effects: &mut Effects) -> rusqlite::Result<()> {
        let Some((tenant, hour, early)) = self.buckets.surplus(dedupe::hour(now.as_millisecond()), self.max_ids) else {
            return Ok(());
        };
        let dropped = dedupe::forget(&self.spool.conn, &tenant, hour)?;
        if early {
            effects.counts.push((|counters| &counters.ids_forgotten, dropped as u64));
        }
        effects.ids.push((tenant, hour, -i64::try_from(dropped).unwrap_or(0)));
        Ok(())
    }

    fn apply(&mut self, effects: Effects) {
        let Effects { depth, ids, woken, counts, floor } = effects;
        for (tenant, (rows, bytes)) in depth {
            self.counters.change_depth(&tenant, rows, bytes);
        }
        for (tenant, hour, n) in ids {
            self.buckets.change(&tenant, hour, n);
        }
        for (counter, n) in counts {
            add(counter(&self.counters), n);
        }
        self.floor = self.floor.max(floor.unwrap_or(0));
        self.wakes.add(woken);
    }
}

fn add_ms(now_ms: i64, more: std::time::Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(more.as_millis()).unwrap_or(i64::MAX))
}

fn split<T>(result: rusqlite::Result<T>, otherwise: T) -> (T, Option<rusqlite::Error>) {
    match result {
        Ok(value) => (value, None),
        Err(cause) => (otherwise, Some(cause)),
    }
}

fn remove(
    conn: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
    effects: &mut Effects,
) -> rusqlite::Result<u64> {
    let mut statement =
        conn.prepare_cached(&format!("DELETE FROM events WHERE {condition} RETURNING tenant, bytes"))?;
    let mut rows = statement.query(values)?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        if let Ok(tenant) = TenantName::parse(row.get_ref(0)?.as_str()?) {
            effects.weigh(&tenant, -1, -row.get::<_, i64>(1)?);
        }
    }
    Ok(count)
}

impl Reply {
    fn succeed(self) {
        // Who no longer listens gets the same answer when it asks again.
        match self {
            Self::Append(reply, result) => drop(reply.send(result)),
            Self::Settle(reply) => drop(reply.send(true)),
            Self::Change(reply, count) => drop(reply.send(Ok(count))),
        }
    }

    fn fail(self, cause: &Arc<rusqlite::Error>) {
        match self {
            Self::Append(reply, _) => drop(reply.send(Err(AcceptError::NotDurable { cause: Some(cause.clone()) }))),
            Self::Settle(reply) => drop(reply.send(false)),
            Self::Change(reply, _) => drop(reply.send(Err(SpoolError::Failed(cause.clone())))),
        }
    }
}
