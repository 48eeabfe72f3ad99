//! The layout of the store, and the way from each earlier one to it.

use jiff::Timestamp;
use rusqlite::Connection;

use super::command::StoreId;
use super::outcome_log;
use crate::event::claim::digest;

/// The layout that this build writes and reads.
pub(super) const SCHEMA_VERSION: i64 = 2;

const EVENTS: &str = "
CREATE TABLE events(
  row INTEGER PRIMARY KEY AUTOINCREMENT,
  conversation BLOB NOT NULL,
  sequence INTEGER NOT NULL,
  previous INTEGER,
  tenant TEXT NOT NULL,
  source TEXT NOT NULL,
  subject TEXT NOT NULL,
  id TEXT NOT NULL,
  accepted_ms INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  head BLOB NOT NULL,
  data BLOB NOT NULL,
  dataraw BLOB,
  checksum BLOB NOT NULL,
  flags INTEGER NOT NULL DEFAULT 0,
  state INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  replayed INTEGER NOT NULL DEFAULT 0,
  due_ms INTEGER NOT NULL DEFAULT 0,
  expires_ms INTEGER,
  reason TEXT,
  last_status INTEGER,
  last_answer TEXT,
  violations TEXT
) STRICT;
CREATE INDEX owed ON events(conversation, sequence) WHERE state < 4;
CREATE INDEX spooled ON events(row) WHERE state = 1;
CREATE INDEX expiring ON events(expires_ms) WHERE expires_ms IS NOT NULL;
";

const BESIDES: &str = "
CREATE TABLE conversations(key BLOB PRIMARY KEY, last INTEGER NOT NULL, done INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE ids(tenant TEXT NOT NULL, id BLOB NOT NULL, hour INTEGER NOT NULL, sequence INTEGER NOT NULL,
  PRIMARY KEY(tenant, id)) STRICT, WITHOUT ROWID;
CREATE INDEX ids_by_hour ON ids(tenant, hour);
CREATE TABLE facts(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// The oldest pending event is found without passing over dead letters.
const PENDING: &str = "CREATE INDEX IF NOT EXISTS pending ON events(row) WHERE state < 4";

/// Layout 1 had the states waiting 0, parked 1, dead 2 and damaged 3, knew no broker, and used rows again.
const FROM_1: &str = "
ALTER TABLE events RENAME TO earlier;
ALTER TABLE conversations ADD COLUMN done INTEGER;
DROP INDEX owed;
DROP INDEX expiring;
";
const FROM_1_ROWS: &str = "
INSERT INTO events(row, conversation, sequence, previous, tenant, source, subject, id, accepted_ms, bytes, head, data,
  dataraw, checksum, flags, state, attempts, replayed, due_ms, expires_ms, reason, last_status, last_answer)
SELECT row, conversation, sequence, previous, tenant, source, subject, id, accepted_ms, bytes, head, data, dataraw,
  checksum, 0, iif(state > 0, state + 2, 0), attempts, replayed, due_ms, expires_ms, reason, last_status, last_answer
FROM earlier;
DROP TABLE earlier;
";

/// Brings a store of an earlier layout, or an empty one, to this build's; in one transaction.
pub(super) fn migrate(conn: &mut Connection, found: i64) -> rusqlite::Result<()> {
    let transaction = conn.transaction()?;
    match found {
        0 => {
            transaction.execute_batch(EVENTS)?;
            transaction.execute_batch(BESIDES)?;
        }
        1 => {
            transaction.execute_batch(FROM_1)?;
            transaction.execute_batch(EVENTS)?;
            transaction.execute_batch(FROM_1_ROWS)?;
        }
        _ => {}
    }
    if found < SCHEMA_VERSION {
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    add(&transaction)?;
    transaction.commit()
}

/// What this build adds to a layout without another number: an earlier build opens the store all the same, and passes
/// it over.
fn add(conn: &Connection) -> rusqlite::Result<()> {
    if !has_violations(conn)? {
        conn.execute_batch("ALTER TABLE events ADD COLUMN violations TEXT")?;
    }
    conn.execute_batch(PENDING)?;
    conn.execute_batch(outcome_log::TABLE)?;
    fact(conn, outcome_log::SINCE, Timestamp::now().as_millisecond()).map(drop)
}

/// Returns whether the store has the column; an earlier build's, which a command reads beside it, has none.
pub(super) fn has_violations(conn: &Connection) -> rusqlite::Result<bool> {
    let mut columns =
        conn.prepare_cached("SELECT count(*) FROM pragma_table_info('events') WHERE name='violations'")?;
    columns.query_row([], |row| row.get::<_, i64>(0)).map(|found| found > 0)
}

/// The value of a fact, which is this one unless there was one before.
fn fact(conn: &Connection, name: &str, value: i64) -> rusqlite::Result<i64> {
    conn.execute("INSERT INTO facts VALUES(?, ?) ON CONFLICT DO NOTHING", (name, value))?;
    conn.query_row("SELECT value FROM facts WHERE name=?", [name], |row| row.get(0))
}

/// Which store this is.
pub(super) fn identity(conn: &Connection) -> rusqlite::Result<StoreId> {
    // The random half of a version 7 id; never 0, and never negative.
    let drawn = uuid::Uuid::now_v7().as_u64_pair().1 >> 1;
    fact(conn, "store", i64::try_from(drawn).unwrap_or(i64::MAX)).map(StoreId)
}

/// Whether it belongs to the shard with this name; the first that asks has it.
pub(super) fn is_of(conn: &Connection, name: &str) -> rusqlite::Result<bool> {
    let digest = digest([b"shard", name.as_bytes()]);
    let own = digest.iter().take(8).fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
    Ok(fact(conn, "shard", own)? == own)
}
