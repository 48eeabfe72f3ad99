//! How many connections there may be, in all and from one address.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::HashMap;

use super::{ConnectionCounts, ListenerSettings};
use crate::http::address::network;

/// Counts what is open. Bounded by itself: an address is there only while it has connections.
#[derive(Debug)]
pub(super) struct Budget {
    max: usize,
    max_per_address: u32,
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, u32>>,
    counts: ConnectionCounts,
}

/// One connection's place; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    budget: Arc<Budget>,
    address: IpAddr,
}

impl Budget {
    pub(super) fn new(settings: &ListenerSettings, counts: ConnectionCounts) -> Self {
        Self {
            max: settings.max_connections,
            max_per_address: settings.max_connections_per_address,
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
            counts,
        }
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// A place for a connection, if there is one.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let address = network(peer);
        let mut by_address = self.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let here = by_address.get(&address).copied().unwrap_or_default();
        if self.open() >= self.max || here >= self.max_per_address {
            self.counts.refused.inc();
            return None;
        }
        by_address.insert(address, here + 1);
        self.open.fetch_add(1, Ordering::AcqRel);
        self.counts.accepted.inc();
        self.counts.open.inc();
        Some(Place { budget: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut by_address = self.budget.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                by_address.remove(&self.address);
            }
        }
        self.budget.open.fetch_sub(1, Ordering::AcqRel);
        self.budget.counts.open.dec();
    }
}
