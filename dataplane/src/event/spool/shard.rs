//! One shard: its store, the thread that writes it, and what may be asked of it from any core.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use jiff::Timestamp;
use policy::names::TenantName;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Checkpointer;
use super::command::{Ask, Command, Numbered, Record, Settlement, StoreId, Unreadable, Verdict};
use super::dedupe;
use super::known::Known;
use super::operate::Change;
use super::replay::{Revival, Revived};
use super::row::{Read, heads, next_of, oldest, spooled};
use super::writer::{Wakes, Writer};
use super::{Spool, SpoolError};
use crate::event::claim::{Key, event_key};
use crate::event::counters::add;
use crate::event::outcomes::EventOutcome;
use crate::event::{AcceptError, Accepted, Counters, Entry, IN_SHARD};

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
    /// The shard's name, when it has one: another shard's store is refused.
    pub name: Option<Arc<str>>,
    /// A broker stands before this spool: what it did not take is drained to it, the rest is attempted from here.
    pub beside_broker: bool,
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
            name: None,
            beside_broker: false,
        }
    }
}

/// A running shard.
pub struct Shard {
    commands: mpsc::Sender<Command>,
    writer: JoinHandle<()>,
    checkpointer: Checkpointer,
    counters: Arc<Counters>,
    wakes: Arc<Wakes>,
    known: Arc<Known>,
    store: StoreId,
    settings: Settings,
}

impl Shard {
    /// Opens the spool and starts its threads.
    ///
    /// # Errors
    /// [`SpoolError`]
    pub fn open(settings: Settings) -> Result<Self, SpoolError> {
        let spool = Spool::open(&settings.directory, settings.max_bytes)?;
        if let Some(name) = &settings.name {
            spool.is_of(&settings.directory, name)?;
        }
        let store = spool.id;
        let counters = Arc::new(Counters::default());
        let (wakes, known) = (Arc::new(Wakes::default()), Arc::new(Known::default()));
        let bounds = (settings.max_bytes / 2, settings.max_ids_per_tenant);
        let writer =
            Writer::load(spool, counters.clone(), (wakes.clone(), known.clone()), bounds, settings.beside_broker)?;
        let checkpointer = Checkpointer::start(&settings.directory)?;
        let (commands, queued) = mpsc::channel(settings.queued_posts);
        let writer = std::thread::Builder::new()
            .name("spool-writer".into())
            .spawn(move || writer.run(queued))
            .map_err(|cause| SpoolError::File { path: settings.directory.clone(), cause })?;
        Ok(Self { commands, writer, checkpointer, counters, wakes, known, store, settings })
    }

    /// Makes all entries of one POST durable, or none, in their order; numbers them.
    ///
    /// # Errors
    /// [`AcceptError`]; none of the entries counts then.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<Vec<Accepted>, AcceptError> {
        if let Some(repeats) = self.repeats(&entries) {
            return Ok(repeats);
        }
        self.accepted(|reply| Command::Append { entries, reply }).await
    }

    /// The answer to a POST whose entries are all known to be durable.
    fn repeats(&self, entries: &[Entry]) -> Option<Vec<Accepted>> {
        let id = |entry: &Entry| {
            let (new, refused) = entry.parts();
            event_key(&new.event, refused.is_some())
        };
        let ids: Vec<Key> = entries.iter().map(id).collect();
        let numbers = self.known.all(&ids, dedupe::hour(Timestamp::now().as_millisecond()))?;
        add(&self.counters.duplicates, numbers.len() as u64);
        Some(numbers.into_iter().map(|sequence| Accepted { sequence, duplicate: true }).collect())
    }

    /// Keeps events that have their numbers, all or none.
    ///
    /// # Errors
    /// [`AcceptError`]; none of them counts then.
    pub async fn keep(&self, events: Vec<Numbered>) -> Result<Vec<Accepted>, AcceptError> {
        self.accepted(|reply| Command::Keep { events, reply }).await
    }

    async fn accepted(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Vec<Accepted>, AcceptError>>) -> Command,
    ) -> Result<Vec<Accepted>, AcceptError> {
        match tokio::time::timeout(self.settings.patience, self.ask(command)).await {
            Ok(Some(result)) => result,
            Ok(None) | Err(_) => Err(AcceptError::NotDurable { cause: None }),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Whether an event of the broker's may be attempted, as far as this shard knows; none when it cannot say.
    pub async fn consult(&self, ask: Ask) -> Option<Verdict> {
        self.ask(|reply| Command::Consult { ask: Box::new(ask), reply }).await?
    }

    /// How many bytes of each of these tenants are here, dead letters included.
    #[must_use]
    pub fn depths(&self, tenants: &[TenantName]) -> Vec<u64> {
        tenants.iter().map(|tenant| self.counters.depth_of(tenant).bytes).collect()
    }

    /// Records what became of an event of the broker's; true when that is durable.
    pub async fn record(&self, record: Record) -> bool {
        self.ask(|reply| Command::Record { record: Box::new(record), reply }).await.unwrap_or(false)
    }

    /// Sets a message of the broker's aside that is no event; true when that is durable.
    pub async fn bury(&self, unreadable: Unreadable) -> bool {
        self.ask(|reply| Command::Bury { unreadable, reply }).await.unwrap_or(false)
    }

    /// Writes outcomes to the outcome log; those are lost that find the writer too busy.
    pub fn log_outcomes(&self, outcomes: Vec<EventOutcome>) {
        log_outcomes(&self.commands, &self.counters, outcomes);
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

    /// Which store it has.
    #[must_use]
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// The spool's directory, for [`super::operate`].
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.settings.directory
    }

    /// Revives dead letters, all of them in one transaction; what became of each.
    ///
    /// # Errors
    /// [`SpoolError::Failed`], [`SpoolError::Stopped`]
    pub async fn revive(&self, revivals: Vec<Revival>) -> Result<Vec<Revived>, SpoolError> {
        self.ask(|reply| Command::Revive { revivals, reply }).await.unwrap_or(Err(SpoolError::Stopped))
    }

    /// Drops or skips, beside the traffic; says how many.
    ///
    /// # Errors
    /// [`SpoolError::Failed`], [`SpoolError::Stopped`]
    pub async fn change(&self, change: Change) -> Result<u64, SpoolError> {
        self.ask(|reply| Command::Change { change, reply }).await.unwrap_or(Err(SpoolError::Stopped))
    }

    /// What is owed, for the one that delivers it.
    ///
    /// # Errors
    /// [`SpoolError::Store`]
    pub fn queue(&self) -> Result<Queue, SpoolError> {
        let reader = super::open_reader(&self.settings.directory)?;
        let (commands, wakes, counters) = (self.commands.clone(), self.wakes.clone(), self.counters.clone());
        Ok(Queue { reader, commands, wakes, counters })
    }

    /// Finishes what is queued and closes the file. Blocks.
    pub fn shutdown(self) {
        // A writer that is gone has nothing left to finish.
        let _ = self.commands.blocking_send(Command::Stop);
        let _ = self.writer.join();
        self.checkpointer.stop();
    }
}

fn log_outcomes(commands: &mpsc::Sender<Command>, counters: &Counters, outcomes: Vec<EventOutcome>) {
    let count = outcomes.len();
    if count > 0 && commands.try_send(Command::Outcomes(outcomes)).is_err() {
        counters.outcomes.lose(count);
    }
}

/// What is owed: in order per conversation, nothing gone before it is settled.
pub struct Queue {
    reader: Connection,
    commands: mpsc::Sender<Command>,
    wakes: Arc<Wakes>,
    counters: Arc<Counters>,
}

impl Queue {
    /// Returns the counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

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

    /// Waits until something is to be drained to the broker.
    pub async fn spooled(&self) {
        self.wakes.spooled.notified().await;
    }

    /// What waits for the broker, oldest first, after a row (0 for the beginning).
    ///
    /// # Errors
    /// [`SpoolError::Store`]
    pub fn next_spooled(&self, after_row: i64, most: usize) -> Result<Vec<Read>, SpoolError> {
        Ok(spooled(&self.reader, after_row, most)?)
    }

    /// These rows are in the broker now; true when that is durable.
    pub async fn drained(&self, rows: Vec<i64>) -> bool {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Drained { rows, reply }).await.is_ok() && answer.await.unwrap_or(false)
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

    /// Writes what has been recorded in this process to the outcome log.
    pub fn log_outcomes(&self) {
        log_outcomes(&self.commands, &self.counters, self.counters.outcomes.take());
    }

    /// Shows when the oldest pending event was accepted. A store that cannot be read shows what it showed before.
    pub fn show_oldest(&self) {
        if let Ok(since_ms) = oldest(&self.reader) {
            self.counters.set_oldest(IN_SHARD, since_ms);
        }
    }

    /// Lets retention and bounds act when no traffic carries them.
    pub async fn tidy(&self) {
        let _ = self.commands.send(Command::Tidy).await;
    }
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "beside_tests.rs"]
mod beside_tests;
