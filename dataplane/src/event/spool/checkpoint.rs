//! Moves what the log holds into the file, beside the writer.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use super::{SpoolError, database};

/// The log is moved from this size on ...
const LOG_BYTES: u64 = 16 << 20;
/// ... and from this one on the writer waits for it, so that the log is bounded.
const MAX_LOG_BYTES: u64 = 256 << 20;

/// The thread; dropping the sender ends it.
pub(crate) struct Checkpointer {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    pub(crate) fn start(directory: &Path) -> Result<Self, SpoolError> {
        let path = database(directory);
        let conn = Connection::open(&path)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        let log = PathBuf::from(format!("{}-wal", path.display()));
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::Builder::new()
            .name("spool-checkpoint".into())
            .spawn(move || {
                while stopped.recv_timeout(Duration::from_millis(200)) == Err(RecvTimeoutError::Timeout) {
                    let bytes = std::fs::metadata(&log).map_or(0, |meta| meta.len());
                    let how = match bytes {
                        MAX_LOG_BYTES.. => "PRAGMA wal_checkpoint(TRUNCATE)",
                        LOG_BYTES.. => "PRAGMA wal_checkpoint(PASSIVE)",
                        _ => continue,
                    };
                    // A failure leaves the log as it is: nothing is lost, and the next round tries again.
                    let _ = conn.query_row(how, [], |_| Ok(()));
                }
            })
            .map_err(|cause| SpoolError::File { path: path.clone(), cause })?;
        Ok(Self { stop, thread })
    }

    pub(crate) fn is_alive(&self) -> bool {
        !self.thread.is_finished()
    }

    pub(crate) fn stop(self) {
        drop(self.stop);
        let _ = self.thread.join();
    }
}
