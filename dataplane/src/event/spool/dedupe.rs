//! Ids that were accepted: 16-byte hashes in a bucket per tenant and hour of expiry.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};

use crate::event::claim::Key;

/// How many ids one transaction drops at most, so that dropping never stalls accepting.
const DROPPED_AT_ONCE: i64 = 2000;

pub(super) fn hour(ms: i64) -> i64 {
    ms.div_euclid(3_600_000)
}

/// How many ids each bucket holds.
#[derive(Default)]
pub(super) struct Buckets(HashMap<String, BTreeMap<i64, i64>>);

impl Buckets {
    pub(super) fn load(conn: &Connection) -> rusqlite::Result<Self> {
        let mut buckets = Self::default();
        let mut statement = conn.prepare("SELECT tenant, hour, count(*) FROM ids GROUP BY tenant, hour")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            buckets.change(&row.get::<_, String>(0)?, row.get(1)?, row.get(2)?);
        }
        Ok(buckets)
    }

    pub(super) fn change(&mut self, tenant: &str, hour: i64, n: i64) {
        if !self.0.contains_key(tenant) {
            self.0.insert(tenant.to_owned(), BTreeMap::new());
        }
        let Some(hours) = self.0.get_mut(tenant) else { return };
        let count = hours.entry(hour).or_default();
        *count += n;
        if *count <= 0 {
            hours.remove(&hour);
        }
        if hours.is_empty() {
            self.0.remove(tenant);
        }
    }

    /// A bucket to drop from: one that ended, or the oldest of a tenant that has more than `max`. Says
    /// whether ids are forgotten before their time.
    pub(super) fn surplus(&self, now_hour: i64, max: i64) -> Option<(String, i64, bool)> {
        self.0.iter().find_map(|(tenant, hours)| {
            let (oldest, _) = hours.first_key_value()?;
            let over = hours.values().sum::<i64>() > max;
            (*oldest < now_hour || over).then(|| (tenant.clone(), *oldest, *oldest >= now_hour))
        })
    }
}

/// The number under which an id was accepted, while it is remembered.
pub(super) fn recall(conn: &Connection, tenant: &str, id: &Key, now_hour: i64) -> rusqlite::Result<Option<i64>> {
    conn.prepare_cached("SELECT sequence FROM ids WHERE tenant=? AND id=? AND hour>=?")?
        .query_row(params![tenant, id, now_hour], |row| row.get(0))
        .optional()
}

/// Remembers an id until an hour ends; an older memory of it is replaced. Returns the replaced hour.
pub(super) fn remember(
    conn: &Connection,
    tenant: &str,
    id: &Key,
    until_hour: i64,
    sequence: i64,
) -> rusqlite::Result<Option<i64>> {
    let fresh = conn
        .prepare_cached("INSERT INTO ids(tenant, id, hour, sequence) VALUES(?,?,?,?) ON CONFLICT DO NOTHING")?
        .execute(params![tenant, id, until_hour, sequence])?;
    if fresh == 1 {
        return Ok(None);
    }
    let old = conn
        .prepare_cached("SELECT hour FROM ids WHERE tenant=? AND id=?")?
        .query_row(params![tenant, id], |row| row.get(0))?;
    conn.prepare_cached("UPDATE ids SET hour=?3, sequence=?4 WHERE tenant=?1 AND id=?2")?
        .execute(params![tenant, id, until_hour, sequence])?;
    Ok(Some(old))
}

/// Drops a part of a bucket.
pub(super) fn forget(conn: &Connection, tenant: &str, hour: i64) -> rusqlite::Result<usize> {
    conn.prepare_cached(
        "DELETE FROM ids WHERE tenant=?1 AND id IN (SELECT id FROM ids WHERE tenant=?1 AND hour=?2 LIMIT ?3)",
    )?
    .execute(params![tenant, hour, DROPPED_AT_ONCE])
}
