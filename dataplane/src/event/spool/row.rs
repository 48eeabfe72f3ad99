//! One event as a row: written, checked, read.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use policy::names::{ObjectRef, TenantName};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use crate::event::claim::{Key, digest};
use crate::event::{Envelope, Event};

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
}

/// Where an event is in its life; the numbers are in the file.
pub(super) const WAITING: i64 = 0;
pub(super) const PARKED: i64 = 1;
pub(super) const DEAD: i64 = 2;
pub(super) const DAMAGED: i64 = 3;

/// An event that is owed.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Its row; names it for settling.
    pub row: i64,
    /// Attempts made so far.
    pub attempts: u32,
    /// When it is due, in milliseconds since the epoch.
    pub due_ms: i64,
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

fn checksum(head: &[u8], numbers: (i64, Option<i64>), data: &[u8], dataraw: Option<&[u8]>) -> Key {
    let previous = numbers.1.unwrap_or(i64::MIN);
    digest([&numbers.0.to_be_bytes(), &previous.to_be_bytes(), head, data, dataraw.unwrap_or_default()])
}

/// Why and until when a row is dead from the start.
pub(super) struct Refused<'a> {
    pub(super) reason: &'a str,
    pub(super) expires_ms: i64,
}

/// An event about to be stored.
pub(super) struct NewRow<'a> {
    pub(super) event: &'a Event,
    pub(super) conversation: Key,
    pub(super) sequence: i64,
    pub(super) previous: Option<i64>,
    pub(super) accepted_ms: i64,
    pub(super) refused: Option<Refused<'a>>,
}

/// What an event counts against its tenant's share; the constant stands for the row's own overhead.
pub(super) fn weight(event: &Event) -> u64 {
    let sanitised = event.sanitised.as_ref().map_or(0, |places| places.len());
    let texts = event.id.len() + event.kind.len() + event.conversation.len() + sanitised;
    let bodies = event.data.len() + event.dataraw.as_ref().map_or(0, Bytes::len);
    (texts + bodies + 256) as u64
}

pub(super) fn insert(conn: &Connection, new: &NewRow<'_>) -> rusqlite::Result<()> {
    let event = new.event;
    let head = rmp_serde::to_vec_named(&Head {
        tenant: event.tenant.clone(),
        source: event.source.clone(),
        id: event.id.clone(),
        kind: event.kind.clone(),
        conversation: event.conversation.clone(),
        time: event.time,
        traceparent: event.traceparent.clone(),
        unknown: event.unknown,
        sanitised: event.sanitised.clone(),
    })
    .map_err(|cause| rusqlite::Error::ToSqlConversionFailure(Box::new(cause)))?;
    let sum = checksum(&head, (new.sequence, new.previous), &event.data, event.dataraw.as_deref());
    conn.prepare_cached(
        "INSERT INTO events(conversation, sequence, previous, tenant, source, subject, id, accepted_ms, bytes, head,
           data, dataraw, checksum, state, reason, expires_ms) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
    )?
    .execute(params![
        new.conversation,
        new.sequence,
        new.previous,
        event.tenant.as_str(),
        format!("{}/{}", event.source.namespace, event.source.name),
        &*event.conversation,
        &*event.id,
        new.accepted_ms,
        i64::try_from(weight(event)).unwrap_or(i64::MAX),
        head,
        &*event.data,
        event.dataraw.as_deref(),
        sum,
        if new.refused.is_some() { DEAD } else { WAITING },
        new.refused.as_ref().map(|refused| refused.reason),
        new.refused.as_ref().map(|refused| refused.expires_ms),
    ])?;
    Ok(())
}

pub(super) const COLUMNS: &str = "row, sequence, previous, head, data, dataraw, checksum, attempts, due_ms, replayed";

/// Reads [`COLUMNS`]; what does not fit is damaged, not an error.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Read> {
    let number: i64 = row.get(0)?;
    Ok(decode(row).map_or(Read::Damaged(number), |pending| Read::Whole(Box::new(pending))))
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
    };
    let redelivered = attempts > 0 || replayed;
    let envelope = Envelope { event, sequence, previous, redelivered, gap: false, degraded: false };
    Some(Pending { row: row.get(0).ok()?, attempts, due_ms: row.get(8).ok()?, envelope })
}

/// The oldest event that a conversation is owed.
pub(crate) fn next_of(conn: &Connection, conversation: &Key) -> rusqlite::Result<Option<Read>> {
    conn.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM events WHERE conversation=? AND state<2 ORDER BY sequence, row LIMIT 1"
    ))?
    .query_row([conversation], read)
    .optional()
}

/// Every conversation that is owed something, with its tenant.
pub(crate) fn heads(conn: &Connection) -> rusqlite::Result<Vec<(Key, String)>> {
    conn.prepare("SELECT conversation, min(tenant) FROM events WHERE state<2 GROUP BY conversation")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

#[cfg(test)]
mod tests {
    use policy::names::Kind;

    use super::*;

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
