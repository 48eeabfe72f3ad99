//! What the pipeline sees: accept, and the answer is durable.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use policy::names::TenantName;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::claim::Key;
use super::spool::operate::Change;
use super::spool::{Checkpointer, Command, Read, Settlement, Spool, SpoolError, Wakes, Writer, heads, next_of};
use super::{Counters, Event};

/// How the spool is kept.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its directory, on a volume that outlives the process.
    pub directory: PathBuf,
    /// The store's bound; accepting uses half of it, the rest is for what must be written about what is there.
    pub max_bytes: u64,
    /// Remembered ids of one tenant at most.
    pub max_ids_per_tenant: u64,
    /// POSTs waiting for the writer at most.
    pub queued_posts: usize,
    /// How long a POST waits to be made durable.
    pub patience: Duration,
}

impl Settings {
    /// A spool in this directory, with the bounds that suit a small volume.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            max_bytes: 8 << 30,
            max_ids_per_tenant: 2_000_000,
            queued_posts: 4096,
            patience: Duration::from_secs(8),
        }
    }
}

/// An event with what its source and tenant say about accepting it.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event.
    pub event: Event,
    /// How long its id is remembered.
    pub dedupe_window: Duration,
    /// What its tenant may have in the spool, dead letters included.
    pub pending_bytes: u64,
}

/// One entry of a POST.
#[derive(Clone, Debug)]
pub enum Entry {
    /// To be delivered.
    Deliver(NewEvent),
    /// Refused or unclaimed: a dead letter from the start.
    Dead {
        /// The entry.
        new: NewEvent,
        /// Why.
        reason: Arc<str>,
        /// How long it is kept.
        retention: Duration,
    },
}

impl Entry {
    pub(super) fn parts(&self) -> (&NewEvent, Option<(&str, Duration)>) {
        match self {
            Self::Deliver(new) => (new, None),
            Self::Dead { new, reason, retention } => (new, Some((reason, *retention))),
        }
    }
}

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Its number.
    pub sequence: i64,
    /// It was accepted before, under this number.
    pub duplicate: bool,
}

/// Why nothing of a POST was accepted. Each is a 503 with `Retry-After`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AcceptError {
    /// It could not be made durable, or not in time; it may be there nevertheless, and a retry finds out.
    #[error("the event could not be made durable")]
    NotDurable {
        /// What the store said.
        #[source]
        cause: Option<Arc<rusqlite::Error>>,
    },
    /// Half of the store is full.
    #[error("the spool has no room for new events")]
    Reserve,
    /// This tenant's share is full; others are served.
    #[error("tenant {tenant} has no room for new events")]
    PendingFull {
        /// Whose.
        tenant: TenantName,
    },
}

/// The event path, shared by all cores.
pub struct EventPath {
    commands: mpsc::Sender<Command>,
    writer: JoinHandle<()>,
    checkpointer: Checkpointer,
    counters: Arc<Counters>,
    wakes: Arc<Wakes>,
    settings: Settings,
}

impl EventPath {
    /// Opens the spool and starts its threads.
    ///
    /// # Errors
    /// [`SpoolError`]
    pub fn open(settings: Settings) -> Result<Self, SpoolError> {
        let spool = Spool::open(&settings.directory, settings.max_bytes)?;
        let counters = Arc::new(Counters::default());
        let wakes = Arc::new(Wakes::default());
        let bounds = (settings.max_bytes / 2, settings.max_ids_per_tenant);
        let writer = Writer::load(spool, counters.clone(), wakes.clone(), bounds)?;
        let checkpointer = Checkpointer::start(&settings.directory)?;
        let (commands, queued) = mpsc::channel(settings.queued_posts);
        let writer = std::thread::Builder::new()
            .name("spool-writer".into())
            .spawn(move || writer.run(queued))
            .map_err(|cause| SpoolError::File { path: settings.directory.clone(), cause })?;
        Ok(Self { commands, writer, checkpointer, counters, wakes, settings })
    }

    /// Makes all entries of one POST durable, or none, in their order.
    ///
    /// # Errors
    /// [`AcceptError`]; none of the entries counts then.
    pub async fn accept(&self, entries: Vec<Entry>) -> Result<Vec<Accepted>, AcceptError> {
        let (reply, answer) = oneshot::channel();
        let durable = async {
            self.commands.send(Command::Append { entries, reply }).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(self.settings.patience, durable).await {
            Ok(Some(result)) => result,
            Ok(None) | Err(_) => Err(AcceptError::NotDurable { cause: None }),
        }
    }

    /// Whether every thread runs; when not, readiness goes.
    #[must_use]
    pub fn healthy(&self) -> bool {
        !self.writer.is_finished() && self.checkpointer.is_alive()
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The spool's directory, for [`super::spool::operate`].
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.settings.directory
    }

    /// Replays or drops, beside the traffic; says how many.
    ///
    /// # Errors
    /// [`SpoolError::Failed`], [`SpoolError::Stopped`]
    pub async fn change(&self, change: Change) -> Result<u64, SpoolError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Change { change, reply }).await.map_err(|_| SpoolError::Stopped)?;
        answer.await.map_err(|_| SpoolError::Stopped)?
    }

    /// What is owed, for the one that delivers it.
    ///
    /// # Errors
    /// [`SpoolError::Store`]
    pub fn queue(&self) -> Result<Queue, SpoolError> {
        let reader = super::spool::open_reader(&self.settings.directory)?;
        Ok(Queue { reader, commands: self.commands.clone(), wakes: self.wakes.clone() })
    }

    /// Finishes what is queued and closes the file. Blocks.
    pub fn shutdown(self) {
        // A writer that is gone has nothing left to finish.
        let _ = self.commands.blocking_send(Command::Stop);
        let _ = self.writer.join();
        self.checkpointer.stop();
    }
}

/// What is owed: in order per conversation, nothing gone before it is settled.
pub struct Queue {
    reader: Connection,
    commands: mpsc::Sender<Command>,
    wakes: Arc<Wakes>,
}

impl Queue {
    /// Every conversation that is owed something, and its tenant; what a start begins with.
    ///
    /// # Errors
    /// [`SpoolError::Store`]
    pub fn heads(&self) -> Result<Vec<(Key, String)>, SpoolError> {
        Ok(heads(&self.reader)?)
    }

    /// Waits for conversations that got something new.
    pub async fn woken(&self) -> Vec<(Key, TenantName)> {
        loop {
            let woken = self.wakes.take();
            if !woken.is_empty() {
                return woken.into_iter().collect();
            }
            self.wakes.notify.notified().await;
        }
    }

    /// The oldest event that a conversation is owed.
    ///
    /// # Errors
    /// [`SpoolError::Store`]
    pub fn next(&self, conversation: &Key) -> Result<Option<Read>, SpoolError> {
        Ok(next_of(&self.reader, conversation)?)
    }

    /// Records what became of an event; true when that is durable. Until then it is still owed.
    pub async fn settle(&self, row: i64, settlement: Settlement) -> bool {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Settle { row, settlement, reply }).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// Lets retention and bounds act when no traffic carries them.
    pub async fn tidy(&self) {
        let _ = self.commands.send(Command::Tidy).await;
    }
}

#[cfg(test)]
mod tests;
