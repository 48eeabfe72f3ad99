//! What an operator asks of the spool: list, show, drop, skip; online and on a closed file.

use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};
use serde::{Deserialize, Serialize};

use super::row::{COLUMNS, DAMAGED, DEAD, DRAINED, PARKED, ROUTE, Read, SPOOLED, WAITING, read};
use super::schema::has_violations;
use super::{Spool, SpoolError, open_reader, skip};
use crate::event::counters::DepthChange;

/// Rows in one listing at most.
pub const MAX_LISTED: u32 = 1000;

/// Where an event is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not attempted yet.
    Waiting,
    /// The broker did not take it yet.
    Spooled,
    /// A copy is in the broker.
    Drained,
    /// Attempted, and due again.
    Parked,
    /// Will not be attempted again unless it is replayed.
    Dead,
    /// Its checksum does not fit.
    Damaged,
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "waiting" => Ok(Self::Waiting),
            "spooled" => Ok(Self::Spooled),
            "drained" => Ok(Self::Drained),
            "parked" => Ok(Self::Parked),
            "dead" => Ok(Self::Dead),
            "damaged" => Ok(Self::Damaged),
            other => Err(format!("`{other}` is no state; use waiting, spooled, drained, parked, dead or damaged")),
        }
    }
}

impl State {
    fn number(self) -> i64 {
        match self {
            Self::Waiting => WAITING,
            Self::Spooled => SPOOLED,
            Self::Drained => DRAINED,
            Self::Parked => PARKED,
            Self::Dead => DEAD,
            Self::Damaged => DAMAGED,
        }
    }
}

/// Which events; what is not named matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Of this tenant.
    pub tenant: Option<String>,
    /// Of this source: `namespace/name`; of a Route, `Route namespace/name`.
    pub source: Option<String>,
    /// Of this conversation.
    pub conversation: Option<String>,
    /// With this id.
    pub id: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// Accepted at or after, in milliseconds since the epoch.
    pub from_ms: Option<i64>,
    /// Accepted before.
    pub before_ms: Option<i64>,
}

impl Filter {
    pub(super) fn condition(&self) -> (String, Vec<Value>) {
        let Self { tenant, source, conversation, id, state, from_ms, before_ms } = self.clone();
        let mut condition = "1".to_owned();
        let mut values = Vec::new();
        let parts = [
            (" AND tenant=?", tenant.map(Value::Text)),
            (" AND source=?", source.map(Value::Text)),
            (" AND subject=?", conversation.map(Value::Text)),
            (" AND id=?", id.map(Value::Text)),
            (" AND state=?", state.map(|state| Value::Integer(state.number()))),
            (" AND accepted_ms>=?", from_ms.map(Value::Integer)),
            (" AND accepted_ms<?", before_ms.map(Value::Integer)),
        ];
        for (text, value) in parts {
            if let Some(value) = value {
                condition.push_str(text);
                values.push(value);
            }
        }
        (condition, values)
    }
}

/// A change that an operator asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Change {
    /// What matches is deleted.
    Drop(Filter),
    /// The conversations of what matches go on past what they wait for: see [`super::skip`].
    Skip(Filter),
}

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its row; names it for [`show`].
    pub row: i64,
    /// Whose.
    pub tenant: String,
    /// `namespace/name` of its source; `Route namespace/name` for a request that failed.
    pub source: String,
    /// Its conversation.
    pub conversation: String,
    /// Its id.
    pub id: String,
    /// Its number.
    pub sequence: i64,
    /// Where it is in its life.
    pub state: State,
    /// Attempts made.
    pub attempts: u32,
    /// When it was accepted, in milliseconds since the epoch.
    pub accepted_ms: i64,
    /// When it is due.
    pub due_ms: i64,
    /// Why it is dead.
    pub reason: Option<String>,
    /// The last answer's status.
    pub last_status: Option<u16>,
    /// The beginning of the last answer, or the last failure.
    pub last_answer: Option<String>,
    /// Where the event does not fit its schema, as the response to an API call lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violations: Option<serde_json::Value>,
}

/// One event, whole.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// As listed.
    pub listed: Listed,
    /// Its CloudEvents form; none when it is damaged.
    pub cloud_event: Option<Bytes>,
    /// What is there of a damaged one.
    pub remains: Option<String>,
}

const LISTED: &str = "row, tenant, source, subject, id, sequence, state, attempts, accepted_ms, due_ms, reason,
    last_status, last_answer";

/// The columns of a listing, of this layout or of an earlier build's.
fn columns(conn: &Connection) -> rusqlite::Result<String> {
    let violations = if has_violations(conn)? { "violations" } else { "NULL" };
    Ok(format!("{LISTED}, {violations}"))
}

fn listed(row: &Row<'_>) -> rusqlite::Result<Listed> {
    let state = match row.get::<_, i64>(6)? {
        WAITING => State::Waiting,
        SPOOLED => State::Spooled,
        DRAINED => State::Drained,
        PARKED => State::Parked,
        DEAD => State::Dead,
        _ => State::Damaged,
    };
    Ok(Listed {
        row: row.get(0)?,
        tenant: row.get(1)?,
        source: row.get(2)?,
        conversation: row.get(3)?,
        id: row.get(4)?,
        sequence: row.get(5)?,
        state,
        attempts: row.get(7)?,
        accepted_ms: row.get(8)?,
        due_ms: row.get(9)?,
        reason: row.get(10)?,
        last_status: row.get(11)?,
        last_answer: row.get(12)?,
        violations: row.get::<_, Option<String>>(13)?.and_then(|text| serde_json::from_str(&text).ok()),
    })
}

/// Lists what matches, oldest first, after a row (0 for the beginning).
///
/// # Errors
/// [`SpoolError::Store`]
pub fn list(directory: &Path, filter: &Filter, after_row: i64, limit: u32) -> Result<Vec<Listed>, SpoolError> {
    let (condition, mut values) = filter.condition();
    values.push(Value::Integer(after_row));
    values.push(Value::Integer(limit.min(MAX_LISTED).into()));
    let conn = open_reader(directory)?;
    let columns = columns(&conn)?;
    let sql = format!("SELECT {columns} FROM events WHERE {condition} AND row>? ORDER BY row LIMIT ?");
    Ok(conn.prepare(&sql)?.query_map(params_from_iter(values), listed)?.collect::<Result<_, _>>()?)
}

/// Why a replay leaves requests.
pub const NOT_REPLAYED: &str = "these are requests to a Route, which have no destination and are not replayed: \
    show them, send them again as their caller would, then drop them";

/// Counts what matches: the dry run of a change.
///
/// # Errors
/// [`SpoolError::Store`]
pub fn count(directory: &Path, change: &Change) -> Result<u64, SpoolError> {
    let conn = open_reader(directory)?;
    Ok(match change {
        Change::Drop(filter) => {
            let (condition, values) = filter.condition();
            let sql = format!("SELECT count(*) FROM events WHERE {condition}");
            conn.query_row(&sql, params_from_iter(values), |row| row.get::<_, i64>(0))?.unsigned_abs()
        }
        Change::Skip(filter) => skip::heads(&conn, filter)?.len() as u64,
    })
}

/// Shows one event.
///
/// # Errors
/// [`SpoolError::Store`]
pub fn show(directory: &Path, row: i64) -> Result<Option<Shown>, SpoolError> {
    let conn = open_reader(directory)?;
    let sql = format!("SELECT {} FROM events WHERE row=?", columns(&conn)?);
    let Some(listed) = conn.query_row(&sql, [row], listed).optional()? else { return Ok(None) };
    let whole = conn.query_row(&format!("SELECT {COLUMNS} FROM events WHERE row=?"), [row], read).optional()?;
    let cloud_event = match whole {
        Some(Read::Whole(pending)) => pending.envelope.to_json().ok().map(Bytes::from),
        Some(Read::Damaged(_)) | None => None,
    };
    let remains = match &cloud_event {
        Some(_) => None,
        None => {
            conn.query_row("SELECT data FROM events WHERE row=?", [row], |row| row.get::<_, Vec<u8>>(0)).optional()?
        }
    };
    let remains = remains.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Some(Shown { listed, cloud_event, remains }))
}

/// Makes a change on a spool that no process holds.
///
/// # Errors
/// [`SpoolError::InUse`] when one does; [`SpoolError::Store`]
pub fn change_offline(directory: &Path, change: &Change) -> Result<u64, SpoolError> {
    let Spool { mut conn, lock, .. } = Spool::open(directory, u64::MAX)?;
    let transaction = conn.transaction()?;
    let count = match change {
        Change::Skip(filter) => skip::skip(&transaction, filter, Timestamp::now().as_millisecond())?.len(),
        Change::Drop(filter) => {
            let (condition, values) = filter.condition();
            transaction.execute(&format!("DELETE FROM events WHERE {condition}"), params_from_iter(values))?
        }
    };
    transaction.commit()?;
    drop(lock);
    Ok(count as u64)
}

pub(super) fn depths(conn: &Connection) -> rusqlite::Result<Vec<(String, DepthChange)>> {
    conn.prepare(&format!(
        "SELECT tenant, count(*), sum(bytes), sum(iif(source LIKE '{ROUTE}%', bytes, 0)) FROM events GROUP BY tenant"
    ))?
    .query_map([], |row| {
        Ok((row.get(0)?, DepthChange { rows: row.get(1)?, bytes: row.get(2)?, request_bytes: row.get(3)? }))
    })?
    .collect()
}
