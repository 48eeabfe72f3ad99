//! What is owed goes out: in order per conversation, one in flight each, side by side across conversations.
//!
//! A conversation that fails waits in the store with its attempts and due time, and holds up nobody else.
//! Nothing is taken off before its settlement is durable, so a crash repeats at most the event that each
//! conversation had in flight, under the same id and number.

mod attempt;
mod beside;
mod dead;
mod lag;
mod memory;
mod partitions;
mod pauses;
mod ready;
mod signature;
mod turn;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use policy::error::chain;
use policy::names::{ObjectRef, TenantName};
use policy::ordering::RetrySchedule;
use policy::secret::Secret;
use policy::upstream::AddressGuard;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Key;
use super::counters::add;
use super::outcomes::{EventOutcome, OutcomeKind};
use super::spool::{Pending, Queue, Read, Settlement};
use crate::health::Health;
use crate::upstream::{Upstream, UpstreamCore};
use attempt::{NotNow, Tried};
pub use beside::Beside;
pub use partitions::{PartitionDeliver, PartitionSettings};
use pauses::{Bounds, Rests};
use ready::Ready;

/// Attempts in flight at once.
const MAX_IN_FLIGHT: usize = 512;
/// Attempts of one tenant in flight at once, so that none holds the whole window.
const MAX_PER_TENANT: usize = 32;
/// How soon an event is looked at again whose destination is not configured now: at first, and at most.
const NO_DESTINATION: Bounds = (Duration::from_secs(5), Duration::from_secs(60));
/// How soon a conversation is looked at again when the store could not be read, or took no settlement: an attempt that
/// was made is then made again.
const UNRECORDED: Bounds = (Duration::from_secs(1), Duration::from_secs(60));
/// How often retention and bounds act without traffic.
const TIDY: Duration = Duration::from_secs(15);
/// How often outcomes are written to the outcome log.
const LOG_OUTCOMES: Duration = Duration::from_secs(1);

/// Where a source's events go, and how.
#[derive(Debug)]
pub struct Destination {
    /// The upstream.
    pub upstream: Arc<Upstream>,
    /// The value of `Host`.
    pub host: http::HeaderValue,
    /// The path there.
    pub path: Arc<str>,
    /// For one attempt.
    pub timeout: Duration,
    /// When it is tried again.
    pub schedule: RetrySchedule,
    /// What deliveries are signed with.
    pub sign_with: Vec<Secret>,
    /// For how long a dead letter is kept.
    pub retention: Duration,
    /// For how long a missing predecessor is waited for.
    pub wait_for_gap: Duration,
}

/// What is configured now.
pub trait Destinations: Send + Sync + 'static {
    /// The destination of a source, if it is configured.
    fn get(&self, tenant: &TenantName, source: &ObjectRef) -> Option<Arc<Destination>>;
}

/// The thread that delivers.
#[derive(Debug)]
pub struct Deliver {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Deliver {
    /// Starts it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        queue: Queue,
        destinations: Arc<dyn Destinations>,
        guard: AddressGuard,
        beside: Option<Beside>,
        health: Arc<Health>,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let run = move || {
            let over = stopped.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
            match runtime {
                Ok(runtime) => runtime.block_on(deliver(Parts { queue, destinations, guard, beside }, stopped)),
                Err(error) => tracing::error!(error = chain(&error), "deliver could not start"),
            }
            if !*over.borrow() {
                health.ended("deliver");
            }
        };
        let thread = std::thread::Builder::new().name("deliver".to_owned()).spawn(run)?;
        Ok(Self { stop, thread })
    }

    /// Starts no more attempts and finishes those in flight. Blocks, for one attempt's timeout at most.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

/// What a deliver is made of.
struct Parts {
    queue: Queue,
    destinations: Arc<dyn Destinations>,
    guard: AddressGuard,
    beside: Option<Beside>,
}

/// What the attempts share.
struct Shared {
    queue: Queue,
    destinations: Arc<dyn Destinations>,
    core: UpstreamCore,
    beside: Option<Beside>,
    /// The row of each conversation that is held back without an attempt; it is counted as parked once.
    held_back: RefCell<HashMap<Key, i64>>,
}

impl Shared {
    /// An event is held back although no attempt failed.
    fn held_back(&self, key: &Key, pending: &Pending, reason: &'static str) {
        if self.held_back.borrow_mut().insert(*key, pending.row) != Some(pending.row) {
            let counters = self.queue.counters();
            add(&counters.parked, 1);
            let outcome = EventOutcome::of(&pending.envelope.event, OutcomeKind::Parked, now_ms());
            counters.outcomes.record(outcome.because(reason).after(pending.attempts, None));
        }
    }
}

/// What becomes of a conversation after one look at it.
enum After {
    /// Nothing is owed.
    Done,
    /// There may be more.
    Again,
    /// Not before this pause is over.
    Later(Duration),
    /// It cannot go on by itself; it rests longer each time.
    Rests(Bounds),
}

impl After {
    fn then(self, ready: &mut Ready, rests: &mut Rests, key: Key, tenant: TenantName) {
        let mut later = |pause| ready.later(key, tenant.clone(), tokio::time::Instant::now() + pause);
        match self {
            Self::Rests(bounds) => return later(rests.again(key, bounds)),
            Self::Later(pause) => later(pause),
            Self::Done => ready.done(&key, &tenant),
            Self::Again => ready.again(key, tenant),
        }
        rests.over(&key);
    }
}

/// The conversations that are owed something; none when the store cannot be read.
fn owed(queue: &Queue) -> Option<Ready> {
    let heads = queue.heads();
    let heads = heads.inspect_err(|error| tracing::error!(error = chain(error), "what is owed could not be read"));
    let mut ready = Ready::new(MAX_PER_TENANT);
    for (key, tenant) in heads.ok()? {
        if let Ok(tenant) = TenantName::parse(&tenant) {
            ready.add(key, tenant);
        }
    }
    Some(ready)
}

async fn deliver(parts: Parts, mut stopped: watch::Receiver<bool>) {
    let Parts { queue, destinations, guard, beside } = parts;
    let seed = now_ms().unsigned_abs();
    let shared = Rc::new(Shared {
        queue,
        destinations,
        core: UpstreamCore::new(guard, seed),
        beside,
        held_back: RefCell::default(),
    });
    let Some(mut ready) = owed(&shared.queue) else { return };
    let (mut running, mut rests) = (JoinSet::<(Key, TenantName, After)>::new(), Rests::default());
    let mut tidy = tokio::time::interval(TIDY);
    let mut logs = tokio::time::interval(LOG_OUTCOMES);
    let draining = shared.clone();
    let mut drain = tokio::task::spawn_local(async move { beside::drain(&draining).await });
    loop {
        while running.len() < MAX_IN_FLIGHT
            && let Some((key, tenant)) = ready.take()
        {
            let shared = shared.clone();
            running.spawn_local(async move {
                let after = look(&shared, &key).await;
                (key, tenant, after)
            });
        }
        tokio::select! {
            woken = shared.queue.woken() => woken.into_iter().for_each(|(key, tenant)| ready.add(key, tenant)),
            Some(ended) = running.join_next() => match ended {
                Ok((key, tenant, after)) => {
                    if matches!(after, After::Done | After::Again) {
                        shared.held_back.borrow_mut().remove(&key);
                    }
                    after.then(&mut ready, &mut rests, key, tenant);
                }
                // A panic in an attempt is a defect; what it held is owed still, and readiness says so.
                Err(_) => return,
            },
            () = ready.due() => {}
            // It runs for ever; whatever ended it, nothing would reach the broker any more.
            _ = &mut drain => return,
            _ = tidy.tick() => {
                shared.queue.tidy().await;
                shared.core.sweep(tokio::time::Instant::now());
            }
            _ = logs.tick() => {
                shared.queue.log_outcomes();
                shared.queue.show_oldest();
            }
            _ = stopped.wait_for(|stop| *stop) => break,
        }
    }
    drain.abort();
    while running.join_next().await.is_some() {}
    shared.queue.log_outcomes();
}

/// Looks at the oldest event of a conversation, and attempts it if it is due.
async fn look(shared: &Shared, key: &Key) -> After {
    let mut pending = match shared.queue.next(key) {
        Ok(None) => return After::Done,
        Ok(Some(Read::Whole(pending))) => pending,
        Ok(Some(Read::Damaged(row))) => {
            tracing::error!(row, "an event is damaged and set aside; `postern events ls --state damaged` lists it");
            return settled(shared, shared.queue.settle(row, Settlement::Damaged).await);
        }
        Err(error) => {
            tracing::error!(error = chain(&error), "what is owed could not be read");
            return After::Rests(UNRECORDED);
        }
    };
    if pending.in_broker {
        // Whoever settles the copy in the broker wakes this conversation.
        return After::Done;
    }
    let wait = pending.due_ms - now_ms();
    if wait > 0 {
        return After::Later(Duration::from_millis(wait.unsigned_abs()));
    }
    if let Some(beside) = &shared.beside
        && !beside.may_go(key, &mut pending).await
    {
        return After::Later(beside::HOLD);
    }
    let event = &pending.envelope.event;
    let Some(destination) = shared.destinations.get(&event.tenant, &event.source) else {
        add(&shared.queue.counters().no_destination, 1);
        shared.held_back(key, &pending, "no_destination");
        return After::Rests(NO_DESTINATION);
    };
    attempted(shared, key, &pending, &destination).await
}

async fn attempted(shared: &Shared, key: &Key, pending: &Pending, destination: &Destination) -> After {
    match attempt::attempt(&shared.core, pending, destination).await {
        Ok(tried) => {
            let outcome = tried.outcome(&pending.envelope.event);
            let Tried { settlement, pause, .. } = tried;
            let over = matches!(settlement, Settlement::Delivered | Settlement::Dead { .. });
            let durable = shared.queue.settle(pending.row, settlement).await;
            if let Some(beside) = shared.beside.as_ref().filter(|_| over && durable) {
                beside.done(key, &pending.envelope);
            }
            if durable {
                shared.queue.counters().outcomes.record(outcome);
            }
            let after = settled(shared, durable);
            match (after, pause) {
                (After::Again, Some(pause)) => After::Later(pause),
                (after, _) => after,
            }
        }
        // The breaker rests: no attempt was made, and none is counted.
        Err(NotNow(pause)) => {
            shared.held_back(key, pending, "breaker_open");
            After::Later(pause)
        }
    }
}

fn settled(shared: &Shared, durable: bool) -> After {
    if durable {
        return After::Again;
    }
    add(&shared.queue.counters().unrecorded, 1);
    After::Rests(UNRECORDED)
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
