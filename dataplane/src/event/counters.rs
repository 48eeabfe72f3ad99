//! What the event path counts, for telemetry to read.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use policy::names::TenantName;

use super::outcomes::Outcomes;

/// What one tenant has in the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantDepth {
    /// Rows, dead ones included.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The bytes of requests to Routes among them.
    pub request_bytes: u64,
}

/// How the depth of a tenant changes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DepthChange {
    pub(super) rows: i64,
    pub(super) bytes: i64,
    pub(super) request_bytes: i64,
}

impl DepthChange {
    /// One row more, or less.
    pub(super) fn row(sign: i64, bytes: i64, is_request: bool) -> Self {
        Self { rows: sign, bytes: sign * bytes, request_bytes: if is_request { sign * bytes } else { 0 } }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.request_bytes += other.request_bytes;
    }
}

impl TenantDepth {
    pub(super) fn changed(self, change: DepthChange) -> Self {
        Self {
            rows: self.rows.saturating_add_signed(change.rows),
            bytes: self.bytes.saturating_add_signed(change.bytes),
            request_bytes: self.request_bytes.saturating_add_signed(change.request_bytes),
        }
    }
}

/// Totals since start, and the depth now.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events made durable.
    pub accepted: AtomicU64,
    /// Events that had been accepted before.
    pub duplicates: AtomicU64,
    /// Entries stored as dead letters at once.
    pub refused: AtomicU64,
    /// POSTs that could not be made durable.
    pub not_durable: AtomicU64,
    /// POSTs refused because a tenant's share is full.
    pub pending_full: AtomicU64,
    /// Events that the broker did not take, kept for it.
    pub spooled: AtomicU64,
    /// Events confirmed by the broker.
    pub published: AtomicU64,
    /// Kept events that the broker took later.
    pub drained: AtomicU64,
    /// Events kept to be attempted later although no attempt failed.
    pub parked: AtomicU64,
    /// Events attempted although the one before was not known to be delivered or dead.
    pub gaps: AtomicU64,
    /// Events attempted after a later one of their conversation.
    pub late: AtomicU64,
    /// Events of the broker's that were known to be delivered.
    pub repeats: AtomicU64,
    /// Events numbered without the shared claim.
    pub degraded: AtomicU64,
    /// Events delivered.
    pub delivered: AtomicU64,
    /// Attempts that will be repeated.
    pub retried: AtomicU64,
    /// Events dead after their last attempt.
    pub dead_attempts: AtomicU64,
    /// Events dead because the destination answered 410.
    pub dead_gone: AtomicU64,
    /// Events dead because they could not be written as CloudEvents.
    pub dead_malformed: AtomicU64,
    /// Events dead because the broker delivered them too often.
    pub dead_delivery_limit: AtomicU64,
    /// Events dead because the broker gave them up for another reason.
    pub dead_given_up: AtomicU64,
    /// Messages of the broker's that are no event, set aside.
    pub unreadable: AtomicU64,
    /// Conversations that were let go on past what they waited for.
    pub skipped: AtomicU64,
    /// Looks at events whose source has no destination now.
    pub no_destination: AtomicU64,
    /// Attempts whose outcome could not be recorded; they are made again.
    pub unrecorded: AtomicU64,
    /// Dead letters dropped at the end of their retention.
    pub dead_expired: AtomicU64,
    /// Rows set aside because their checksum did not fit.
    pub damaged: AtomicU64,
    /// Remembered ids dropped before their window ended, because a tenant had too many.
    pub ids_forgotten: AtomicU64,
    /// Transactions, each one fsync.
    pub commits: AtomicU64,
    /// Certificates for shards that were read again, and are in use.
    pub certificates_loaded: AtomicU64,
    /// The same that could not be used.
    pub certificates_refused: AtomicU64,
    /// Outcomes of entries and attempts.
    pub outcomes: Outcomes,
    /// Bytes of all events in the spool.
    weight: AtomicI64,
    /// Bytes of the store's file that are in use.
    pub store_used: AtomicU64,
    /// Up to how many accepting may fill it; 0 without a store.
    pub store_accepting: AtomicU64,
    depth: Mutex<BTreeMap<TenantName, TenantDepth>>,
    oldest: Mutex<BTreeMap<&'static str, Option<i64>>>,
    lags: Mutex<BTreeMap<u16, i64>>,
}

/// An event is in the store of a shard.
pub const IN_SHARD: &str = "shard";
/// An event is in the hands of a delivery worker, which has not acknowledged it to the broker.
pub const HELD: &str = "held";

pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

impl Counters {
    /// What each tenant has in the spool.
    #[must_use]
    pub fn depth(&self) -> BTreeMap<TenantName, TenantDepth> {
        self.lock().clone()
    }

    pub(super) fn depth_of(&self, tenant: &TenantName) -> TenantDepth {
        self.lock().get(tenant).copied().unwrap_or_default()
    }

    /// Bytes of all events in the spool.
    pub(super) fn weight(&self) -> u64 {
        self.weight.load(Ordering::Relaxed).max(0).unsigned_abs()
    }

    /// How many tenants have something in the spool.
    pub(super) fn tenants(&self) -> u64 {
        self.lock().len() as u64
    }

    pub(super) fn change_depth(&self, tenant: &TenantName, change: DepthChange) {
        let mut depth = self.lock();
        let now = depth.entry(tenant.clone()).or_default();
        *now = now.changed(change);
        self.weight.fetch_add(change.bytes, Ordering::Relaxed);
        if now.rows == 0 {
            depth.remove(tenant);
        }
    }

    /// Since when the oldest pending event of each place is there, in milliseconds since the epoch.
    #[must_use]
    pub fn oldest(&self) -> BTreeMap<&'static str, Option<i64>> {
        self.oldest.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(super) fn set_oldest(&self, place: &'static str, since_ms: Option<i64>) {
        self.oldest.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(place, since_ms);
    }

    /// The lag of each partition in milliseconds, as far as this process can say.
    #[must_use]
    pub fn lags(&self) -> BTreeMap<u16, i64> {
        self.lags.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    pub(super) fn set_lags(&self, lags: BTreeMap<u16, i64>) {
        *self.lags.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = lags;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TenantName, TenantDepth>> {
        self.depth.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
