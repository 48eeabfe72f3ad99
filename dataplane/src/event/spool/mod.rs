//! The store: one SQLite file for what waits, is parked and is dead.
//!
//! WAL with `synchronous=FULL`, one writer with group commit, checkpoints on a connection of their own, a
//! checksum a row. A lock file keeps a second process out; `sqlite3` opens the file for reading at any time.

mod append;
mod batch;
mod checkpoint;
mod command;
mod consult;
mod dedupe;
mod known;
pub mod operate;
pub mod outcome_log;
mod private;
pub mod replay;
mod room;
mod row;
mod schema;
mod settle;
mod shard;
mod skip;
pub mod volume;
mod writer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

pub use command::{Ask, Death, LastAttempt, Mark, Numbered, Place, Record, Settlement, StoreId, Unreadable, Verdict};
#[cfg(test)]
pub(super) use row::head_of;
#[cfg(any(test, feature = "fuzz"))]
pub(super) use row::read_parts;
pub(super) use row::source_text;
pub use row::{Pending, Read};
use schema::SCHEMA_VERSION;
pub use shard::{Queue, Settings, Shard};

const PAGE_BYTES: i64 = 8192;

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
    /// It belongs to another shard.
    #[error(
        "the spool at {path} was made by another shard than {name}: give each shard the volume that it had, or this one a directory of its own"
    )]
    AnotherShard {
        /// Where.
        path: PathBuf,
        /// Who opens it.
        name: Arc<str>,
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
    pub(super) id: StoreId,
}

pub(super) fn database(directory: &Path) -> PathBuf {
    directory.join("events.sqlite")
}

impl Spool {
    /// Takes the lock and opens the store, making it when there is none.
    pub(super) fn open(directory: &Path, max_bytes: u64) -> Result<Self, SpoolError> {
        let path = directory.join("events.lock");
        let file_error = |cause| SpoolError::File { path: path.clone(), cause };
        private::folder(directory).map_err(file_error)?;
        let lock = private::file(&path).map_err(file_error)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(SpoolError::InUse { path }),
            Err(TryLockError::Error(cause)) => return Err(file_error(cause)),
        }
        private::database(directory).map_err(file_error)?;
        let mut conn = Connection::open(database(directory))?;
        settle_in(&conn)?;
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
        schema::migrate(&mut conn, found)?;
        if found == 0 {
            // A new file is durable only when its directory entry is.
            File::open(directory).and_then(|dir| dir.sync_all()).map_err(file_error)?;
        }
        let id = schema::identity(&conn)?;
        Ok(Self { conn, lock, id })
    }

    /// Makes sure that this store is of the shard with this name; one without a name takes it.
    pub(super) fn is_of(&self, directory: &Path, name: &Arc<str>) -> Result<(), SpoolError> {
        if schema::is_of(&self.conn, name)? {
            return Ok(());
        }
        Err(SpoolError::AnotherShard { path: directory.to_owned(), name: name.clone() })
    }
}

/// Returns whether the store in a folder belongs to a shard with a name, which stands beside a broker.
///
/// # Errors
/// [`SpoolError::Store`]
pub(crate) fn is_beside_broker(directory: &Path) -> Result<bool, SpoolError> {
    let named =
        open_reader(directory)?.query_row("SELECT count(*) FROM facts WHERE name='shard'", [], |row| row.get(0));
    Ok(named.map(|count: i64| count > 0)?)
}

/// A second connection, for reading beside the writer.
pub(super) fn open_reader(directory: &Path) -> Result<Connection, SpoolError> {
    let conn = Connection::open_with_flags(
        database(directory),
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    settle_in(&conn)?;
    Ok(conn)
}

/// What every connection needs before its first statement.
fn settle_in(conn: &Connection) -> rusqlite::Result<()> {
    conn.busy_timeout(Duration::from_secs(10))?;
    // Without it a statement is planned anew for each value that is bound to it, which takes longer than running it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}
