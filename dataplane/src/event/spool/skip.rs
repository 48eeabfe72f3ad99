//! Lets conversations go on past what they wait for, because somebody has decided that.
//!
//! An event that waits until another shard has answered goes without that answer. Any other that is the oldest of its
//! conversation and waits here becomes a dead letter, `skipped`, which can be replayed. What goes next is flagged `gap`.

use policy::names::TenantName;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};

use super::operate::Filter;
use super::row::{DEAD, Flags, PARKED, WAITING};
use crate::event::claim::Key;

/// For how long what was skipped is kept.
const KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// The event that a conversation waits for, or with.
pub(super) struct Head {
    row: i64,
    conversation: Key,
    tenant: String,
    unsure: bool,
}

/// The oldest event of each conversation of which something matches, where its turn comes from here.
pub(super) fn heads(conn: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Head>> {
    let (condition, values) = filter.condition();
    let matching: Vec<Key> = conn
        .prepare(&format!("SELECT DISTINCT conversation FROM events WHERE {condition} AND state<{DEAD}"))?
        .query_map(params_from_iter(values), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut oldest = conn.prepare(&format!(
        "SELECT row, state, tenant, flags FROM events WHERE conversation=? AND state<{DEAD} ORDER BY sequence, row LIMIT 1"
    ))?;
    let mut heads = Vec::with_capacity(matching.len());
    for conversation in matching {
        let head = oldest.query_row([conversation], |row| {
            let (number, state, tenant) = (row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?);
            let unsure = Flags::read(row.get(3)?).has(Flags::UNSURE);
            Ok((state, Head { row: number, conversation, tenant, unsure }))
        });
        if let Some((WAITING | PARKED, head)) = head.optional()? {
            heads.push(head);
        }
    }
    Ok(heads)
}

/// The rows that a skip makes dead letters.
pub(super) fn rows(conn: &Connection, filter: &Filter) -> rusqlite::Result<Vec<i64>> {
    Ok(heads(conn, filter)?.into_iter().filter(|head| !head.unsure).map(|head| head.row).collect())
}

/// Skips; the conversations that may go on.
pub(super) fn skip(conn: &Connection, filter: &Filter, now_ms: i64) -> rusqlite::Result<Vec<(Key, TenantName)>> {
    let mut woken = Vec::new();
    for Head { row, conversation, tenant, unsure } in heads(conn, filter)? {
        if !unsure {
            conn.execute(
                "UPDATE events SET state=?, reason='skipped', expires_ms=? WHERE row=?",
                params![DEAD, now_ms.saturating_add(KEPT_MS), row],
            )?;
        }
        conn.execute(
            &format!(
                "UPDATE events SET flags=(flags|?1)&~?2, due_ms=0 WHERE row=(SELECT row FROM events
                   WHERE conversation=?3 AND state<{DEAD} ORDER BY sequence, row LIMIT 1)"
            ),
            params![Flags::GAP, Flags::UNSURE, conversation],
        )?;
        woken.extend(TenantName::parse(&tenant).ok().map(|tenant| (conversation, tenant)));
    }
    Ok(woken)
}
