//! Dead letters that are delivered again: read for whoever decides where each goes, and made events once more.
//!
//! A dead letter is revived in place, in one transaction: it is either dead as it was, or waits under its new owner
//! and its new number. Two replays at once find it dead once.

use std::path::Path;

use policy::names::TenantName;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use serde::{Deserialize, Serialize};

use super::operate::Filter;
use super::row::{self, COLUMNS, DEAD, Flags, NewRow, ROUTE, Read, Start, origin_of, read, weight};
use super::writer::{Begun, Effects, Writer};
use super::{SpoolError, dedupe, open_reader};
use crate::event::claim::{Key, conversation_key, event_key, next_number};
use crate::event::counters::DepthChange;
use crate::event::outcomes::{EventOutcome, OutcomeKind};
use crate::event::{Envelope, NewEvent, Origin};

/// Dead letters that are read and decided together.
const AT_ONCE: i64 = 256;
/// Bytes of their events; at least one is read.
const BYTES_AT_ONCE: u64 = 8 << 20;

/// A dead letter, whole.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Its row.
    pub row: i64,
    /// The event.
    pub envelope: Envelope,
    /// Why it is dead.
    pub reason: String,
    /// When it was accepted, in milliseconds since the epoch.
    pub accepted_ms: i64,
    /// The tenant of its entry, if the entry was refused at accept.
    pub origin: Option<Origin>,
}

/// Some dead letters, and where the next page begins.
pub(in crate::event) struct Page {
    pub(in crate::event) letters: Vec<DeadLetter>,
    /// None after the last page.
    pub(in crate::event) after: Option<i64>,
}

/// The rows that a replay looks at, in a store: those after the first number, up to the second.
pub(in crate::event) fn last_row(directory: &Path) -> Result<i64, SpoolError> {
    let last = open_reader(directory)?.query_row("SELECT max(row) FROM events", [], |row| row.get::<_, Option<i64>>(0));
    Ok(last?.unwrap_or_default())
}

/// How many requests to Routes match, which a replay leaves.
pub(in crate::event) fn requests(directory: &Path, filter: &Filter) -> Result<u64, SpoolError> {
    let (condition, values) = filter.condition();
    let sql = format!("SELECT count(*) FROM events WHERE {condition} AND source LIKE '{ROUTE}%'");
    let count = open_reader(directory)?.query_row(&sql, params_from_iter(values), |row| row.get::<_, i64>(0));
    Ok(count?.unsigned_abs())
}

/// Reads dead letters that match, oldest first. What is damaged is passed over.
pub(in crate::event) fn page(directory: &Path, filter: &Filter, after: i64, last: i64) -> Result<Page, SpoolError> {
    let (condition, mut values) = filter.condition();
    values.extend([after, last, AT_ONCE].map(Value::Integer));
    let conn = open_reader(directory)?;
    let mut statement = conn.prepare(&format!(
        "SELECT {COLUMNS}, reason, accepted_ms FROM events
         WHERE {condition} AND state={DEAD} AND source NOT LIKE '{ROUTE}%' AND row>? AND row<=? ORDER BY row LIMIT ?"
    ))?;
    let mut rows = statement.query(params_from_iter(values))?;
    let (mut page, mut bytes) = (Page { letters: Vec::new(), after: None }, 0);
    while bytes < BYTES_AT_ONCE
        && let Some(found) = rows.next()?
    {
        page.after = Some(found.get(0)?);
        let Read::Whole(pending) = read(found)? else { continue };
        bytes += weight(&pending.envelope.event);
        page.letters.push(DeadLetter {
            row: pending.row,
            reason: found.get::<_, Option<String>>("reason")?.unwrap_or_default(),
            accepted_ms: found.get("accepted_ms")?,
            origin: origin_of(&found.get::<_, Vec<u8>>("head")?),
            envelope: pending.envelope,
        });
    }
    Ok(page)
}

/// Returns whether the id of an event is remembered for another event than the dead letter with this number.
pub(in crate::event) fn is_known(directory: &Path, new: &NewEvent, sequence: i64) -> Result<bool, SpoolError> {
    let hour = dedupe::hour(jiff::Timestamp::now().as_millisecond());
    Ok(known_elsewhere(&open_reader(directory)?, new, sequence, hour)?)
}

fn known_elsewhere(conn: &Connection, new: &NewEvent, sequence: i64, hour: i64) -> rusqlite::Result<bool> {
    let known = dedupe::recall(conn, new.event.tenant.as_str(), &event_key(&new.event, false), hour)?;
    Ok(known.is_some_and(|known| known != sequence))
}

/// A number that was claimed elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// The number.
    pub sequence: i64,
    /// The number that it follows.
    pub previous: Option<i64>,
    /// It was given without the shared claim.
    pub degraded: bool,
}

/// A dead letter to be revived.
#[derive(Clone, Debug)]
pub struct Revival {
    /// Its row.
    pub row: i64,
    /// Its number as a dead letter: another one there is another event.
    pub sequence: i64,
    /// The event that replaces it.
    pub new: NewEvent,
    /// The tenant of its entry.
    pub origin: Option<Origin>,
    /// Its new number; without one the store numbers it, and knows which ids it has accepted.
    pub number: Option<Number>,
}

/// The result of reviving a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Revived {
    /// It waits to be attempted.
    Waits,
    /// Another event with its id was accepted for its tenant and source.
    Known,
    /// Its new tenant has no room.
    Full,
    /// It is a dead letter no more: delivered, dropped or replayed meanwhile.
    Changed,
}

impl Writer {
    pub(super) fn revive(
        &self,
        revivals: &[Revival],
        begun: Begun,
        effects: &mut Effects,
    ) -> rusqlite::Result<Vec<Revived>> {
        revivals.iter().map(|revival| self.revive_one(revival, begun, effects)).collect()
    }

    fn revive_one(&self, revival: &Revival, begun: Begun, effects: &mut Effects) -> rusqlite::Result<Revived> {
        let Revival { row, sequence, new, origin, number } = revival;
        let conn = &self.spool.conn;
        let found = conn
            .prepare_cached(&format!(
                "SELECT tenant, bytes, accepted_ms, reason FROM events WHERE row=? AND sequence=? AND state={DEAD}"
            ))?
            .query_row(params![row, sequence], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get::<_, Option<String>>(3)?))
            })
            .optional()?;
        let Some((tenant, bytes, accepted_ms, reason)) = found else { return Ok(Revived::Changed) };

        let hour = dedupe::hour(begun.now.as_millisecond());
        if number.is_none() && known_elsewhere(conn, new, *sequence, hour)? {
            return Ok(Revived::Known);
        }
        let moves = tenant != new.event.tenant.as_str();
        if moves && self.full_tenant(std::iter::once((new, false)), begun.store, effects).is_some() {
            return Ok(Revived::Full);
        }

        let event = &new.event;
        let conversation = conversation_key(&event.tenant, &event.source, &event.conversation);
        let (sequence, previous) = match number {
            Some(Number { sequence, previous, .. }) => (*sequence, *previous),
            None => self.renumber(&conversation, new, begun, effects)?,
        };
        // Beside a broker another shard may owe the conversation something older.
        let flags = Flags::default()
            .with(Flags::REDELIVERED, true)
            .with(Flags::UNSURE, number.is_some())
            .with(Flags::DEGRADED, number.is_some_and(|number| number.degraded));
        let (origin, start) = (origin.as_ref(), Start::Waiting);
        let changed = NewRow { event, origin, conversation, sequence, previous, accepted_ms, flags, start };
        row::revive(conn, *row, &changed)?;

        if let Ok(before) = TenantName::parse(&tenant) {
            effects.weigh(&before, DepthChange::row(-1, bytes, false));
        }
        effects.weigh_new(event);
        let outcome = EventOutcome::of(event, OutcomeKind::Replayed, begun.now.as_millisecond());
        effects.outcomes.push(outcome.because(reason.unwrap_or_default()));
        effects.woken.push((conversation, event.tenant.clone()));
        Ok(Revived::Waits)
    }

    /// Numbers an event of this store, and remembers its id.
    fn renumber(
        &self,
        conversation: &Key,
        new: &NewEvent,
        Begun { now, store: _ }: Begun,
        effects: &mut Effects,
    ) -> rusqlite::Result<(i64, Option<i64>)> {
        let (conn, tenant) = (&self.spool.conn, new.event.tenant.as_str());
        let previous: Option<i64> = conn
            .prepare_cached("SELECT last FROM conversations WHERE key=?")?
            .query_row([conversation], |row| row.get(0))
            .optional()?;
        let sequence = next_number(previous, self.floor, now.as_microsecond());
        conn.prepare_cached(
            "INSERT INTO conversations(key, last) VALUES(?,?) ON CONFLICT DO UPDATE SET last=excluded.last",
        )?
        .execute(params![conversation, sequence])?;

        let id = event_key(&new.event, false);
        let until = dedupe::hour(super::append::add_ms(now.as_millisecond(), new.dedupe_window));
        if let Some(old) = dedupe::remember(conn, tenant, &id, until, sequence)? {
            effects.ids.push((tenant.to_owned(), old, -1));
        }
        effects.ids.push((tenant.to_owned(), until, 1));
        effects.known.push((id, until, sequence));
        Ok((sequence, previous))
    }
}
