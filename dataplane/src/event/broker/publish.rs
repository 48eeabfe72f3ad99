//! The publisher: a handle for every core, and the thread that holds the connection.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use policy::error::chain;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use super::connection::{self, Pauses, Problem};
use super::message::{NotPublished, Outgoing};
use super::settings::{MAX_MESSAGE_BYTES, places};
use super::window::Window;
use super::{Address, BrokerError, BrokerSettings, State, topology};

/// For declaring everything: a new quorum queue takes some tens of milliseconds.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(60);
/// One batch takes at most this part of the window, so that a big one does not wait for all of it.
const BATCH_PART: u32 = 4;

/// What became of messages, since start.
#[derive(Debug, Default)]
pub struct PublisherCounters {
    /// Confirmed.
    pub confirmed: AtomicU64,
    /// Refused by the broker.
    pub nacked: AtomicU64,
    /// Without a queue.
    pub returned: AtomicU64,
    /// Sent, and not confirmed in time, or the connection ended or was blocked before.
    pub unknown: AtomicU64,
    /// Not sent.
    pub not_sent: AtomicU64,
    /// Connections made.
    pub connections: AtomicU64,
}

pub(super) type Answers = Vec<Result<(), NotPublished>>;

/// Part of a batch, with its room in the window.
pub(super) struct Job {
    pub(super) messages: Vec<Outgoing>,
    pub(super) room: OwnedSemaphorePermit,
    pub(super) answer: oneshot::Sender<Answers>,
}

impl Job {
    pub(super) fn refuse(self, why: NotPublished) {
        let _ = self.answer.send(vec![Err(why); self.messages.len()]);
    }
}

/// What the handle and the thread share.
pub(super) struct Shared {
    pub(super) state: watch::Sender<State>,
    pub(super) counters: PublisherCounters,
    problem: Problem,
    room: Arc<Semaphore>,
}

/// Makes events durable. To be shared by all cores in an `Arc`; the last one ends the thread, which first
/// answers what is under way.
pub struct Publisher {
    jobs: Option<mpsc::UnboundedSender<Job>>,
    shared: Arc<Shared>,
    partitions: NonZeroU16,
    part_places: u32,
    room_timeout: Duration,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Starts it. The broker need not be there.
    ///
    /// # Errors
    /// When the settings cannot work, or the thread cannot be started.
    pub fn start(settings: BrokerSettings) -> Result<Self, BrokerError> {
        settings.check()?;
        let (jobs, taken) = mpsc::unbounded_channel();
        let room = usize::try_from(settings.in_flight.get()).unwrap_or(Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            state: watch::Sender::new(State::Away),
            counters: PublisherCounters::default(),
            problem: Problem::default(),
            room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
        });
        let (partitions, room_timeout) = (settings.partitions, settings.confirm_timeout);
        let part_places = (settings.in_flight.get() / BATCH_PART).max(1);
        let for_thread = shared.clone();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
            match runtime {
                Ok(runtime) => runtime.block_on(supervise(&settings, &for_thread, taken)),
                Err(error) => tracing::error!(error = chain(&error), "publish could not start"),
            }
        };
        let thread = std::thread::Builder::new().name("publish".to_owned()).spawn(run).map_err(BrokerError::Thread)?;
        Ok(Self { jobs: Some(jobs), shared, partitions, part_places, room_timeout, thread: Some(thread) })
    }

    /// Publishes a batch and says of each message what became of it, when that is known.
    ///
    /// Messages of one partition are sent in the order of the batch, and none is sent after one that could
    /// not be; batches that are published one after the other keep their order too. One that the broker
    /// refused may be followed in its queue by a later one that it took. A batch whose future is dropped
    /// is published all the same.
    pub async fn publish(&self, batch: Vec<Outgoing>) -> Answers {
        let mut answers = vec![Err(NotPublished::Away); batch.len()];
        let mut closed = BTreeMap::new();
        let mut part = Part::default();
        for (index, message) in batch.into_iter().enumerate() {
            let takes = places(message.body.len());
            if part.places.saturating_add(takes) > self.part_places && !part.messages.is_empty() {
                self.send(std::mem::take(&mut part), &mut answers, &mut closed).await;
            }
            let why = closed.get(&message.partition).copied().or_else(|| self.refusal(&message));
            let Some(why) = why else {
                part.push(index, message, takes);
                continue;
            };
            closed.insert(message.partition, why);
            put(&mut answers, index, Err(why));
        }
        if !part.messages.is_empty() {
            self.send(part, &mut answers, &mut closed).await;
        }
        let not_sent = |answer: &&Result<(), NotPublished>| match answer {
            Ok(()) => false,
            Err(NotPublished::Nacked | NotPublished::Returned) => false,
            Err(why) => !why.may_be_there(),
        };
        let not_sent = answers.iter().filter(not_sent).count();
        self.shared.counters.not_sent.fetch_add(u64::try_from(not_sent).unwrap_or_default(), Ordering::Relaxed);
        answers
    }

    fn refusal(&self, message: &Outgoing) -> Option<NotPublished> {
        if message.partition >= self.partitions.get() {
            return Some(NotPublished::NoPartition);
        }
        (message.body.len() > MAX_MESSAGE_BYTES).then_some(NotPublished::TooLarge)
    }

    async fn send(&self, part: Part, answers: &mut Answers, closed: &mut BTreeMap<u16, NotPublished>) {
        let Part { indexes, messages, places } = part;
        let partitions: Vec<u16> = messages.iter().map(|message| message.partition).collect();
        let given = match (self.room(places).await, &self.jobs) {
            (Ok(room), Some(jobs)) => {
                let (answer, answered) = oneshot::channel();
                // When the thread is gone the job is dropped, unsent.
                match jobs.send(Job { messages, room, answer }) {
                    Ok(()) => answered.await.unwrap_or_else(|_| vec![Err(NotPublished::Unknown); partitions.len()]),
                    Err(_) => vec![Err(NotPublished::Away); partitions.len()],
                }
            }
            (Ok(_), None) => vec![Err(NotPublished::Away); partitions.len()],
            (Err(why), _) => vec![Err(why); partitions.len()],
        };
        for ((index, partition), answer) in indexes.into_iter().zip(partitions).zip(given) {
            if let Err(why) = answer {
                closed.entry(partition).or_insert(why);
            }
            put(answers, index, answer);
        }
    }

    /// Waits for room in the window, but not for a broker that is away or blocked.
    async fn room(&self, places: u32) -> Result<OwnedSemaphorePermit, NotPublished> {
        let mut state = self.shared.state.subscribe();
        let why_not = |state: State| match state {
            State::Connected => None,
            State::Blocked => Some(NotPublished::Blocked),
            State::Away => Some(NotPublished::Away),
        };
        if let Some(why) = why_not(*state.borrow_and_update()) {
            return Err(why);
        }
        let room = tokio::time::timeout(self.room_timeout, self.shared.room.clone().acquire_many_owned(places));
        tokio::select! {
            biased;
            room = room => room.map_err(|_| NotPublished::Full)?.map_err(|_| NotPublished::Away),
            changed = state.wait_for(|state| why_not(*state).is_some()) => {
                Err(changed.ok().and_then(|state| why_not(*state)).unwrap_or(NotPublished::Away))
            }
        }
    }

    /// What the connection is good for now.
    #[must_use]
    pub fn state(&self) -> State {
        *self.shared.state.borrow()
    }

    /// The same, and its changes.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
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

    /// What became of messages.
    #[must_use]
    pub fn counters(&self) -> &PublisherCounters {
        &self.shared.counters
    }

    /// Answers what is under way and ends the connection. Blocks, for the timeout of a confirm at most.
    pub fn stop(mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// What goes into one job.
#[derive(Default)]
struct Part {
    indexes: Vec<usize>,
    messages: Vec<Outgoing>,
    places: u32,
}

impl Part {
    fn push(&mut self, index: usize, message: Outgoing, places: u32) {
        self.indexes.push(index);
        self.messages.push(message);
        self.places = self.places.saturating_add(places);
    }
}

fn put(answers: &mut Answers, index: usize, answer: Result<(), NotPublished>) {
    if let Some(place) = answers.get_mut(index) {
        *place = answer;
    }
}

/// Connects, publishes until that fails, and again, until every handle is gone.
async fn supervise(settings: &BrokerSettings, shared: &Shared, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut pauses = Pauses::new();
    for node in connection::nodes(settings) {
        let ended = match meanwhile(&mut jobs, begin(settings, node, shared)).await {
            None => return,
            Some(Err(error)) => Err(error),
            Some(Ok((mut link, mut window))) => {
                pauses.succeeded();
                let ended = window.run(&mut link, &mut jobs).await;
                shared.state.send_replace(State::Away);
                let _ = meanwhile(&mut jobs, link.end()).await;
                ended
            }
        };
        match ended {
            Ok(()) => return,
            Err(error) => shared.problem.is(&error, "publish"),
        }
        if meanwhile(&mut jobs, tokio::time::sleep(pauses.next())).await.is_none() {
            return;
        }
    }
}

/// Does this, and says no to whoever asks meanwhile. Nothing when every handle is gone.
async fn meanwhile<T>(jobs: &mut mpsc::UnboundedReceiver<Job>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            job = jobs.recv() => job?.refuse(NotPublished::Away),
        }
    }
}

async fn begin<'a>(
    settings: &'a BrokerSettings,
    node: &Address,
    shared: &'a Shared,
) -> Result<(connection::Link, Window<'a>), BrokerError> {
    let link = connection::connect(settings, node, "publish").await?;
    let ready = async {
        topology::declare(&link.connection, settings).await?;
        Window::open(&link.connection, settings, shared).await
    };
    let slow = BrokerError::Slow { what: "declare the queues", seconds: DECLARE_TIMEOUT.as_secs() };
    let window = tokio::time::timeout(DECLARE_TIMEOUT, ready).await.map_err(|_| slow)??;
    shared.counters.connections.fetch_add(1, Ordering::Relaxed);
    Ok((link, window))
}

impl Shared {
    /// The connection is proven.
    pub(super) fn ready(&self) {
        self.problem.solved();
        self.state.send_replace(State::Connected);
    }
}
