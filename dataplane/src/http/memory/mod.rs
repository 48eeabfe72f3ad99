//! The budget of the process for bytes of request bodies, from the first byte until a body is durable or forwarded.
//!
//! [`Shares`] decides; this module holds it behind a lock that only requests with a body take, wakes the bodies that
//! wait for room, and counts. A [`Charge`] gives its bytes back when it is dropped.

mod shares;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hashbrown::HashMap;
use policy::names::TenantName;
use prometheus::{IntCounter, IntGauge};

use super::address::network;
pub use shares::Sender;
use shares::{Owner, Shares};

/// Bodies up to this are charged whole at their first byte.
pub const CHARGED_WHOLE: u64 = 64 * 1024;

#[derive(Debug)]
struct State {
    shares: Shares,
    /// The age of the next body.
    next: u64,
    /// Bodies that wait for room to grow.
    waiting: HashMap<u64, Waker, foldhash::fast::RandomState>,
}

/// The bytes of request bodies that the process holds.
#[derive(Debug)]
pub struct BodyMemory {
    state: Mutex<State>,
    held: IntGauge,
    refused: IntCounter,
}

/// The owner of a body, before its first byte.
#[derive(Clone, Debug)]
pub struct Account {
    /// The budget.
    pub memory: Arc<BodyMemory>,
    /// The tenant of the request.
    pub tenant: TenantName,
    /// The caller's address.
    pub address: IpAddr,
    /// True when the caller is known.
    pub sender: Sender,
}

/// The bytes of one body; given back when this is dropped.
#[derive(Debug)]
pub struct Charge {
    memory: Arc<BodyMemory>,
    owner: Owner,
    sender: Sender,
    body: u64,
    bytes: u64,
}

/// There is no room for a new body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gateway holds as many bytes of request bodies as it may")]
pub struct NoRoom {
    /// When the caller should come again: 1 to 8 seconds, not the same for all.
    pub retry_after: Duration,
}

impl BodyMemory {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(limit: u64, held: IntGauge, refused: IntCounter) -> Self {
        let state = State { shares: Shares::new(limit), next: 0, waiting: HashMap::default() };
        Self { state: Mutex::new(state), held, refused }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a change that may have made room: counts, and wakes whoever waits.
    fn changed(&self, mut state: MutexGuard<'_, State>) {
        self.held.set(i64::try_from(state.shares.used()).unwrap_or(i64::MAX));
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().for_each(Waker::wake);
    }
}

impl Account {
    /// Takes the first bytes of a body.
    ///
    /// # Errors
    /// [`NoRoom`]
    pub fn begin(&self, bytes: u64) -> Result<Charge, NoRoom> {
        let owner = Owner { tenant: self.tenant.clone(), network: network(self.address) };
        let mut state = self.memory.lock();
        let body = state.next;
        state.next += 1;

        if !state.shares.begin(&owner, self.sender, body, bytes) {
            self.memory.refused.inc();
            // The multiplier spreads neighbours over all eight values.
            let pause = 1 + (body.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 61);
            return Err(NoRoom { retry_after: Duration::from_secs(pause) });
        }
        self.memory.held.set(i64::try_from(state.shares.used()).unwrap_or(i64::MAX));
        drop(state);
        Ok(Charge { memory: self.memory.clone(), owner, sender: self.sender, body, bytes })
    }
}

impl Charge {
    /// Takes more bytes; waits while there is no room.
    pub fn poll_grow(&mut self, cx: &mut Context<'_>, bytes: u64) -> Poll<()> {
        let mut state = self.memory.lock();
        if state.shares.grow(&self.owner, self.sender, self.body, bytes) {
            state.waiting.remove(&self.body);
            self.bytes += bytes;
            self.memory.held.set(i64::try_from(state.shares.used()).unwrap_or(i64::MAX));
            return Poll::Ready(());
        }
        state.waiting.insert(self.body, cx.waker().clone());
        Poll::Pending
    }

    /// Takes more bytes if there is room now.
    #[must_use]
    pub fn grow(&mut self, bytes: u64) -> bool {
        let mut state = self.memory.lock();
        let grown = state.shares.grow(&self.owner, self.sender, self.body, bytes);
        if grown {
            self.bytes += bytes;
            self.memory.held.set(i64::try_from(state.shares.used()).unwrap_or(i64::MAX));
        }
        grown
    }

    /// The body is complete.
    pub fn complete(&mut self) {
        let mut state = self.memory.lock();
        state.shares.complete(&self.owner, self.body);
        self.memory.changed(state);
    }

    /// The sender of the body is known now.
    pub fn authenticated(&mut self) {
        if self.sender == Sender::Unauthenticated {
            self.sender = Sender::Authenticated;
            let mut state = self.memory.lock();
            state.shares.authenticate(&self.owner, self.body, self.bytes);
            self.memory.changed(state);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let mut state = self.memory.lock();
        state.shares.end(&self.owner, self.sender, self.body, self.bytes);
        state.waiting.remove(&self.body);
        self.memory.changed(state);
    }
}
