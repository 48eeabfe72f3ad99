//! One event as a row: written, checked, read.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use policy::names::{Kind, ObjectRef, TenantName};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::command::LastAttempt;
use crate::event::claim::{Key, digest};
use crate::event::{Envelope, Event, Origin};

#[derive(Serialize, Deserialize)]
struct Head {
    tenant: TenantName,
    source: ObjectRef,
    id: Arc<str>,
    kind: Arc<str>,
    conversation: Arc<str>,
    time: Timestamp,
    traceparent: Option<Arc<str>>,
    // Rows of an older version have neither.
    #[serde(default)]
    unknown: bool,
    #[serde(default)]
    sanitised: Option<Arc<str>>,
    #[serde(default)]
    request_id: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
}

/// The `type` and the request id in a head, as far as it can be read.
pub(super) fn words_of(head: &[u8]) -> (Arc<str>, Option<Arc<str>>) {
    let head = rmp_serde::from_slice::<Head>(head).ok();
    head.map_or_else(|| ("".into(), None), |head| (head.kind, head.request_id))
}

impl Head {
    fn of(event: &Event, origin: Option<&Origin>) -> Self {
        Self {
            tenant: event.tenant.clone(),
            source: event.source.clone(),
            id: event.id.clone(),
            kind: event.kind.clone(),
            conversation: event.conversation.clone(),
            time: event.time,
            traceparent: event.traceparent.clone(),
            unknown: event.unknown,
            sanitised: event.sanitised.clone(),
            request_id: event.request_id.clone(),
            origin: origin.cloned(),
        }
    }
}

/// Returns the origin of a stored row's entry, if one was recorded.
pub(super) fn origin_of(head: &[u8]) -> Option<Origin> {
    rmp_serde::from_slice::<Head>(head).ok()?.origin
}

/// Where an event is in its life; the numbers are in the file. What is below [`DEAD`] is owed.
pub(super) const WAITING: i64 = 0;
/// For the broker, which has not got it yet.
pub(super) const SPOOLED: i64 = 1;
/// A copy is in the broker; it is settled here when that copy is.
pub(super) const DRAINED: i64 = 2;
pub(super) const PARKED: i64 = 3;
pub(super) const DEAD: i64 = 4;
pub(super) const DAMAGED: i64 = 5;

/// An event that is owed.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its row; names it for settling.
    pub row: i64,
    /// Attempts made so far.
    pub attempts: u32,
    /// When it is due, in milliseconds since the epoch.
    pub due_ms: i64,
    /// Its turn comes from the broker, not from here.
    pub in_broker: bool,
    /// Another shard has to say first that it owes nothing older.
    pub unsure: bool,
    /// The event.
    pub envelope: Envelope,
}

/// What a row turned out to be.
#[derive(Debug)]
pub enum Read {
    /// An event.
    Whole(Box<Pending>),
    /// Its checksum does not fit, or it cannot be decoded.
    Damaged(i64),
}

impl Read {
    /// Its row.
    #[must_use]
    pub fn row(&self) -> i64 {
        match self {
            Self::Whole(pending) => pending.row,
            Self::Damaged(row) => *row,
        }
    }
}

fn checksum(head: &[u8], numbers: (i64, Option<i64>), data: &[u8], dataraw: Option<&[u8]>) -> Key {
    let previous = numbers.1.unwrap_or(i64::MIN);
    digest([&numbers.0.to_be_bytes(), &previous.to_be_bytes(), head, data, dataraw.unwrap_or_default()])
}

/// How a row begins.
#[derive(Clone, Copy)]
pub(super) enum Start<'a> {
    /// To be attempted from here.
    Waiting,
    /// To be drained to the broker.
    Spooled,
    /// To be attempted from here, not before it is due.
    Parked { last: Option<&'a LastAttempt>, due_ms: i64 },
    /// A dead letter.
    Dead { reason: &'a str, violations: Option<&'a str>, last: Option<&'a LastAttempt>, expires_ms: i64 },
}

/// An event about to be stored.
pub(super) struct NewRow<'a> {
    pub(super) event: &'a Event,
    pub(super) origin: Option<&'a Origin>,
    pub(super) conversation: Key,
    pub(super) sequence: i64,
    pub(super) previous: Option<i64>,
    pub(super) accepted_ms: i64,
    pub(super) flags: Flags,
    pub(super) start: Start<'a>,
}

impl rusqlite::ToSql for Flags {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

/// What is flagged on an event; the bits are in the file.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flags(i64);

impl Flags {
    pub(super) const DEGRADED: Self = Self(1);
    pub(super) const GAP: Self = Self(2);
    pub(super) const LATE: Self = Self(4);
    pub(super) const REDELIVERED: Self = Self(8);
    pub(super) const UNSURE: Self = Self(16);

    pub(super) const fn with(self, other: Self, wanted: bool) -> Self {
        if wanted { Self(self.0 | other.0) } else { self }
    }

    pub(super) const fn read(bits: i64) -> Self {
        Self(bits)
    }

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The flags of an envelope.
    pub(super) const fn of(envelope: &Envelope) -> Self {
        Self(0)
            .with(Self::DEGRADED, envelope.degraded)
            .with(Self::GAP, envelope.gap)
            .with(Self::LATE, envelope.late)
            .with(Self::REDELIVERED, envelope.redelivered)
    }
}

/// What an event counts against its tenant's share; the constant stands for the row's own overhead.
pub(super) fn weight(event: &Event) -> u64 {
    let sanitised = event.sanitised.as_ref().map_or(0, |places| places.len());
    let texts = event.id.len() + event.kind.len() + event.conversation.len() + sanitised;
    let bodies = event.data.len() + event.dataraw.as_ref().map_or(0, Bytes::len);
    (texts + bodies + 256) as u64
}

/// Sources of requests begin with this; no name of a WebhookSource does.
pub(super) const ROUTE: &str = "Route ";

/// A WebhookSource as `namespace/name`; a Route, whose requests are never delivered, as `Route namespace/name`.
pub(in crate::event) fn source_text(source: &ObjectRef) -> String {
    let kind = if source.kind == Kind::Route { ROUTE } else { "" };
    format!("{kind}{}/{}", source.namespace, source.name)
}

/// The head of a row, and the checksum over it and what stands beside it.
fn sealed(new: &NewRow<'_>) -> rusqlite::Result<(Vec<u8>, Key)> {
    let head = rmp_serde::to_vec_named(&Head::of(new.event, new.origin))
        .map_err(|cause| rusqlite::Error::ToSqlConversionFailure(Box::new(cause)))?;
    let sum = checksum(&head, (new.sequence, new.previous), &new.event.data, new.event.dataraw.as_deref());
    Ok((head, sum))
}

/// Makes a dead letter an event to be attempted, as this one: its place in the file, the time at which it was accepted
/// and its retention stay.
pub(super) fn revive(conn: &Connection, row: i64, new: &NewRow<'_>) -> rusqlite::Result<()> {
    let event = new.event;
    let (head, sum) = sealed(new)?;
    conn.prepare_cached(
        "UPDATE events SET conversation=?, sequence=?, previous=?, tenant=?, source=?, subject=?, bytes=?, head=?,
           data=?, checksum=?, flags=?, state=?, attempts=0, replayed=1, due_ms=0, reason=NULL, last_status=NULL,
           last_answer=NULL, violations=NULL WHERE row=?",
    )?
    .execute(params![
        new.conversation,
        new.sequence,
        new.previous,
        event.tenant.as_str(),
        source_text(&event.source),
        &*event.conversation,
        i64::try_from(weight(event)).unwrap_or(i64::MAX),
        head,
        &*event.data,
        sum,
        new.flags,
        WAITING,
        row,
    ])?;
    Ok(())
}

pub(super) fn insert(conn: &Connection, new: &NewRow<'_>) -> rusqlite::Result<()> {
    let event = new.event;
    let (head, sum) = sealed(new)?;
    let (state, reason, last, due_ms, expires_ms) = match new.start {
        Start::Waiting => (WAITING, None, None, 0, None),
        Start::Spooled => (SPOOLED, None, None, 0, None),
        Start::Parked { last, due_ms } => (PARKED, None, last, due_ms, None),
        Start::Dead { reason, violations: _, last, expires_ms } => (DEAD, Some(reason), last, 0, Some(expires_ms)),
    };
    let violations = match new.start {
        Start::Dead { violations, .. } => violations,
        Start::Waiting | Start::Spooled | Start::Parked { .. } => None,
    };
    conn.prepare_cached(
        "INSERT INTO events(conversation, sequence, previous, tenant, source, subject, id, accepted_ms, bytes, head,
           data, dataraw, checksum, flags, state, reason, attempts, due_ms, expires_ms, last_status, last_answer,
           violations)
           VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    )?
    .execute(params![
        new.conversation,
        new.sequence,
        new.previous,
        event.tenant.as_str(),
        source_text(&event.source),
        &*event.conversation,
        &*event.id,
        new.accepted_ms,
        i64::try_from(weight(event)).unwrap_or(i64::MAX),
        head,
        &*event.data,
        event.dataraw.as_deref(),
        sum,
        new.flags,
        state,
        reason,
        last.map_or(0, |last| last.attempts),
        due_ms,
        expires_ms,
        last.and_then(|last| last.status),
        last.map(|last| last.answer.as_str()),
        violations,
    ])?;
    Ok(())
}

pub(super) const COLUMNS: &str =
    "row, sequence, previous, head, data, dataraw, checksum, attempts, due_ms, replayed, flags, state";

/// Reads [`COLUMNS`]; what does not fit is damaged, not an error.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Read> {
    let number: i64 = row.get(0)?;
    Ok(decode(row).map_or(Read::Damaged(number), |pending| Read::Whole(Box::new(pending))))
}

/// Reads a row that is made of these parts, with the checksum over them or over others.
#[cfg(any(test, feature = "fuzz"))]
pub(in crate::event) fn read_parts(head: &[u8], data: &[u8], sound: bool) -> rusqlite::Result<Read> {
    let sum = checksum(head, (7, None), if sound { data } else { b"others" }, None);
    let parts = params![head, data, sum];
    Connection::open_in_memory()?.query_row("SELECT 1, 7, NULL, ?, ?, NULL, ?, 0, 0, 0, 0, 0", parts, read)
}

/// A head as it is stored.
#[cfg(test)]
pub(in crate::event) fn head_of(event: &Event) -> Vec<u8> {
    rmp_serde::to_vec_named(&Head::of(event, None)).unwrap_or_default()
}

fn decode(row: &Row<'_>) -> Option<Pending> {
    let (sequence, previous): (i64, Option<i64>) = (row.get(1).ok()?, row.get(2).ok()?);
    let head: Vec<u8> = row.get(3).ok()?;
    let data: Vec<u8> = row.get(4).ok()?;
    let dataraw: Option<Vec<u8>> = row.get(5).ok()?;
    let sum: Key = row.get(6).ok()?;
    if sum != checksum(&head, (sequence, previous), &data, dataraw.as_deref()) {
        return None;
    }
    let head: Head = rmp_serde::from_slice(&head).ok()?;
    let attempts: u32 = row.get(7).ok()?;
    let replayed: bool = row.get(9).ok()?;
    let event = Event {
        tenant: head.tenant,
        source: head.source,
        id: head.id,
        kind: head.kind,
        conversation: head.conversation,
        time: head.time,
        data: data.into(),
        dataraw: dataraw.map(Bytes::from),
        traceparent: head.traceparent,
        unknown: head.unknown,
        sanitised: head.sanitised,
        request_id: head.request_id,
    };
    let flags = Flags::read(row.get(10).ok()?);
    let state: i64 = row.get(11).ok()?;
    let envelope = Envelope {
        event,
        sequence,
        previous,
        redelivered: attempts > 0 || replayed || flags.has(Flags::REDELIVERED),
        gap: flags.has(Flags::GAP),
        late: flags.has(Flags::LATE),
        degraded: flags.has(Flags::DEGRADED),
    };
    let (in_broker, unsure) = (state == SPOOLED || state == DRAINED, flags.has(Flags::UNSURE));
    Some(Pending { row: row.get(0).ok()?, attempts, due_ms: row.get(8).ok()?, in_broker, unsure, envelope })
}

fn select_next() -> String {
    format!("SELECT {COLUMNS} FROM events WHERE conversation=? AND state<{DEAD} ORDER BY sequence, row LIMIT 1")
}

/// The oldest event that a conversation is owed.
pub(crate) fn next_of(conn: &Connection, conversation: &Key) -> rusqlite::Result<Option<Read>> {
    conn.prepare_cached(&select_next())?.query_row([conversation], read).optional()
}

/// When the oldest pending event was accepted.
pub(crate) fn oldest(conn: &Connection) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached(&format!("SELECT accepted_ms FROM events WHERE state<{DEAD} ORDER BY row LIMIT 1"))?
        .query_row([], |row| row.get(0))
        .optional()
}

/// Every conversation that is owed something, with its tenant.
pub(crate) fn heads(conn: &Connection) -> rusqlite::Result<Vec<(Key, String)>> {
    conn.prepare(&format!("SELECT conversation, min(tenant) FROM events WHERE state<{DEAD} GROUP BY conversation"))?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Bytes that are read to be drained together.
const SPOOLED_BYTES_AT_ONCE: u64 = 8 << 20;

/// What waits for the broker, oldest first, after a row.
pub(crate) fn spooled(conn: &Connection, after_row: i64, most: usize) -> rusqlite::Result<Vec<Read>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM events WHERE state={SPOOLED} AND row>? ORDER BY row LIMIT ?"
    ))?;
    let mut rows = statement.query([after_row, i64::try_from(most).unwrap_or(i64::MAX)])?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < SPOOLED_BYTES_AT_ONCE
        && let Some(row) = rows.next()?
    {
        let next = read(row)?;
        if let Read::Whole(pending) = &next {
            bytes += weight(&pending.envelope.event);
        }
        batch.push(next);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::super::{Spool, open_reader};
    use super::*;

    #[test]
    fn a_statement_is_planned_once_for_all_that_is_bound_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let _spool = Spool::open(dir.path(), 1 << 20).unwrap();
        let reader = open_reader(dir.path()).unwrap();
        for conversation in 0..3 {
            assert!(next_of(&reader, &[conversation; 16]).unwrap().is_none());
        }
        let again = reader.prepare_cached(&select_next()).unwrap();
        assert_eq!(again.get_status(StatementStatus::RePrepare), 0);
        assert!(again.get_status(StatementStatus::Run) > 1, "the statement is kept");
    }

    #[test]
    fn a_head_of_an_older_version_is_read() {
        #[derive(Serialize)]
        struct Older {
            tenant: TenantName,
            source: ObjectRef,
            id: Arc<str>,
            kind: Arc<str>,
            conversation: Arc<str>,
            time: Timestamp,
            traceparent: Option<Arc<str>>,
        }
        let older = Older {
            tenant: TenantName::parse("acme").unwrap(),
            source: ObjectRef::new(Kind::WebhookSource, "acme", "whatsapp"),
            id: "wamid.1".into(),
            kind: "whatsapp.message.text".into(),
            conversation: "1#2".into(),
            time: Timestamp::UNIX_EPOCH,
            traceparent: None,
        };
        let head: Head = rmp_serde::from_slice(&rmp_serde::to_vec_named(&older).unwrap()).unwrap();
        assert_eq!((&*head.id, head.unknown, head.sanitised), ("wamid.1", false, None));
    }
}
