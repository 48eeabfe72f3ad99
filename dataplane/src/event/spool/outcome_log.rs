//! The outcome log: a row an outcome, found by event id, bounded in number and age.
//!
//! The table is made beside a layout of before and needs no new one: an earlier build passes it over. An outcome is
//! written when the store has room for new events, in the transaction of other commands, and is never worth a failed
//! one.

use std::path::Path;

use jiff::Timestamp;
use policy::names::TenantName;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::row::words_of;
use super::{SpoolError, open_reader};
use crate::event::claim::{Key, digest};
use crate::event::outcomes::{EventOutcome, OutcomeKind};

/// For how long an outcome is kept.
const KEPT_MS: i64 = 72 * 3_600_000;
/// Bytes of the store for each outcome that it may hold.
const STORE_BYTES_PER_OUTCOME: u64 = 8192;
/// Outcomes deleted beyond those that are added, so that a full log shrinks.
const DELETED_AT_ONCE: i64 = 1000;
/// Outcomes of one id in an answer at most, the newest.
const MAX_FOUND: i64 = 1000;

pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS outcomes(
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  id BLOB NOT NULL,
  at_ms INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  source TEXT NOT NULL,
  type TEXT NOT NULL,
  request_id TEXT,
  reason TEXT,
  attempts INTEGER NOT NULL,
  status INTEGER
) STRICT;
CREATE INDEX IF NOT EXISTS outcomes_by_id ON outcomes(id);
";
/// Since when the store has an outcome log.
pub(super) const SINCE: &str = "outcomes_since";

/// The rows and outcomes that a store has for an event id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Found {
    /// Outcomes, oldest first.
    pub outcomes: Vec<EventOutcome>,
    /// What happened before this time is not known here, in milliseconds since the epoch.
    pub since_ms: i64,
}

/// How many outcomes a store of this size holds.
pub(super) fn most(max_bytes: u64) -> i64 {
    i64::try_from(max_bytes / STORE_BYTES_PER_OUTCOME).unwrap_or(i64::MAX).max(DELETED_AT_ONCE)
}

fn key(id: &str) -> Key {
    digest([b"outcome", id.as_bytes()])
}

/// Writes outcomes, and deletes what is over the bounds.
pub(super) fn write(conn: &Connection, outcomes: &[EventOutcome], most: i64) -> rusqlite::Result<()> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO outcomes(id, at_ms, kind, tenant, source, type, request_id, reason, attempts, status)
         VALUES(?,?,?,?,?,?,?,?,?,?)",
    )?;
    for outcome in outcomes {
        let EventOutcome { at_ms, kind, tenant, source, id, r#type, request_id, reason, attempts, status } = outcome;
        insert.execute(params![
            key(id),
            at_ms,
            kind.number(),
            tenant.as_str(),
            &**source,
            &**r#type,
            request_id.as_deref(),
            reason.as_deref(),
            attempts,
            status
        ])?;
    }
    let added = i64::try_from(outcomes.len()).unwrap_or(i64::MAX);
    forget(conn, most, added.saturating_add(DELETED_AT_ONCE))
}

/// Deletes the oldest outcomes that are too old or too many, so many at once.
fn forget(conn: &Connection, most: i64, at_once: i64) -> rusqlite::Result<()> {
    let before = Timestamp::now().as_millisecond().saturating_sub(KEPT_MS);
    conn.prepare_cached(
        "DELETE FROM outcomes WHERE row IN (
           SELECT row FROM (SELECT row, at_ms FROM outcomes ORDER BY row LIMIT ?1)
           WHERE at_ms < ?2 OR row <= (SELECT max(row) FROM outcomes) - ?3)",
    )?
    .execute(params![at_once, before, most])
    .map(drop)
}

/// Deletes what is too old while nothing is added.
pub(super) fn tidy(conn: &Connection, most: i64) -> rusqlite::Result<()> {
    forget(conn, most, DELETED_AT_ONCE)
}

/// Finds the outcomes of an event id; those of every tenant that has it.
///
/// # Errors
/// [`SpoolError::Store`]
pub fn find(directory: &Path, id: &str) -> Result<Found, SpoolError> {
    let conn = open_reader(directory)?;
    if !has_log(&conn)? {
        // A store that no process of this version has opened yet.
        return Ok(Found { outcomes: Vec::new(), since_ms: Timestamp::now().as_millisecond() });
    }
    let mut outcomes: Vec<EventOutcome> = conn
        .prepare(
            "SELECT at_ms, kind, tenant, source, type, request_id, reason, attempts, status FROM outcomes
             WHERE id=? ORDER BY row DESC LIMIT ?",
        )?
        .query_map(params![key(id), MAX_FOUND], |row| read(row, id))?
        .filter_map(Result::transpose)
        .collect::<rusqlite::Result<_>>()?;
    outcomes.reverse();
    outcomes.sort_by_key(|outcome| outcome.at_ms);
    Ok(Found { outcomes, since_ms: since(&conn)? })
}

/// The outcomes of rows, as of now.
pub(super) fn of_rows(
    conn: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
    kind: OutcomeKind,
) -> rusqlite::Result<Vec<EventOutcome>> {
    let at_ms = Timestamp::now().as_millisecond();
    let sql = format!("SELECT tenant, source, id, head, attempts, last_status FROM events WHERE {condition}");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query(values)?;
    let mut outcomes = Vec::new();
    while let Some(row) = rows.next()? {
        // What is no event of ours has no tenant.
        let Ok(tenant) = TenantName::parse(row.get_ref(0)?.as_str()?) else { continue };
        let (r#type, request_id) = words_of(row.get_ref(3)?.as_blob()?);
        outcomes.push(EventOutcome {
            at_ms,
            kind,
            tenant,
            source: row.get::<_, String>(1)?.into(),
            id: row.get::<_, String>(2)?.into(),
            r#type,
            request_id,
            reason: None,
            attempts: row.get(4)?,
            status: row.get(5)?,
        });
    }
    Ok(outcomes)
}

fn has_log(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("SELECT count(*) FROM sqlite_master WHERE name='outcomes'", [], |row| row.get::<_, i64>(0))
        .map(|tables| tables > 0)
}

fn read(row: &rusqlite::Row<'_>, id: &str) -> rusqlite::Result<Option<EventOutcome>> {
    let text = |index: usize| row.get::<_, String>(index);
    let (kind, tenant) = (OutcomeKind::read(row.get(1)?), TenantName::parse(&text(2)?));
    let (Some(kind), Ok(tenant)) = (kind, tenant) else { return Ok(None) };
    Ok(Some(EventOutcome {
        at_ms: row.get(0)?,
        kind,
        tenant,
        source: text(3)?.into(),
        id: id.into(),
        r#type: text(4)?.into(),
        request_id: row.get::<_, Option<String>>(5)?.map(Into::into),
        reason: row.get::<_, Option<String>>(6)?.map(Into::into),
        attempts: row.get(7)?,
        status: row.get(8)?,
    }))
}

/// The oldest time of which the log is complete.
fn since(conn: &Connection) -> rusqlite::Result<i64> {
    let began = conn
        .query_row("SELECT value FROM facts WHERE name=?", [SINCE], |row| row.get::<_, i64>(0))
        .optional()?
        .unwrap_or_default();
    let oldest = conn
        .query_row("SELECT row, at_ms FROM outcomes ORDER BY row LIMIT 1", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
        })
        .optional()?;
    let kept = Timestamp::now().as_millisecond().saturating_sub(KEPT_MS);
    let evicted = oldest.filter(|(row, _)| *row > 1).map_or(i64::MIN, |(_, at_ms)| at_ms);
    Ok(began.max(kept).max(evicted))
}
