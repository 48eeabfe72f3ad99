//! Events from the broker go out: in order per conversation, one in flight each.
//!
//! An event stays unacknowledged for one attempt. What cannot go now is parked with a shard, durably, and
//! then acknowledged; from there the shard attempts it. A lost connection to the broker cancels the attempts
//! on its events: somebody else has them now.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use policy::error::chain;
use policy::names::TenantName;
use policy::upstream::AddressGuard;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::attempt::{self, NotNow, Tried};
use super::dead;
use super::lag::{self, Lags};
use super::memory::Memory;
use super::pauses;
use super::ready::Ready;
use super::turn::{MAX_LOOKS, Turn, turn};
use super::{Destination, Destinations, MAX_IN_FLIGHT, MAX_PER_TENANT, NO_DESTINATION, TIDY, UNRECORDED, now_ms};
use crate::event::broker::{Delivered, Publisher, Tenure};
use crate::event::claim::{Claims, Conversation, conversation_key, event_key};
use crate::event::counters::add;
use crate::event::die::{self, Point};
use crate::event::outcomes::{EventOutcome, OutcomeKind};
use crate::event::shards::Shards;
use crate::event::spool::{LastAttempt, Mark, Pending, Place, Record, Settlement, StoreId};
use crate::event::{Counters, Envelope, HELD, Key};
use crate::health::Health;
use crate::upstream::UpstreamCore;

/// The header fields of a drained copy.
pub(super) const SHARD_HEADER: &str = "x-postern-shard";
pub(super) const ROW_HEADER: &str = "x-postern-row";
pub(super) const STORE_HEADER: &str = "x-postern-store";
/// How soon an event is looked at again when no shard answers.
const HOLD: Duration = Duration::from_secs(1);
/// How often the oldest held event and the lags are shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// For how long a missing predecessor is waited for when no source says.
const WAIT_FOR_GAP: Duration = Duration::from_secs(5);
/// Events of one tenant that are held unacknowledged; more are parked rather than attempted while its attempts take
/// all that it may have in flight.
const MAX_HELD_PER_TENANT: usize = 96;
/// How often an attempt on a drained copy is made whose shard answers, and records nothing: some 20 seconds.
const MAX_UNRECORDED: u32 = 5;

/// What delivering from the broker needs.
pub struct PartitionSettings {
    /// What is configured now.
    pub destinations: Arc<dyn Destinations>,
    /// Where what cannot go now is parked.
    pub shards: Shards,
    /// Records of conversations; none without Redis.
    pub claims: Option<Claims>,
    /// Which addresses tenants may name.
    pub guard: AddressGuard,
    /// Returns the counters.
    pub counters: Arc<Counters>,
    /// Told when it ends by itself.
    pub health: Arc<Health>,
    /// For ticks.
    pub publisher: Arc<Publisher>,
    /// The partitions that prefer this worker now.
    pub preferred: Box<dyn Fn() -> BTreeSet<u16> + Send>,
}

/// An event that the broker waits for.
pub(super) struct Held {
    pub(super) delivered: Delivered,
    pub(super) envelope: Envelope,
    pub(super) conversation: Key,
    pub(super) partition: u16,
    pub(super) mark: Option<Mark>,
    /// How often it was looked at, and had to be held.
    pub(super) looks: u32,
    /// How often it was attempted, and no shard could record that.
    pub(super) unrecorded: u32,
    /// Its place among all that were taken from the broker.
    pub(super) taken: u64,
}

/// What the attempts share.
pub(super) struct Shared {
    pub(super) destinations: Arc<dyn Destinations>,
    pub(super) shards: Shards,
    pub(super) claims: Option<Claims>,
    core: UpstreamCore,
    pub(super) counters: Arc<Counters>,
    pub(super) memory: RefCell<Memory>,
    lines: RefCell<HashMap<Key, VecDeque<Held>>>,
    held: RefCell<HashMap<TenantName, usize>>,
    attempting: RefCell<HashMap<TenantName, usize>>,
    /// Since when each partition is ours without a break.
    tenures: RefCell<HashMap<u16, Tenure>>,
    pub(super) lags: RefCell<Lags>,
    /// Since when each event is held that the broker waits for, by its place.
    held_since: RefCell<BTreeMap<u64, i64>>,
    taken: Cell<u64>,
}

/// The thread that delivers what the broker holds.
#[derive(Debug)]
pub struct PartitionDeliver {
    stop: watch::Sender<bool>,
    expected: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl PartitionDeliver {
    /// Starts it on what a consumer hands over: events, and what the broker gave up; what goes on beside it ends with
    /// it.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        settings: PartitionSettings,
        deliveries: (mpsc::Receiver<Delivered>, mpsc::Receiver<Delivered>),
        beside: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (health, expected) = (settings.health.clone(), Arc::new(AtomicBool::new(false)));
        let ends = Arc::clone(&expected);
        let run = move || {
            let over = stopped.clone();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
            match runtime {
                Ok(runtime) => runtime.block_on(async {
                    let beside = tokio::task::spawn_local(beside);
                    deliver(settings, deliveries, stopped).await;
                    beside.abort();
                }),
                Err(error) => tracing::error!(error = chain(&error), "deliver could not start"),
            }
            if !*over.borrow() && !ends.load(Ordering::Relaxed) {
                health.ended("deliver from the broker");
            }
        };
        let thread = std::thread::Builder::new().name("deliver-broker".to_owned()).spawn(run)?;
        Ok(Self { stop, expected, thread })
    }

    /// It may end from now on: its consumer, without which there is nothing to deliver, is about to be stopped.
    pub fn may_end(&self) {
        self.expected.store(true, Ordering::Relaxed);
    }

    /// Starts no more attempts and finishes those in flight. Blocks, for one attempt's timeout at most.
    pub fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.join();
    }
}

/// What becomes of a conversation after one step.
enum After {
    Next,
    Later(Duration),
}

/// Returns the state that attempts share, and the task that sends ticks.
fn shared(settings: PartitionSettings) -> (Rc<Shared>, tokio::task::JoinHandle<()>) {
    let PartitionSettings { destinations, shards, claims, guard, counters, health: _, publisher, preferred } = settings;
    let shared = Rc::new(Shared {
        destinations,
        shards,
        claims,
        core: UpstreamCore::new(guard, now_ms().unsigned_abs()),
        counters,
        memory: RefCell::new(Memory::new()),
        lines: RefCell::default(),
        held: RefCell::default(),
        attempting: RefCell::default(),
        tenures: RefCell::default(),
        lags: RefCell::default(),
        held_since: RefCell::default(),
        taken: Cell::default(),
    });

    let ticking = shared.clone();
    let ticking = tokio::task::spawn_local(async move {
        loop {
            tokio::time::sleep(lag::TICK_EVERY).await;
            lag::publish(ticking.clone(), &publisher, preferred().into_iter().collect()).await;
        }
    });
    (shared, ticking)
}

async fn deliver(
    settings: PartitionSettings,
    (mut deliveries, given_up): (mpsc::Receiver<Delivered>, mpsc::Receiver<Delivered>),
    mut stopped: watch::Receiver<bool>,
) {
    let (shared, ticking) = shared(settings);
    let mut ready = Ready::new(MAX_PER_TENANT);
    let mut running: JoinSet<(Key, TenantName, After)> = JoinSet::new();
    let mut tidy = tokio::time::interval(TIDY);
    let mut shows = tokio::time::interval(SHOW_EVERY);
    let burying = shared.clone();
    let burying = tokio::task::spawn_local(async move { dead::bury_all(&burying, given_up).await });
    loop {
        while running.len() < MAX_IN_FLIGHT
            && let Some((key, tenant)) = ready.take()
        {
            let shared = shared.clone();
            running.spawn_local(async move {
                let after = step(&shared, &key).await;
                (key, tenant, after)
            });
        }
        tokio::select! {
            delivered = deliveries.recv() => match delivered {
                Some(delivered) => if let Some((key, tenant)) = shared.hold(delivered).await {
                    ready.add(key, tenant);
                },
                None => break,
            },
            Some(ended) = running.join_next() => match ended {
                Ok((key, tenant, After::Next)) if shared.waits(&key) => ready.again(key, tenant),
                Ok((key, tenant, After::Next)) => ready.done(&key, &tenant),
                Ok((key, tenant, After::Later(pause))) => ready.later(key, tenant, tokio::time::Instant::now() + pause),
                // A panic in an attempt is a defect; what it held is unacknowledged still.
                Err(_) => return,
            },
            () = ready.due() => {}
            _ = tidy.tick() => shared.core.sweep(tokio::time::Instant::now()),
            _ = shows.tick() => {
                shared.show_lags();
                shared.counters.set_oldest(HELD, shared.held_since.borrow().values().next().copied());
            }
            _ = stopped.wait_for(|stop| *stop) => break,
        }
    }
    // What is not a dead letter of a shard yet stays the broker's.
    burying.abort();
    ticking.abort();
    while running.join_next().await.is_some() {}
}

impl Shared {
    /// Takes an event into the line of its conversation.
    async fn hold(&self, delivered: Delivered) -> Option<(Key, TenantName)> {
        if let Some(sent_ms) = lag::tick(&delivered) {
            self.tenured(&delivered);
            self.ticked(delivered.partition, sent_ms);
            delivered.ack();
            return None;
        }
        let envelope = match Envelope::from_json(&delivered.body) {
            Ok(mut envelope) => {
                envelope.redelivered |= delivered.redelivered;
                envelope
            }
            Err(error) => {
                // Not ours, or damaged: it goes to the queue for what nobody can deliver, and is said.
                tracing::error!(error = chain(&error), "a message is no event");
                add(&self.counters.damaged, 1);
                delivered.reject();
                return None;
            }
        };
        let event = &envelope.event;
        let (tenant, partition) = (event.tenant.clone(), delivered.partition);
        let conversation = conversation_key(&event.tenant, &event.source, &event.conversation);
        let mark = mark(&delivered);
        self.tenured(&delivered);
        let taken = self.taken.get().wrapping_add(1);
        self.taken.set(taken);
        self.held_since.borrow_mut().insert(taken, now_ms());
        *self.held.borrow_mut().entry(tenant.clone()).or_default() += 1;
        let held = Held { delivered, envelope, conversation, partition, mark, looks: 0, unrecorded: 0, taken };
        self.lines.borrow_mut().entry(conversation).or_default().push_back(held);
        Some((conversation, tenant))
    }

    /// A message of a partition has come: the partition is this worker's.
    fn tenured(&self, delivered: &Delivered) {
        let before = self.tenures.borrow_mut().insert(delivered.partition, delivered.tenure());
        if before.is_some_and(|before| before.is_over()) {
            self.memory.borrow_mut().doubt_all();
        }
    }

    /// Returns whether a partition has been this worker's since its last message.
    pub(super) fn consumes(&self, partition: u16) -> bool {
        self.tenures.borrow().get(&partition).is_some_and(|tenure| !tenure.is_over())
    }

    fn waits(&self, key: &Key) -> bool {
        self.lines.borrow().contains_key(key)
    }

    fn take(&self, key: &Key) -> Option<Held> {
        let mut lines = self.lines.borrow_mut();
        let line = lines.get_mut(key)?;
        let held = line.pop_front();
        if line.is_empty() {
            lines.remove(key);
        }
        held
    }

    fn put_back(&self, held: Held) {
        self.lines.borrow_mut().entry(held.conversation).or_default().push_front(held);
    }

    /// The broker may forget it.
    fn release(&self, held: Held) {
        self.forget(&held);
        held.delivered.ack();
    }

    fn forget(&self, held: &Held) {
        self.held_since.borrow_mut().remove(&held.taken);
        one_less(&self.held, &held.envelope.event.tenant);
    }

    /// Whether a tenant's destination is so slow that what is held for it would crowd out others.
    fn over_share(&self, tenant: &TenantName) -> bool {
        let count = |of: &RefCell<HashMap<TenantName, usize>>| of.borrow().get(tenant).copied().unwrap_or_default();
        count(&self.held) > MAX_HELD_PER_TENANT && count(&self.attempting) + 1 >= MAX_PER_TENANT
    }

    /// Tells the shard that a drained copy came from that its event is delivered.
    pub(super) async fn settle_mark(&self, held: &Held) -> bool {
        match &held.mark {
            None => true,
            Some(_) => self.record(held, settled(held.envelope.clone(), Settlement::Delivered), None).await,
        }
    }

    /// Makes a settlement durable: with the shard that a drained copy came from, else with the one that is named,
    /// else with the first that can.
    pub(super) async fn record(&self, held: &Held, record: Record, shard: Option<&str>) -> bool {
        if matches!(record.settlement, Settlement::Parked { .. }) {
            self.memory.borrow_mut().set_clear(held.conversation, false);
        }
        let own = held.mark.as_ref().and_then(|mark| Some((self.shards.named(&mark.shard)?, mark.place)));
        if let Some((shard, place)) = own {
            if shard.record(Record { row: Some(place), ..record }).await {
                return true;
            }
            // It owes the event still. It was asked a moment ago, so it is told again soon; when it stays away it has
            // the event drained again, which takes minutes.
            let left_to_it = held.looks >= MAX_LOOKS || held.unrecorded >= MAX_UNRECORDED;
            if left_to_it {
                tracing::warn!(shard = &*shard.name, "a shard does not answer; what came from it comes again");
            }
            return left_to_it;
        }
        if let Some(shard) = shard.and_then(|name| self.shards.named(name)) {
            return shard.record(record).await;
        }
        for shard in self.shards.for_partition(held.partition) {
            if shard.record(record.clone()).await {
                return true;
            }
        }
        false
    }

    pub(super) fn done(&self, held: &Held) {
        if held.envelope.degraded {
            // Its number is nobody's memo: it says nothing of those that are.
            return;
        }
        let tenant = held.envelope.event.tenant.clone();
        self.memory.borrow_mut().set_done(held.conversation, held.envelope.sequence);
        if let Some(claims) = &self.claims {
            claims.delivered(Conversation { tenant, key: held.conversation }, held.envelope.sequence);
        }
    }
}

fn one_less(counts: &RefCell<HashMap<TenantName, usize>>, tenant: &TenantName) {
    let mut counts = counts.borrow_mut();
    if let Some(count) = counts.get_mut(tenant) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(tenant);
        }
    }
}

/// An attempt of a tenant, while it lasts.
struct Attempting<'s>(&'s Shared, TenantName);

impl<'s> Attempting<'s> {
    fn begin(shared: &'s Shared, tenant: &TenantName) -> Self {
        *shared.attempting.borrow_mut().entry(tenant.clone()).or_default() += 1;
        Self(shared, tenant.clone())
    }
}

impl Drop for Attempting<'_> {
    fn drop(&mut self) {
        one_less(&self.0.attempting, &self.1);
    }
}

pub(super) fn settled(envelope: Envelope, settlement: Settlement) -> Record {
    Record { envelope, row: None, settlement, unsure: false }
}

pub(super) fn mark(delivered: &Delivered) -> Option<Mark> {
    let shard = delivered.headers.get(SHARD_HEADER)?;
    let row = delivered.headers.get(ROW_HEADER)?.parse().ok()?;
    let store = delivered.headers.get(STORE_HEADER).and_then(|text| StoreId::parse(text));
    Some(Mark { shard: shard.as_str().into(), place: Place { store, row } })
}

/// One look at the oldest event of a conversation that is held here.
async fn step(shared: &Shared, key: &Key) -> After {
    let Some(held) = shared.take(key) else { return After::Next };
    let lost = held.delivered.cancelled();
    tokio::pin!(lost);
    let work = async { work(shared, &held).await };
    let next = tokio::select! {
        biased;
        () = &mut lost => None,
        next = work => Some(next),
    };
    die::at(Point::Recorded);
    match next {
        Some(Next::Release) => shared.release(held),
        Some(Next::Hold) => {
            shared.put_back(Held { looks: held.looks.saturating_add(1), ..held });
            return After::Later(HOLD);
        }
        Some(Next::Unrecorded) => {
            add(&shared.counters.unrecorded, 1);
            let pause = pauses::pause(UNRECORDED, held.unrecorded);
            shared.put_back(Held { unrecorded: held.unrecorded.saturating_add(1), ..held });
            return After::Later(pause);
        }
        // Another deliver has it, or will.
        None => shared.forget(&held),
    }
    After::Next
}

/// What is done with an event after its step.
enum Next {
    Release,
    /// It is looked at again soon: nothing has happened yet.
    Hold,
    /// An attempt was made that no shard could record: it is made again, less and less often.
    Unrecorded,
}

async fn work(shared: &Shared, held: &Held) -> Next {
    let event = &held.envelope.event;
    let sequence = held.envelope.sequence;
    if shared.memory.borrow().was_delivered(&event_key(event, false), sequence) {
        add(&shared.counters.repeats, 1);
        shared.done(held);
        return if shared.settle_mark(held).await { Next::Release } else { Next::Hold };
    }
    let destination = shared.destinations.get(&event.tenant, &event.source);
    let wait_for_gap = destination.as_ref().map_or(WAIT_FOR_GAP, |destination| destination.wait_for_gap);
    match turn(shared, held, wait_for_gap).await {
        Turn::Elsewhere => Next::Release,
        Turn::Hold => Next::Hold,
        Turn::AwaitGap { wait } => {
            let parking = Parking::new("gap", "the event before it is not here yet", wait);
            park(shared, held, Parking { gap: true, ..parking }).await
        }
        Turn::Behind { shard, unsure } => {
            let parking = Parking::new("older_elsewhere", "something older of its conversation waits", Duration::ZERO);
            park(shared, held, Parking { unsure, shard: Some(shard), ..parking }).await
        }
        Turn::Go { .. } if shared.over_share(&event.tenant) => {
            let parking = Parking::new("over_share", "its tenant has its share of what is held", Duration::ZERO);
            park(shared, held, parking).await
        }
        Turn::Go { gap } => match destination {
            Some(destination) => attempt(shared, held, &destination, gap).await,
            None => {
                let parking = Parking::new("no_destination", "its source has no destination now", NO_DESTINATION.0);
                park(shared, held, Parking { gap, ..parking }).await
            }
        },
    }
}

/// Why and for how long an event is parked that was not attempted.
struct Parking {
    /// The word for counts.
    reason: &'static str,
    why: &'static str,
    pause: Duration,
    gap: bool,
    unsure: bool,
    /// Where; with whom the partition prefers when it does not matter.
    shard: Option<Arc<str>>,
}

impl Parking {
    fn new(reason: &'static str, why: &'static str, pause: Duration) -> Self {
        Self { reason, why, pause, gap: false, unsure: false, shard: None }
    }
}

async fn park(shared: &Shared, held: &Held, parking: Parking) -> Next {
    let Parking { reason, why, pause, gap, unsure, shard } = parking;
    let last = LastAttempt { attempts: 0, status: None, answer: format!("not attempted: {why}") };
    let due_ms = now_ms().saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
    let settlement = Settlement::Parked { last, due_ms };
    let envelope = Envelope { gap, ..held.envelope.clone() };
    let record = Record { envelope, row: None, settlement, unsure };
    if !shared.record(held, record, shard.as_deref()).await {
        return Next::Hold;
    }
    let outcome = EventOutcome::of(&held.envelope.event, OutcomeKind::Parked, now_ms());
    shared.counters.outcomes.record(outcome.because(reason));
    Next::Release
}

async fn attempt(shared: &Shared, held: &Held, destination: &Destination, gap: bool) -> Next {
    let sequence = held.envelope.sequence;
    let late = shared.memory.borrow().done(&held.conversation).is_some_and(|done| done > sequence);
    add(&shared.counters.gaps, u64::from(gap));
    add(&shared.counters.late, u64::from(late));
    let envelope = Envelope { gap, late, ..held.envelope.clone() };
    let pending = Pending { row: 0, attempts: 0, due_ms: 0, in_broker: false, unsure: false, envelope };
    let attempting = Attempting::begin(shared, &held.envelope.event.tenant);
    let tried = attempt::attempt(&shared.core, &pending, destination).await;
    drop(attempting);
    let tried = match tried {
        Ok(tried) => tried,
        Err(NotNow(pause)) => {
            return park(shared, held, Parking::new("breaker_open", "its destination rests", pause)).await;
        }
    };
    let outcome = tried.outcome(&held.envelope.event);
    let Tried { settlement: tried, .. } = tried;
    let delivered = matches!(tried, Settlement::Delivered);
    let dead = matches!(tried, Settlement::Dead { .. });
    if delivered {
        // From here on a repeat is known, whatever the shard says.
        shared.memory.borrow_mut().set_delivered(event_key(&held.envelope.event, false), sequence);
    }
    let durable = if delivered {
        shared.settle_mark(held).await
    } else {
        shared.record(held, settled(pending.envelope, tried), None).await
    };
    if delivered || (dead && durable) {
        shared.done(held);
    }
    if delivered && held.mark.is_none() {
        add(&shared.counters.delivered, 1);
    }
    if delivered || durable {
        shared.counters.outcomes.record(outcome);
    }
    if durable { Next::Release } else { Next::Unrecorded }
}
