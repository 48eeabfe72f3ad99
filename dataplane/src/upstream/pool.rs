//! One core's connections to endpoints, and what it knows of them.
//!
//! Nothing is shared between tenants: an endpoint that two tenants name is two here. All of it survives a
//! swap of the snapshot.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use hashbrown::HashMap;
use policy::names::TenantName;
use policy::upstream::AddressGuard;
use tokio::time::Instant;

use super::http1::connection::Connection;

/// Idle connections of one tenant to one endpoint, on one core.
pub const MAX_IDLE_PER_ENDPOINT: usize = 64;
/// Idle connections of one core.
pub const MAX_IDLE: usize = 1024;
/// An idle connection is not used again after this; below what common servers wait (60 s and more).
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often what expired is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Read and write buffers that wait for their next exchange.
const MAX_SPARE_BUFFERS: usize = 64;
/// The first rest of an endpoint that refused a connection; doubled with each further one ...
const FIRST_REST: Duration = Duration::from_millis(500);
/// ... this many times at most.
const MAX_DOUBLINGS: u32 = 5;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EndpointKey {
    tenant: TenantName,
    address: SocketAddr,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

#[derive(Default)]
struct Shared {
    idle: Cell<usize>,
    spare: RefCell<Vec<(BytesMut, BytesMut)>>,
}

/// What a core knows of one endpoint of one tenant.
pub(crate) struct Slot {
    idle: RefCell<Vec<Idle>>,
    in_flight: Cell<u32>,
    connect_failures: Cell<u32>,
    rests_until: Cell<Option<Instant>>,
    shared: Rc<Shared>,
}

impl Slot {
    /// The most recently used connection that is still good.
    pub(crate) fn take(&self, now: Instant) -> Option<Connection> {
        loop {
            let Idle { mut connection, since } = self.idle.borrow_mut().pop()?;
            self.shared.idle.set(self.shared.idle.get().saturating_sub(1));
            if now.saturating_duration_since(since) < IDLE_TIMEOUT && connection.is_quiet() {
                if let Some((read, write)) = self.shared.spare.borrow_mut().pop() {
                    (connection.read, connection.write) = (read, write);
                }
                return Some(connection);
            }
        }
    }

    fn put(&self, mut connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= MAX_IDLE_PER_ENDPOINT || self.shared.idle.get() >= MAX_IDLE || !connection.is_quiet() {
            return;
        }
        let buffers = connection.settle();
        let mut spare = self.shared.spare.borrow_mut();
        if spare.len() < MAX_SPARE_BUFFERS {
            spare.push(buffers);
        }
        self.shared.idle.set(self.shared.idle.get() + 1);
        idle.push(Idle { connection, since: Instant::now() });
    }

    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    pub(crate) fn rests(&self, now: Instant) -> bool {
        self.rests_until.get().is_some_and(|until| now < until)
    }

    pub(crate) fn connected(&self) {
        self.connect_failures.set(0);
        self.rests_until.set(None);
    }

    /// It refused a connection: while there are others, they are asked for a while.
    pub(crate) fn connect_failed(&self, now: Instant) {
        let failures = self.connect_failures.get();
        self.connect_failures.set(failures.saturating_add(1));
        self.rests_until.set(Some(now + FIRST_REST * (1 << failures.min(MAX_DOUBLINGS))));
    }

    fn sweep(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        idle.retain(|one| now.saturating_duration_since(one.since) < IDLE_TIMEOUT);
        self.shared.idle.set(self.shared.idle.get().saturating_sub(before - idle.len()));
    }

    fn is_forgettable(&self, now: Instant) -> bool {
        self.idle.borrow().is_empty() && self.in_flight.get() == 0 && !self.rests(now)
    }
}

/// Counts an exchange with an endpoint for as long as it lives.
pub(crate) struct InFlight(Rc<Slot>);

impl InFlight {
    pub(crate) fn new(slot: Rc<Slot>) -> Self {
        slot.in_flight.set(slot.in_flight.get() + 1);
        Self(slot)
    }

    /// The exchange is over and its connection may carry another.
    pub(crate) fn give_back(self, connection: Connection) {
        self.0.put(connection);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get().saturating_sub(1));
    }
}

/// The upstream side of one core. Lives as long as the core.
pub struct UpstreamCore {
    slots: RefCell<HashMap<EndpointKey, Rc<Slot>, foldhash::fast::RandomState>>,
    shared: Rc<Shared>,
    guard: AddressGuard,
    swept: Cell<Instant>,
    random: Cell<u64>,
}

impl UpstreamCore {
    /// A core with no connection. The seed makes its choices differ from those of other cores.
    #[must_use]
    pub fn new(guard: AddressGuard, seed: u64) -> Self {
        Self {
            slots: RefCell::default(),
            shared: Rc::default(),
            guard,
            swept: Cell::new(Instant::now()),
            random: Cell::new(seed),
        }
    }

    /// Idle connections, for the metrics.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.shared.idle.get()
    }

    /// Closes what was idle for too long and forgets endpoints that nobody uses. Runs by itself with the
    /// traffic; a core without any calls it now and then.
    pub fn sweep(&self, now: Instant) {
        self.swept.set(now);
        self.slots.borrow_mut().retain(|_, slot| {
            slot.sweep(now);
            Rc::strong_count(slot) > 1 || !slot.is_forgettable(now)
        });
    }

    pub(crate) fn guard(&self) -> &AddressGuard {
        &self.guard
    }

    pub(crate) fn slot(&self, tenant: &TenantName, address: SocketAddr, now: Instant) -> Rc<Slot> {
        if now.saturating_duration_since(self.swept.get()) >= SWEEP_EVERY {
            self.sweep(now);
        }
        let key = EndpointKey { tenant: tenant.clone(), address };
        let mut slots = self.slots.borrow_mut();
        let slot = slots.entry(key).or_insert_with(|| {
            Rc::new(Slot {
                idle: RefCell::default(),
                in_flight: Cell::new(0),
                connect_failures: Cell::new(0),
                rests_until: Cell::new(None),
                shared: Rc::clone(&self.shared),
            })
        });
        Rc::clone(slot)
    }

    /// A number spread over all of `u64` (SplitMix64): for choices that nobody gains from guessing.
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
