//! New events: refused together, or written together.

use jiff::Timestamp;
use policy::names::TenantName;
use rusqlite::{OptionalExtension, params};

use super::command::Numbered;
use super::dedupe;
use super::room::{Added, Store};
use super::row::{self, DEAD, Flags, NewRow, Start, weight};
use super::writer::{Begun, Effects, Writer};
use crate::event::claim::{Key, conversation_key, event_key, next_number};
use crate::event::outcomes::{EventOutcome, OutcomeKind};
use crate::event::{AcceptError, Accepted, Dead, Entry, NewEvent};

pub(super) fn add_ms(now_ms: i64, more: std::time::Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(more.as_millis()).unwrap_or(i64::MAX))
}

fn no_room(full: Option<TenantName>, effects: &mut Effects) -> AcceptError {
    match full {
        Some(tenant) => {
            effects.counts.push((|counters| &counters.pending_full, 1));
            AcceptError::PendingFull { tenant }
        }
        None => AcceptError::Reserve,
    }
}

impl Writer {
    pub(super) fn append(
        &self,
        entries: &[Entry],
        Begun { now, store }: Begun,
        effects: &mut Effects,
    ) -> rusqlite::Result<Result<Vec<Accepted>, AcceptError>> {
        let hour = dedupe::hour(now.as_millisecond());
        let parts = entries.iter().map(Entry::parts).map(|(new, dead)| (new, dead.is_some()));
        let full = self.full_tenant(parts, store, effects);
        if full.is_some() || !store.has_room() {
            // What is already here may still be said to be here.
            let mut known = Vec::with_capacity(entries.len());
            for entry in entries {
                let (new, refused) = entry.parts();
                let key = event_key(&new.event, refused.is_some());
                match dedupe::recall(&self.spool.conn, new.event.tenant.as_str(), &key, hour)? {
                    Some(sequence) => known.push(Accepted { sequence, duplicate: true }),
                    None => return Ok(Err(no_room(full, effects))),
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

    /// The first tenant that may not add its entries.
    pub(super) fn full_tenant<'n>(
        &self,
        entries: impl Iterator<Item = (&'n NewEvent, bool)>,
        store: Store,
        effects: &Effects,
    ) -> Option<TenantName> {
        let mut sums: Vec<(&TenantName, u64)> = Vec::new();
        for (NewEvent { event, pending_bytes, dead_when_full, .. }, is_dead) in entries {
            let bytes = match sums.iter_mut().find(|(tenant, _)| **tenant == event.tenant) {
                Some((_, sum)) => {
                    *sum += weight(event);
                    *sum
                }
                None => {
                    sums.push((&event.tenant, weight(event)));
                    weight(event)
                }
            };
            let uncommitted = effects.depth.get(&event.tenant).copied().unwrap_or_default();
            let has = self.counters.depth_of(&event.tenant).changed(uncommitted);
            let from_reserve = is_dead && dead_when_full.is_some();
            let added = Added { bytes, source: &event.source, ceiling: *pending_bytes, from_reserve };
            if !store.takes(has, added) {
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
        conn.prepare_cached(
            "INSERT INTO conversations(key, last) VALUES(?,?) ON CONFLICT DO UPDATE SET last=excluded.last",
        )?
        .execute(params![conversation, sequence])?;
        let until = dedupe::hour(add_ms(now_ms, *dedupe_window));
        if let Some(old) = dedupe::remember(conn, tenant, &id, until, sequence)? {
            effects.ids.push((tenant.to_owned(), old, -1));
        }
        effects.ids.push((tenant.to_owned(), until, 1));
        effects.known.push((id, until, sequence));
        let start = match refused {
            Some(Dead { reason, violations, retention }) => {
                effects.counts.push((|counters| &counters.refused, 1));
                effects.outcomes.push(EventOutcome::of(event, OutcomeKind::Dead, now_ms).because(reason.clone()));
                Start::Dead { reason, violations, last: None, expires_ms: add_ms(now_ms, retention) }
            }
            None => {
                effects.counts.push((|counters| &counters.accepted, 1));
                effects.woken.push((conversation, event.tenant.clone()));
                Start::Waiting
            }
        };
        let flags = Flags::default();
        let (origin, accepted_ms) = (entry.origin(), now_ms);
        row::insert(conn, &NewRow { event, origin, conversation, sequence, previous, accepted_ms, flags, start })?;
        effects.weigh_new(event);
        Ok(Accepted { sequence, duplicate: false })
    }

    /// Keeps events that the broker did not take, under the numbers that they have; a repeat of one that is
    /// owed adds nothing.
    pub(super) fn keep(
        &self,
        events: &[Numbered],
        Begun { now, store }: Begun,
        effects: &mut Effects,
    ) -> rusqlite::Result<Result<Vec<Accepted>, AcceptError>> {
        let conn = &self.spool.conn;
        let full = self.full_tenant(events.iter().map(|numbered| (&numbered.new, false)), store, effects);
        if full.is_some() || !store.has_room() {
            return Ok(Err(no_room(full, effects)));
        }
        let accepted_ms = now.as_millisecond();
        let mut accepted = Vec::with_capacity(events.len());
        for Numbered { new: NewEvent { event, .. }, sequence, previous, degraded } in events {
            let (sequence, previous) = (*sequence, *previous);
            let conversation = conversation_key(&event.tenant, &event.source, &event.conversation);
            let duplicate = self.owed_row(&conversation, sequence, &event.id)?.is_some();
            accepted.push(Accepted { sequence, duplicate });
            if duplicate {
                continue;
            }
            let flags = Flags::default().with(Flags::DEGRADED, *degraded);
            let start = if self.beside_broker { Start::Spooled } else { Start::Waiting };
            let origin = None;
            row::insert(conn, &NewRow { event, origin, conversation, sequence, previous, accepted_ms, flags, start })?;
            effects.weigh_new(event);
            effects.counts.push((|counters| &counters.spooled, 1));
            effects.spooled = true;
        }
        Ok(Ok(accepted))
    }

    /// The row of an event that is owed here.
    pub(super) fn owed_row(&self, conversation: &Key, sequence: i64, id: &str) -> rusqlite::Result<Option<i64>> {
        self.spool
            .conn
            .prepare_cached(&format!(
                "SELECT row FROM events WHERE conversation=? AND sequence=? AND id=? AND state<{DEAD} LIMIT 1"
            ))?
            .query_row(params![conversation, sequence, id], |row| row.get(0))
            .optional()
    }
}
