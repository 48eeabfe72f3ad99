//! A batch of commands in one transaction: all together, and when one of them cannot, each by itself.
//!
//! Together costs nothing more than the work. What fails because of one command (a constraint, a row that cannot be
//! read, an event too large for what is left) is found by a second run with a savepoint a command, and fails alone.
//! What fails because of the disk or the file fails all of them, and nothing of the batch counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy::error::chain;
use rusqlite::ErrorCode;

use super::SpoolError;
use super::command::{Command, Verdict};
use super::replay::Revived;
use super::writer::{Begun, Effects, Writer};

use crate::event::{AcceptError, Accepted};

/// SQLite gives up a whole transaction when a statement finds the store full; so often it is begun again without
/// the command that did it, before the rest fails too.
const BEGUN_AGAIN: usize = 8;

/// What a command did, for its answer once that is durable.
pub(super) enum Outcome {
    Accepted(Result<Vec<Accepted>, AcceptError>),
    Verdict(Verdict),
    Changed(u64),
    Revived(Vec<Revived>),
    Done,
}

impl Outcome {
    pub(super) fn done((): ()) -> Self {
        Self::Done
    }
}

type Cause = Arc<rusqlite::Error>;

/// A batch that is durable, but for those that failed alone.
pub(super) struct Performed {
    pub(super) outcomes: Vec<Result<Outcome, Cause>>,
    pub(super) effects: Effects,
}

/// Why a run came to nothing.
enum Failed {
    /// One command is at fault.
    One(rusqlite::Error),
    /// The store is.
    All(rusqlite::Error),
}

/// Whether an error says something of the store rather than of the command that met it.
fn is_of_the_store(error: &rusqlite::Error) -> bool {
    use ErrorCode::{CannotOpen, DatabaseBusy, DatabaseLocked, FileLockingProtocolFailed, NotADatabase, OutOfMemory};
    use ErrorCode::{ReadOnly, SystemIoFailure};
    matches!(
        error.sqlite_error_code(),
        Some(
            SystemIoFailure
                | OutOfMemory
                | ReadOnly
                | CannotOpen
                | NotADatabase
                | DatabaseBusy
                | DatabaseLocked
                | FileLockingProtocolFailed
        )
    )
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        if is_of_the_store(&error) { Self::All(error) } else { Self::One(error) }
    }
}

impl Writer {
    /// Makes a batch durable; an error means that nothing of it is.
    pub(super) fn perform_all(&self, batch: &[Command]) -> Result<Performed, Cause> {
        let begun = self.begun();
        let performed = match self.together(batch, begun) {
            Err(Failed::One(error)) => {
                tracing::warn!(error = chain(&error), "one of a batch failed; each is tried by itself");
                self.roll_back();
                self.apart(batch, begun)
            }
            Err(Failed::All(error)) => Err(error),
            Ok(performed) => Ok(performed),
        };
        performed.map_err(|error| {
            self.roll_back();
            Arc::new(error)
        })
    }

    fn together(&self, batch: &[Command], begun: Begun) -> Result<Performed, Failed> {
        self.sql("BEGIN IMMEDIATE").map_err(Failed::All)?;
        let mut effects = Effects::default();
        let mut outcomes = Vec::with_capacity(batch.len());
        for command in batch {
            outcomes.push(Ok(self.perform(command, begun, &mut effects)?));
        }
        self.forget_ids(begun.now, &mut effects)?;
        self.sql("COMMIT").map_err(Failed::All)?;
        Ok(Performed { outcomes, effects })
    }

    fn apart(&self, batch: &[Command], begun: Begun) -> rusqlite::Result<Performed> {
        let mut failed = BTreeMap::new();
        let mut again = 0;
        loop {
            match self.each(batch, begun, &mut failed)? {
                Some(performed) => return Ok(performed),
                None if again == BEGUN_AGAIN => return Err(full()),
                None => again += 1,
            }
        }
    }

    /// One run over those that have not failed; none when SQLite gave the transaction up.
    fn each(
        &self,
        batch: &[Command],
        begun: Begun,
        failed: &mut BTreeMap<usize, Cause>,
    ) -> rusqlite::Result<Option<Performed>> {
        self.sql("BEGIN IMMEDIATE")?;
        let mut effects = Effects::default();
        let mut outcomes = Vec::with_capacity(batch.len());
        for (at, command) in batch.iter().enumerate() {
            if let Some(cause) = failed.get(&at) {
                outcomes.push(Err(cause.clone()));
                continue;
            }
            let outcome = self.alone(&mut effects, |effects| self.perform(command, begun, effects))?;
            if let Err(cause) = &outcome {
                tracing::error!(error = chain(&**cause), "the spool could not do what it was told");
                failed.insert(at, cause.clone());
                if self.spool.conn.is_autocommit() {
                    return Ok(None);
                }
            }
            outcomes.push(outcome);
        }
        // Ids that cannot be forgotten now are at the next batch.
        let forgotten = self.alone(&mut effects, |effects| self.forget_ids(begun.now, effects))?;
        if forgotten.is_err() && self.spool.conn.is_autocommit() {
            return Ok(None);
        }
        self.sql("COMMIT")?;
        Ok(Some(Performed { outcomes, effects }))
    }

    /// Does it inside a savepoint: what fails of itself leaves nothing behind.
    fn alone<T>(
        &self,
        effects: &mut Effects,
        work: impl FnOnce(&mut Effects) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Result<T, Cause>> {
        let before = effects.clone();
        self.sql("SAVEPOINT one")?;
        match work(effects) {
            Ok(done) => {
                self.sql("RELEASE one")?;
                Ok(Ok(done))
            }
            Err(error) if is_of_the_store(&error) => Err(error),
            Err(error) => {
                *effects = before;
                if !self.spool.conn.is_autocommit() {
                    self.sql("ROLLBACK TO one; RELEASE one")?;
                }
                Ok(Err(Arc::new(error)))
            }
        }
    }

    fn sql(&self, text: &str) -> rusqlite::Result<()> {
        self.spool.conn.execute_batch(text)
    }

    fn roll_back(&self) {
        if !self.spool.conn.is_autocommit() {
            let _ = self.sql("ROLLBACK");
        }
    }
}

fn full() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL), None)
}

impl Command {
    /// Answers it. Who no longer listens gets the same answer when it asks again.
    pub(super) fn answer(self, outcome: Result<Outcome, Cause>) {
        match self {
            Self::Append { reply, .. } | Self::Keep { reply, .. } => drop(reply.send(match outcome {
                Ok(Outcome::Accepted(accepted)) => accepted,
                Ok(Outcome::Verdict(_) | Outcome::Changed(_) | Outcome::Revived(_) | Outcome::Done) => {
                    Err(AcceptError::NotDurable { cause: None })
                }
                Err(cause) => Err(AcceptError::NotDurable { cause: Some(cause) }),
            })),
            Self::Consult { reply, .. } => drop(reply.send(match outcome {
                Ok(Outcome::Verdict(verdict)) => Some(verdict),
                Ok(Outcome::Accepted(_) | Outcome::Changed(_) | Outcome::Revived(_) | Outcome::Done) | Err(_) => None,
            })),
            Self::Record { reply, .. }
            | Self::Bury { reply, .. }
            | Self::Drained { reply, .. }
            | Self::Settle { reply, .. } => {
                let _ = reply.send(outcome.is_ok());
            }
            Self::Change { reply, .. } => drop(reply.send(match outcome {
                Ok(Outcome::Changed(count)) => Ok(count),
                Ok(Outcome::Accepted(_) | Outcome::Verdict(_) | Outcome::Revived(_) | Outcome::Done) => Ok(0),
                Err(cause) => Err(SpoolError::Failed(cause)),
            })),
            Self::Revive { reply, .. } => drop(reply.send(match outcome {
                Ok(Outcome::Revived(revived)) => Ok(revived),
                Ok(Outcome::Accepted(_) | Outcome::Verdict(_) | Outcome::Changed(_) | Outcome::Done) => Ok(Vec::new()),
                Err(cause) => Err(SpoolError::Failed(cause)),
            })),
            Self::Outcomes(_) | Self::Tidy | Self::Stop => {}
        }
    }
}
