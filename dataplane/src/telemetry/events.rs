//! The event path's counts as Prometheus metrics: read when they are asked for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use crate::event::{Counters, Events};

/// Collects from the counters that the event path keeps.
pub struct EventCollector {
    counters: Arc<Counters>,
    // Not held: who ends the event path has to be its last owner.
    path: Weak<Events>,
    up: IntGaugeVec,
    events: IntCounterVec,
    rows: IntGaugeVec,
    bytes: IntGaugeVec,
}

impl EventCollector {
    /// A collector over an event path.
    ///
    /// # Errors
    /// When a metric cannot be declared, which is a defect.
    pub fn new(path: &Arc<Events>) -> prometheus::Result<Self> {
        let up = Opts::new("postern_dependency_up", "1 while the event path is connected to it");
        let events = Opts::new("postern_events_total", "Events by what became of them");
        let rows = Opts::new("postern_spool_events", "Events in the store, dead letters included");
        let bytes = Opts::new("postern_spool_bytes", "Bytes of events in the store, dead letters included");
        Ok(Self {
            counters: path.counters.clone(),
            path: Arc::downgrade(path),
            up: IntGaugeVec::new(up, &["dependency"])?,
            events: IntCounterVec::new(events, &["outcome"])?,
            rows: IntGaugeVec::new(rows, &["tenant"])?,
            bytes: IntGaugeVec::new(bytes, &["tenant"])?,
        })
    }

    fn totals(&self) -> [(&'static str, &AtomicU64); 26] {
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

impl Collector for EventCollector {
    fn desc(&self) -> Vec<&Desc> {
        [self.up.desc(), self.events.desc(), self.rows.desc(), self.bytes.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (outcome, total) in self.totals() {
            let shown = self.events.with_label_values(&[outcome]);
            shown.inc_by(total.load(Ordering::Relaxed).saturating_sub(shown.get()));
        }
        for (dependency, up) in self.path.upgrade().map(|path| path.dependencies()).unwrap_or_default() {
            self.up.with_label_values(&[dependency]).set(i64::from(up));
        }
        self.rows.reset();
        self.bytes.reset();
        for (tenant, depth) in self.counters.depth() {
            self.rows.with_label_values(&[tenant.as_str()]).set(signed(depth.rows));
            self.bytes.with_label_values(&[tenant.as_str()]).set(signed(depth.bytes));
        }
        [self.up.collect(), self.events.collect(), self.rows.collect(), self.bytes.collect()].concat()
    }
}
