//! The one writer: everything queued goes into one transaction, one fsync, then each is answered.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use policy::error::chain;
use policy::names::{Kind, TenantName};
use rusqlite::{OptionalExtension, params};
use tokio::sync::{Notify, mpsc};

use super::batch::{Outcome, Performed};
use super::command::{Command, Count};
use super::dedupe::{self, Buckets};
use super::known::Known;
use super::operate::{self, Change};
use super::outcome_log;
use super::room::Store;
use super::row::{DEAD, DRAINED, SPOOLED, WAITING, weight};
use super::settle::{self, remove};
use super::skip;
use super::{Spool, SpoolError};
use crate::event::claim::Key;
use crate::event::counters::{DepthChange, add};
use crate::event::die::{self, Point};
use crate::event::outcomes::{EventOutcome, OutcomeKind};
use crate::event::{Counters, Event};

/// Commands in one transaction at most: bounds what a caller waits for.
const COMMANDS_AT_ONCE: usize = 512;
/// Dead letters dropped by one transaction.
const EXPIRED_AT_ONCE: i64 = 2000;
/// What was drained so long ago and is not settled is drained again.
const DRAINED_LONG_AGO_MS: i64 = 2 * 60_000;
/// Conversations that are silent for this long are forgotten; the floor keeps numbers rising.
const CONVERSATION_MEMORY_US: i64 = 7 * 24 * 3_600_000_000;
const CONVERSATIONS_AT_ONCE: i64 = 500;

/// Conversations that have something new; bounded by the conversations in the spool.
#[derive(Default)]
pub(crate) struct Wakes {
    waiting: Mutex<HashMap<Key, TenantName>>,
    pub(crate) notify: Notify,
    /// Something waits for the broker.
    pub(crate) spooled: Notify,
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

/// What a transaction changes outside the store, once it is durable.
#[derive(Clone, Default)]
pub(super) struct Effects {
    pub(super) depth: HashMap<TenantName, DepthChange>,
    pub(super) ids: Vec<(String, i64, i64)>,
    /// New ids with the hours until which they are remembered, and their numbers.
    pub(super) known: Vec<(Key, i64, i64)>,
    /// Ids were given up before their time.
    gave_up: bool,
    pub(super) woken: Vec<(Key, TenantName)>,
    pub(super) counts: Vec<(Count, u64)>,
    /// Outcomes of its entries and rows.
    pub(super) outcomes: Vec<EventOutcome>,
    /// Something waits for the broker.
    pub(super) spooled: bool,
    floor: Option<i64>,
}

impl Effects {
    pub(super) fn weigh(&mut self, tenant: &TenantName, change: DepthChange) {
        self.depth.entry(tenant.clone()).or_default().add(change);
    }

    /// A row more.
    pub(super) fn weigh_new(&mut self, event: &Event) {
        let bytes = i64::try_from(weight(event)).unwrap_or(i64::MAX);
        self.weigh(&event.tenant, DepthChange::row(1, bytes, event.source.kind == Kind::Route));
    }
}

/// What a transaction begins with.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    pub(super) now: Timestamp,
    /// The contents of the store.
    pub(super) store: Store,
}

pub(crate) struct Writer {
    pub(super) spool: Spool,
    pub(super) counters: Arc<Counters>,
    wakes: Arc<Wakes>,
    known: Arc<Known>,
    buckets: Buckets,
    pub(super) floor: i64,
    accept_below: u64,
    max_ids: i64,
    max_outcomes: i64,
    /// A broker stands before this spool: what is settled here is remembered for those that ask.
    pub(super) beside_broker: bool,
}

impl Writer {
    pub(crate) fn load(
        spool: Spool,
        counters: Arc<Counters>,
        (wakes, known): (Arc<Wakes>, Arc<Known>),
        (accept_below, max_ids): (u64, u64),
        beside_broker: bool,
    ) -> Result<Self, SpoolError> {
        let buckets = Buckets::load(&spool.conn)?;
        if beside_broker {
            settle::drain_again(&spool.conn, i64::MAX)?;
        } else {
            // What waited for a broker that is no more is attempted from here.
            spool
                .conn
                .execute("UPDATE events SET state=?1 WHERE state IN (?2, ?3)", params![WAITING, SPOOLED, DRAINED])?;
        }
        let floor = spool
            .conn
            .query_row("SELECT value FROM facts WHERE name='floor'", [], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        for (tenant, depth) in operate::depths(&spool.conn)? {
            if let Ok(tenant) = TenantName::parse(&tenant) {
                counters.change_depth(&tenant, depth);
            }
        }
        let max_outcomes = outcome_log::most(accept_below.saturating_mul(2));
        let max_ids = i64::try_from(max_ids).unwrap_or(i64::MAX);
        Ok(Self { spool, counters, wakes, known, buckets, floor, accept_below, max_ids, max_outcomes, beside_broker })
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
        match self.perform_all(&batch) {
            Ok(Performed { outcomes, effects }) => {
                die::at(Point::Committed);
                add(&self.counters.commits, 1);
                let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
                add(&self.counters.not_durable, failed as u64);
                self.apply(effects);
                for (command, outcome) in batch.into_iter().zip(outcomes) {
                    command.answer(outcome);
                }
            }
            Err(cause) => {
                // Nothing of the batch counts: all of it is answered so.
                add(&self.counters.not_durable, batch.len() as u64);
                tracing::error!(error = chain(&*cause), "the spool could not write");
                for command in batch {
                    command.answer(Err(cause.clone()));
                }
            }
        }
    }

    /// What a command does inside the transaction that it finds.
    pub(super) fn perform(&self, command: &Command, begun: Begun, effects: &mut Effects) -> rusqlite::Result<Outcome> {
        Ok(match command {
            Command::Append { entries, .. } => Outcome::Accepted(self.append(entries, begun, effects)?),
            Command::Keep { events, .. } => Outcome::Accepted(self.keep(events, begun, effects)?),
            Command::Consult { ask, .. } => Outcome::Verdict(self.consult(ask)?),
            Command::Record { record, .. } => Outcome::done(self.record(record, begun, effects)?),
            Command::Bury { unreadable, .. } => Outcome::done(self.bury(unreadable, begun, effects)?),
            Command::Drained { rows, .. } => Outcome::done(self.drained(rows, begun)?),
            Command::Settle { row, settlement, .. } => Outcome::done(self.settle(*row, settlement, effects)?),
            Command::Revive { revivals, .. } => Outcome::Revived(self.revive(revivals, begun, effects)?),
            Command::Change { change, .. } => Outcome::Changed(self.change(change, effects)?),
            Command::Outcomes(outcomes) => Outcome::done(self.log_outcomes(outcomes, begun)?),
            Command::Tidy => Outcome::done(self.tidy(begun.now, effects)?),
            Command::Stop => Outcome::Done,
        })
    }

    pub(super) fn begun(&self) -> Begun {
        let store = Store {
            used: self.used(),
            accepting: self.accept_below,
            tenants: self.counters.tenants(),
            weight: self.counters.weight(),
        };
        self.counters.store_used.store(store.used, Ordering::Relaxed);
        self.counters.store_accepting.store(store.accepting, Ordering::Relaxed);
        Begun { now: Timestamp::now(), store }
    }

    /// Bytes of the file that are in use; all of them when the file cannot say.
    fn used(&self) -> u64 {
        let pragma = |name: &str| -> rusqlite::Result<i64> {
            self.spool.conn.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get(0))
        };
        match (pragma("page_count"), pragma("freelist_count")) {
            (Ok(pages), Ok(free)) => (pages - free).saturating_mul(super::PAGE_BYTES).unsigned_abs(),
            (Err(_), _) | (_, Err(_)) => u64::MAX,
        }
    }

    fn change(&self, change: &Change, effects: &mut Effects) -> rusqlite::Result<u64> {
        effects.outcomes.extend(self.changed(change)?);
        match change {
            Change::Skip(filter) => {
                let woken = skip::skip(&self.spool.conn, filter, Timestamp::now().as_millisecond())?;
                let count = woken.len() as u64;
                effects.counts.push((|counters| &counters.skipped, count));
                effects.woken.extend(woken);
                Ok(count)
            }
            Change::Drop(filter) => {
                let (condition, values) = filter.condition();
                remove(&self.spool.conn, &condition, rusqlite::params_from_iter(values), effects)
            }
        }
    }

    /// The outcomes of what a change is about to change.
    fn changed(&self, change: &Change) -> rusqlite::Result<Vec<EventOutcome>> {
        let conn = &self.spool.conn;
        match change {
            Change::Drop(filter) => {
                let (condition, values) = filter.condition();
                outcome_log::of_rows(conn, &condition, rusqlite::params_from_iter(values), OutcomeKind::Dropped)
            }
            Change::Skip(filter) => {
                let mut outcomes = Vec::new();
                for row in skip::rows(conn, filter)? {
                    let skipped = outcome_log::of_rows(conn, "row=?", params![row], OutcomeKind::Dead)?;
                    outcomes.extend(skipped.into_iter().map(|outcome| outcome.because("skipped")));
                }
                Ok(outcomes)
            }
        }
    }

    /// The outcome log gives way to events: a store without room writes none.
    fn log_outcomes(&self, outcomes: &[EventOutcome], begun: Begun) -> rusqlite::Result<()> {
        if !begun.store.has_room() {
            self.counters.outcomes.lose(outcomes.len());
            return Ok(());
        }
        outcome_log::write(&self.spool.conn, outcomes, self.max_outcomes)
    }

    fn tidy(&self, now: Timestamp, effects: &mut Effects) -> rusqlite::Result<()> {
        let conn = &self.spool.conn;
        let expired = remove(
            conn,
            "row IN (SELECT row FROM events WHERE expires_ms < ? AND state=? LIMIT ?)",
            params![now.as_millisecond(), DEAD, EXPIRED_AT_ONCE],
            effects,
        )?;
        effects.counts.push((|counters| &counters.dead_expired, expired));
        if self.beside_broker {
            let again = settle::drain_again(conn, now.as_millisecond().saturating_sub(DRAINED_LONG_AGO_MS))?;
            effects.spooled |= again > 0;
        }
        outcome_log::tidy(conn, self.max_outcomes)?;
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

    pub(super) fn forget_ids(&self, now: Timestamp, effects: &mut Effects) -> rusqlite::Result<()> {
        let Some((tenant, hour, early)) = self.buckets.surplus(dedupe::hour(now.as_millisecond()), self.max_ids) else {
            return Ok(());
        };
        let dropped = dedupe::forget(&self.spool.conn, &tenant, hour)?;
        if early {
            effects.counts.push((|counters| &counters.ids_forgotten, dropped as u64));
            effects.gave_up = true;
        }
        effects.ids.push((tenant, hour, -i64::try_from(dropped).unwrap_or(0)));
        Ok(())
    }

    fn apply(&mut self, effects: Effects) {
        let Effects { depth, ids, known, gave_up, woken, counts, outcomes, spooled, floor } = effects;
        for (tenant, change) in depth {
            self.counters.change_depth(&tenant, change);
        }
        for (tenant, hour, n) in ids {
            self.buckets.change(&tenant, hour, n);
        }
        // What was given up may be among the new ones.
        if gave_up {
            self.known.clear();
        } else {
            self.known.add(known);
        }
        for (counter, n) in counts {
            add(counter(&self.counters), n);
        }
        outcomes.into_iter().for_each(|outcome| self.counters.outcomes.record(outcome));
        self.floor = self.floor.max(floor.unwrap_or(0));
        self.wakes.add(woken);
        if spooled {
            self.wakes.spooled.notify_one();
        }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod batch_tests;
