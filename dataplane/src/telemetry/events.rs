//! The event path's counts as Prometheus metrics: read when they are asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use crate::event::claim::Claims;
use crate::event::outcomes::Counted;
use crate::event::shards::Shards;
use crate::event::spool::Shard;
use crate::event::spool::volume::{Volume, volume};
use crate::event::{Counters, Events};

/// Collects from the counters that the event path keeps.
pub struct EventCollector {
    counters: Arc<Counters>,
    // Not held: who ends the event path has to be its last owner.
    path: Weak<Events>,
    up: IntGaugeVec,
    events: IntCounterVec,
    outcomes: IntCounterVec,
    outcomes_lost: IntCounter,
    rows: IntGaugeVec,
    bytes: IntGaugeVec,
    claims: IntCounterVec,
    redis_round_trips: IntCounter,
    redis_bytes: IntCounterVec,
    shards: IntCounterVec,
    partitions: IntGauge,
    oldest: GaugeVec,
    lag: GaugeVec,
    store: IntGaugeVec,
    volume: IntGaugeVec,
}

impl EventCollector {
    /// A collector over an event path.
    ///
    /// # Errors
    /// When a metric cannot be declared, which is a defect.
    pub fn new(path: &Arc<Events>) -> prometheus::Result<Self> {
        let gauges = |name: &str, help: &str, label| IntGaugeVec::new(Opts::new(name, help), &[label]);
        let seconds = |name: &str, help: &str, label| GaugeVec::new(Opts::new(name, help), &[label]);
        let counters = |name: &str, help: &str, label| IntCounterVec::new(Opts::new(name, help), &[label]);
        Ok(Self {
            counters: path.counters.clone(),
            path: Arc::downgrade(path),
            up: gauges("postern_dependency_up", "1 while the event path is connected to it", "dependency")?,
            events: counters("postern_events_total", "Events by what became of them", "outcome")?,
            outcomes: IntCounterVec::new(
                Opts::new(
                    "postern_event_outcomes_total",
                    "Entries and attempts by what became of them, and why; 16 sources a tenant, then other",
                ),
                &["tenant", "source", "outcome", "reason"],
            )?,
            outcomes_lost: IntCounter::new(
                "postern_event_outcomes_lost_total",
                "Outcomes that postern events find does not show, because no outcome log took them",
            )?,
            rows: gauges("postern_spool_events", "Events in the store, dead letters included", "tenant")?,
            bytes: gauges("postern_spool_bytes", "Bytes of events in the store, dead letters included", "tenant")?,
            claims: counters("postern_claims_total", "Claims of event ids in Redis, by what Redis said", "outcome")?,
            redis_round_trips: IntCounter::new("postern_redis_round_trips_total", "Questions that Redis was asked")?,
            redis_bytes: counters("postern_redis_bytes_total", "Bytes of questions and answers", "direction")?,
            shards: counters("postern_shards_total", "What happened with shards and their certificates", "what")?,
            oldest: seconds(
                "postern_event_oldest_age_seconds",
                "Age of the oldest pending event: in the store of a shard, or held by a delivery worker",
                "place",
            )?,
            lag: seconds(
                "postern_partition_lag_seconds",
                "How long a message takes through a partition's queue, by a tick every 15 s",
                "partition",
            )?,
            store: gauges(
                "postern_store_bytes",
                "Bytes of the event store that are used, and that accepting may fill",
                "part",
            )?,
            volume: gauges(
                "postern_store_volume_bytes",
                "Size of the store's volume, and what is available on it",
                "part",
            )?,
            partitions: IntGauge::new(
                "postern_deliver_partitions",
                "Partitions that this deliver has among the delivers that it knows to live",
            )?,
        })
    }

    fn claims(&self, claims: &Claims) {
        let (counters, traffic) = (claims.counters(), claims.traffic());
        let outcomes = [
            ("new", &counters.new),
            ("taken_over", &counters.taken_over),
            ("duplicate", &counters.confirmed),
            ("disconnected", &counters.disconnected),
            ("late", &counters.late),
            ("refused", &counters.refused),
            ("refused_full", &traffic.full),
            ("records_dropped", &counters.records_dropped),
            ("ids_forgotten", &counters.ids_forgotten),
        ];
        outcomes.into_iter().for_each(|(outcome, total)| raise(&self.claims, outcome, total.load(Ordering::Relaxed)));
        let round_trips = traffic.round_trips.load(Ordering::Relaxed);
        self.redis_round_trips.inc_by(round_trips.saturating_sub(self.redis_round_trips.get()));
        raise(&self.redis_bytes, "sent", traffic.sent_bytes.load(Ordering::Relaxed));
        raise(&self.redis_bytes, "received", traffic.received_bytes.load(Ordering::Relaxed));
    }

    fn shards(&self, shards: &Shards) {
        raise(&self.shards, "store_replaced", shards.replaced());
        raise(&self.shards, "certificate_loaded", self.counters.certificates_loaded.load(Ordering::Relaxed));
        raise(&self.shards, "certificate_refused", self.counters.certificates_refused.load(Ordering::Relaxed));
    }

    fn outcomes(&self) {
        let outcomes = &self.counters.outcomes;
        for Counted { tenant, source, kind, reason, count } in outcomes.counted() {
            let shown = self.outcomes.with_label_values(&[&*tenant, &*source, kind.word(), &*reason]);
            shown.inc_by(count.saturating_sub(shown.get()));
        }
        self.outcomes_lost.inc_by(outcomes.lost().saturating_sub(self.outcomes_lost.get()));
    }

    /// How old what waits is.
    fn ages(&self) {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let seconds = |ms: i64| Duration::from_millis(ms.max(0).unsigned_abs()).as_secs_f64();
        for (place, since_ms) in self.counters.oldest() {
            let age = since_ms.map_or(0.0, |since_ms| seconds(now_ms.saturating_sub(since_ms)));
            self.oldest.with_label_values(&[place]).set(age);
        }
        self.lag.reset();
        for (partition, lag_ms) in self.counters.lags() {
            self.lag.with_label_values(&[&partition.to_string()]).set(seconds(lag_ms));
        }
    }

    /// How full the store and its volume are.
    fn fill(&self, shard: &Shard) {
        let counters = &self.counters;
        let parts = [("used", &counters.store_used), ("accepting", &counters.store_accepting)];
        for (part, bytes) in parts {
            self.store.with_label_values(&[part]).set(signed(bytes.load(Ordering::Relaxed)));
        }
        if let Some(Volume { size, available }) = volume(shard.directory()) {
            self.volume.with_label_values(&["size"]).set(signed(size));
            self.volume.with_label_values(&["available"]).set(signed(available));
        }
    }

    fn shown(&self) -> [&dyn Collector; 15] {
        let Self { outcomes, outcomes_lost, oldest, lag, store, volume, .. } = self;
        let Self { up, events, rows, bytes, claims, redis_round_trips, redis_bytes, shards, partitions, .. } = self;
        [
            up,
            events,
            outcomes,
            outcomes_lost,
            rows,
            bytes,
            claims,
            redis_round_trips,
            redis_bytes,
            shards,
            partitions,
            oldest,
            lag,
            store,
            volume,
        ]
    }

    fn totals(&self) -> [(&'static str, &AtomicU64); 27] {
        let counters = &*self.counters;
        [
            ("accepted", &counters.accepted),
            ("duplicate", &counters.duplicates),
            ("refused", &counters.refused),
            ("not_durable", &counters.not_durable),
            ("pending_full", &counters.pending_full),
            ("published", &counters.published),
            ("spooled", &counters.spooled),
            ("drained", &counters.drained),
            ("parked", &counters.parked),
            ("gap", &counters.gaps),
            ("late", &counters.late),
            ("repeat", &counters.repeats),
            ("degraded", &counters.degraded),
            ("delivered", &counters.delivered),
            ("retried", &counters.retried),
            ("dead_out_of_attempts", &counters.dead_attempts),
            ("dead_gone", &counters.dead_gone),
            ("dead_malformed", &counters.dead_malformed),
            ("dead_delivery_limit", &counters.dead_delivery_limit),
            ("dead_given_up", &counters.dead_given_up),
            ("unreadable", &counters.unreadable),
            ("skipped", &counters.skipped),
            ("no_destination", &counters.no_destination),
            ("unrecorded", &counters.unrecorded),
            ("dead_expired", &counters.dead_expired),
            ("damaged", &counters.damaged),
            ("commits", &counters.commits),
        ]
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Shows a total that is counted elsewhere.
fn raise(shown: &IntCounterVec, label: &str, total: u64) {
    let shown = shown.with_label_values(&[label]);
    shown.inc_by(total.saturating_sub(shown.get()));
}

impl Collector for EventCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.shown().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (outcome, total) in self.totals() {
            raise(&self.events, outcome, total.load(Ordering::Relaxed));
        }
        self.outcomes();
        self.ages();
        if let Some(path) = self.path.upgrade() {
            for (dependency, up) in path.dependencies() {
                self.up.with_label_values(&[dependency]).set(i64::from(up));
            }
            path.shard.iter().for_each(|shard| self.fill(shard));
            path.claims.iter().for_each(|claims| self.claims(claims));
            path.shards.iter().for_each(|shards| self.shards(shards));
            self.partitions.set(i64::try_from(path.partitions()).unwrap_or(i64::MAX));
        }
        self.rows.reset();
        self.bytes.reset();
        for (tenant, depth) in self.counters.depth() {
            self.rows.with_label_values(&[tenant.as_str()]).set(signed(depth.rows));
            self.bytes.with_label_values(&[tenant.as_str()]).set(signed(depth.bytes));
        }
        self.shown().into_iter().flat_map(Collector::collect).collect()
    }
}
