//! What became of events that were attempted.

use policy::names::TenantName;
use rusqlite::{Connection, OptionalExtension, params};

use super::command::{Count, LastAttempt, Record, Settlement, Unreadable};
use super::row::{self, DAMAGED, DEAD, DRAINED, Flags, NewRow, PARKED, ROUTE, SPOOLED, Start};
use super::writer::{Begun, Effects, Writer};
use crate::event::Envelope;
use crate::event::claim::{Key, conversation_key};
use crate::event::counters::DepthChange;

impl Writer {
    pub(super) fn settle(&self, row: i64, settlement: &Settlement, effects: &mut Effects) -> rusqlite::Result<()> {
        if self.beside_broker {
            self.remember(row, settlement, effects)?;
        }
        let conn = &self.spool.conn;
        match settlement {
            Settlement::Delivered => {
                let removed = remove(conn, "row=?", params![row], effects)?;
                effects.counts.push((|counters| &counters.delivered, removed));
                return Ok(());
            }
            Settlement::Parked { last: LastAttempt { attempts, status, answer }, due_ms } => {
                effects.counts.push((waits(*attempts), 1));
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

    /// Beside a broker, who delivers asks what was settled here, and what waits behind it may go now.
    fn remember(&self, row: i64, settlement: &Settlement, effects: &mut Effects) -> rusqlite::Result<()> {
        let found = self
            .spool
            .conn
            .prepare_cached("SELECT conversation, sequence, tenant FROM events WHERE row=?")?
            .query_row([row], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))
            .optional()?;
        let Some((conversation, sequence, tenant)) = found else { return Ok(()) };
        match settlement {
            Settlement::Delivered | Settlement::Dead { .. } => self.done(&conversation, sequence)?,
            Settlement::Parked { .. } | Settlement::Damaged => {}
        }
        if let Ok(tenant) = TenantName::parse(&tenant) {
            effects.woken.push((conversation, tenant));
        }
        Ok(())
    }

    fn done(&self, conversation: &Key, sequence: i64) -> rusqlite::Result<()> {
        self.spool
            .conn
            .prepare_cached(
                "INSERT INTO conversations(key, last, done) VALUES(?1, ?2, ?2)
                 ON CONFLICT DO UPDATE SET last=max(last, ?2), done=max(coalesce(done, 0), ?2)",
            )?
            .execute(params![conversation, sequence])?;
        Ok(())
    }

    /// These rows are in the broker; one that was settled meanwhile stays as it is.
    pub(super) fn drained(&self, rows: &[i64], begun: Begun) -> rusqlite::Result<()> {
        let mut statement = self
            .spool
            .conn
            .prepare_cached(&format!("UPDATE events SET state={DRAINED}, due_ms=? WHERE row=? AND state={SPOOLED}"))?;
        for row in rows {
            statement.execute(params![begun.now.as_millisecond(), row])?;
        }
        Ok(())
    }

    /// What became of an event that came from the broker: its row here is settled, or it gets one.
    pub(super) fn record(&self, record: &Record, begun: Begun, effects: &mut Effects) -> rusqlite::Result<()> {
        let Record { envelope, row, settlement, unsure } = record;
        let event = &envelope.event;
        let conversation = conversation_key(&event.tenant, &event.source, &event.conversation);
        let owed = match self.own(*row) {
            // A row that is gone was settled: whatever this says of its event comes too late.
            Some(row) if self.state_of(row, envelope.sequence, &conversation)?.is_none_or(|state| state >= DEAD) => {
                return Ok(());
            }
            Some(row) => Some(row),
            None => self.owed_row(&conversation, envelope.sequence, &event.id)?,
        };
        if let Some(row) = owed {
            let flags = Flags::of(envelope).with(Flags::UNSURE, *unsure);
            self.flag(row, flags)?;
            return self.settle(row, settlement, effects);
        }
        let start = match settlement {
            Settlement::Parked { last, due_ms } => {
                effects.counts.push((waits(last.attempts), 1));
                Start::Parked { last: Some(last), due_ms: *due_ms }
            }
            Settlement::Dead { last, death, expires_ms } => {
                effects.counts.push((death.counter(), 1));
                self.done(&conversation, envelope.sequence)?;
                Start::Dead { reason: death.as_str(), violations: None, last: Some(last), expires_ms: *expires_ms }
            }
            // It was never here, so there is nothing to settle.
            Settlement::Delivered | Settlement::Damaged => return Ok(()),
        };
        self.add(envelope, conversation, (start, *unsure), begun, effects)
    }

    /// Sets a message aside that is no event. It has no tenant, and stays until somebody drops it.
    pub(super) fn bury(&self, unreadable: &Unreadable, begun: Begun, effects: &mut Effects) -> rusqlite::Result<()> {
        let Unreadable { body, problem } = unreadable;
        self.spool
            .conn
            .prepare_cached(&format!(
                "INSERT INTO events(conversation, sequence, tenant, source, subject, id, accepted_ms, bytes, head, data,
                   checksum, state, reason, last_answer) VALUES(x'', 0, '', '', '', '', ?, ?, x'', ?, x'', {DAMAGED}, ?, ?)"
            ))?
            .execute(params![
                begun.now.as_millisecond(),
                i64::try_from(body.len()).unwrap_or(i64::MAX),
                &**body,
                "unreadable",
                problem
            ])?;
        effects.counts.push((|counters| &counters.unreadable, 1));
        Ok(())
    }

    /// A row for an event that the broker held.
    pub(super) fn add(
        &self,
        envelope: &Envelope,
        conversation: Key,
        (start, unsure): (Start<'_>, bool),
        begun: Begun,
        effects: &mut Effects,
    ) -> rusqlite::Result<()> {
        let event = &envelope.event;
        let flags = Flags::of(envelope).with(Flags::UNSURE, unsure);
        let (sequence, previous) = (envelope.sequence, envelope.previous);
        let accepted_ms = begun.now.as_millisecond();
        let origin = None;
        row::insert(
            &self.spool.conn,
            &NewRow { event, origin, conversation, sequence, previous, accepted_ms, flags, start },
        )?;
        effects.weigh_new(event);
        effects.woken.push((conversation, event.tenant.clone()));
        Ok(())
    }

    fn flag(&self, row: i64, flags: Flags) -> rusqlite::Result<()> {
        self.spool.conn.prepare_cached("UPDATE events SET flags=flags|? WHERE row=?")?.execute(params![flags, row])?;
        Ok(())
    }
}

/// Has what was drained long ago drained again, or all of it: its copy may be gone, and a second one does no harm.
pub(super) fn drain_again(conn: &Connection, before_ms: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(&format!("UPDATE events SET state={SPOOLED} WHERE state={DRAINED} AND due_ms<?"))?
        .execute([before_ms])
}

/// What waits after an attempt is retried; without one it is parked.
fn waits(attempts: u32) -> Count {
    if attempts > 0 { |counters| &counters.retried } else { |counters| &counters.parked }
}

/// Removes what matches, with what it weighed; how many.
pub(super) fn remove(
    conn: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
    effects: &mut Effects,
) -> rusqlite::Result<u64> {
    let mut statement = conn.prepare_cached(&format!(
        "DELETE FROM events WHERE {condition} RETURNING tenant, bytes, conversation, source"
    ))?;
    let mut rows = statement.query(values)?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += 1;
        if let Ok(tenant) = TenantName::parse(row.get_ref(0)?.as_str()?) {
            let is_request = row.get_ref(3)?.as_str()?.starts_with(ROUTE);
            effects.weigh(&tenant, DepthChange::row(-1, row.get(1)?, is_request));
            // What waited behind it may go now.
            effects.woken.push((row.get(2)?, tenant));
        }
    }
    Ok(count)
}
