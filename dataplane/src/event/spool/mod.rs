//! The store: one SQLite file for what waits, is parked and is dead.
//!
//! WAL with `synchronous=FULL`, one writer with group commit, checkpoints on a connection of their own, a
//! checksum a row. A lock file keeps a second process out; `sqlite3` opens the file for reading at any time.

mod checkpoint;
mod dedupe;
pub mod operate;
mod row;
mod writer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub(super) use checkpoint::Checkpointer;
pub use row::{Pending, Read};
pub(super) use row::{heads, next_of};
pub(super) use writer::{Command, Wakes, Writer};
pub use writer::{Death, LastAttempt, Settlement};

/// The layout that this build writes and reads.
const SCHEMA_VERSION: i64 = 1;
const PAGE_BYTES: i64 = 8192;

const SCHEMA: &str = "
CREATE TABLE events(
  row INTEGER PRIMARY KEY,
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
  state INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  replayed INTEGER NOT NULL DEFAULT 0,
  due_ms INTEGER NOT NULL DEFAULT 0,
  expires_ms INTEGER,
  reason TEXT,
  last_status INTEGER,
  last_answer TEXT
) STRICT;
CREATE INDEX owed ON events(conversation, sequence) WHERE state < 2;
CREATE INDEX expiring ON events(expires_ms) WHERE expires_ms IS NOT NULL;
CREATE TABLE conversations(key BLOB PRIMARY KEY, last INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE ids(tenant TEXT NOT NULL, id BLOB NOT NULL, hour INTEGER NOT NULL, sequence INTEGER NOT NULL,
  PRIMARY KEY(tenant, id)) STRICT, WITHOUT ROWID;
CREATE INDEX ids_by_hour ON ids(tenant, hour);
CREATE TABLE facts(name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// Why a spool could not be opened or asked.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The directory or the lock file.
    #[error("the spool at {path} cannot be used")]
    File {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Another process holds it.
    #[error("the spool at {path} is in use by another process")]
    InUse {
        /// Where.
        path: PathBuf,
    },
    /// A newer build wrote it.
    #[error("the spool has layout {found}, this build reads {SCHEMA_VERSION}: run the build that wrote it, or newer")]
    Newer {
        /// The layout found.
        found: i64,
    },
    /// The store itself.
    #[error("the spool's store failed")]
    Store(#[from] rusqlite::Error),
    /// The transaction that this was part of.
    #[error("the spool could not write")]
    Failed(#[source] std::sync::Arc<rusqlite::Error>),
    /// The spool's thread is gone.
    #[error("the spool is not running")]
    Stopped,
}

/// The open file, and the lock that makes it ours.
pub(super) struct Spool {
    pub(super) conn: Connection,
    pub(super) lock: File,
}

pub(super) fn database(directory: &Path) -> PathBuf {
    directory.join("events.sqlite")
}

impl Spool {
    /// Takes the lock and opens the store, making it when there is none.
    pub(super) fn open(directory: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        let path = directory.join("events.lock");
        let file_error = |cause| SpoolError::File { path: path.clone(), cause };
        std::fs::create_dir_all(directory).map_err(file_error)?;
        let lock = File::options().create(true).truncate(false).write(true).open(&path).map_err(file_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse { path }),
            Err(TryLockError::Error(cause)) => return Err(file_error(cause)),
        }
        let mut conn = Connection::open(database(directory))?;
        conn.busy_timeout(Duration::from_secs(10))?;
        let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found > SCHEMA_VERSION {
            return Err(SpoolError::Newer { found });
        }
        if found == 0 {
            conn.pragma_update(None, "page_size", PAGE_BYTES)?;
        }
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
        conn.pragma_update(None, "cache_size", -32_768)?;
        let pages = i64::try_from(max_bytes).unwrap_or(i64::MAX) / PAGE_BYTES;
        conn.query_row(&format!("PRAGMA max_page_count={}", pages.clamp(32, 4_294_967_294)), [], |_| Ok(()))?;
        conn.set_prepared_statement_cache_capacity(64);
        if found == 0 {
            let transaction = conn.transaction()?;
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
            transaction.commit()?;
            // A new file is durable only when its directory entry is.
            File::open(directory).and_then(|dir| dir.sync_all()).map_err(file_error)?;
        }
        Ok(Self { conn, lock })
    }
}

/// A second connection, for reading beside the writer.
pub(super) fn open_reader(directory: &Path) -> Result<Connection, SpoolError> {
    let conn = Connection::open_with_flags(
        database(directory),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(Duration::from_secs(10))?;
    Ok(conn)
}
