//! The consumer: the partitions that are ours, and what the broker gave up, each on a channel of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::{Connection, Event};
use policy::error::chain;
use tokio::sync::{mpsc, watch};

use super::connection::{self, Link, Pauses, Problem};
use super::lane::Lane;
use super::message::Delivered;
use super::{Address, BrokerError, BrokerSettings, State, topology};

const DECLARE_TIMEOUT: Duration = Duration::from_secs(60);

/// What the handle and the thread share.
#[derive(Default)]
struct Shared {
    state: watch::Sender<State>,
    problem: Problem,
}

/// Takes deliveries of a changing set of partitions and hands them to whoever holds the other end.
///
/// A partition that leaves the set gets no new deliveries; when what it has in flight is acknowledged its
/// channel is closed, and the next consumer of the partition begins. A connection that is lost cancels all
/// its deliveries; a new one is made for ever.
pub struct Consumer {
    stop: watch::Sender<bool>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Consumer {
    /// Starts it. The broker need not be there. What the broker gave up goes to whoever holds the last end, when
    /// somebody does.
    ///
    /// # Errors
    /// When the settings cannot work, or the thread cannot be started.
    pub fn start(
        settings: BrokerSettings,
        partitions: watch::Receiver<BTreeSet<u16>>,
        deliveries: mpsc::Sender<Delivered>,
        given_up: Option<mpsc::Sender<Delivered>>,
    ) -> Result<Self, BrokerError> {
        settings.check()?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared::default());
        let supervisor = Supervisor { settings, shared: shared.clone(), partitions, deliveries, given_up, stopped };
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
            match runtime {
                Ok(runtime) => runtime.block_on(supervisor.run()),
                Err(error) => tracing::error!(error = chain(&error), "consume could not start"),
            }
        };
        let thread = std::thread::Builder::new().name("consume".to_owned()).spawn(run).map_err(BrokerError::Thread)?;
        Ok(Self { stop, shared, thread: Some(thread) })
    }

    /// What the connection is good for now.
    #[must_use]
    pub fn state(&self) -> State {
        *self.shared.state.borrow()
    }

    /// Why it is away, for people.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.shared.problem.get()
    }

    /// Whether its thread runs. A broker that is away does not make it unhealthy.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Hands every partition over and ends the connection. Blocks until what is in flight is acknowledged,
    /// for the hand-over timeout at most.
    pub fn stop(mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Consumer").field("state", &self.state()).finish_non_exhaustive()
    }
}

struct Supervisor {
    settings: BrokerSettings,
    shared: Arc<Shared>,
    partitions: watch::Receiver<BTreeSet<u16>>,
    deliveries: mpsc::Sender<Delivered>,
    given_up: Option<mpsc::Sender<Delivered>>,
    // A handle that is dropped stops it too.
    stopped: watch::Receiver<bool>,
}

impl Supervisor {
    /// Connects, consumes until that fails, and again, until it is stopped.
    async fn run(mut self) {
        let mut pauses = Pauses::new();
        let settings = self.settings.clone();
        let mut stopped = self.stopped.clone();
        for node in connection::nodes(&settings) {
            let begun = tokio::select! {
                begun = begin(&settings, node) => begun,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            let ended = match begun {
                Err(error) => Err(error),
                Ok(mut link) => {
                    pauses.succeeded();
                    self.shared.problem.solved();
                    self.shared.state.send_replace(State::Connected);
                    let ended = self.consume(&mut link).await;
                    self.shared.state.send_replace(State::Away);
                    link.end().await;
                    ended
                }
            };
            match ended {
                Ok(()) => return,
                Err(error) => self.shared.problem.is(&error, "consume"),
            }
            tokio::select! {
                () = tokio::time::sleep(pauses.next()) => {}
                _ = stopped.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    /// Runs a lane a partition. Fine when it was stopped and every lane has handed over.
    async fn consume(&mut self, link: &mut Link) -> Result<(), BrokerError> {
        let Link { connection, events, cut } = link;
        let connection: &Connection = connection;
        let settings = self.settings.clone();
        // Dropped on the way out: what the lanes have in flight is cancelled.
        let mut lanes = FuturesUnordered::new();
        let mut leave: BTreeMap<Option<u16>, watch::Sender<bool>> = BTreeMap::new();
        let mut stopping = false;
        loop {
            let partitions = self.partitions.borrow_and_update().clone().into_iter();
            let partitions = partitions.filter(|partition| *partition < settings.partitions.get()).map(Some);
            let given_up = self.given_up.iter().map(|_| None);
            let wanted: BTreeSet<_> = partitions.chain(given_up).filter(|_| !stopping).collect();
            for (_, leave) in leave.iter().filter(|(partition, _)| !wanted.contains(partition)) {
                leave.send_replace(true);
            }
            for partition in wanted {
                // One that is still leaving begins anew when it has left.
                leave.entry(partition).or_insert_with(|| {
                    let (sender, leave) = watch::channel(false);
                    let given_up = self.given_up.as_ref().filter(|_| partition.is_none());
                    let deliveries = given_up.unwrap_or(&self.deliveries).clone();
                    lanes.push(Lane { connection, settings: &settings, partition, deliveries, leave }.run());
                    sender
                });
            }
            if stopping && lanes.is_empty() {
                return Ok(());
            }
            tokio::select! {
                told = events.next() => {
                    let error = match told {
                        // Of one channel, its lane knows; and that the connection is blocked is no matter, we
                        // publish nothing.
                        Some(_) if connection.status().connected() => continue,
                        Some(Event::Error(error)) => error.into(),
                        Some(_) | None => connection::closed(),
                    };
                    // Before the lanes are dropped, and lapin cancels their consumers.
                    cut.now();
                    return Err(error);
                }
                left = lanes.next(), if !lanes.is_empty() => {
                    if let Some(partition) = left {
                        leave.remove(&partition);
                    }
                }
                changed = self.partitions.changed(), if !stopping => stopping = changed.is_err(),
                _ = self.stopped.wait_for(|stopped| *stopped), if !stopping => stopping = true,
            }
        }
    }
}

async fn begin(settings: &BrokerSettings, node: &Address) -> Result<Link, BrokerError> {
    let link = connection::connect(settings, node, "consume").await?;
    let slow = BrokerError::Slow { what: "declare the queues", seconds: DECLARE_TIMEOUT.as_secs() };
    let declared = tokio::time::timeout(DECLARE_TIMEOUT, topology::declare(&link.connection, settings));
    declared.await.map_err(|_| slow)??;
    Ok(link)
}
