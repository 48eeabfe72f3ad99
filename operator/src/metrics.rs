//! What the operator counts, for `/metrics`.

use policy::error::chain;
pub use prometheus::Error;
use prometheus::{Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

/// Seconds that a change takes from being seen to being published.
const SETTLE_BUCKETS: [f64; 8] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 2.0];
/// Seconds until a dataplane has answered; one that has just come has all tenants to read.
const ACK_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];

/// All of it; each part is shared by whoever counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// 1 while this replica publishes.
    pub publishes: IntGauge,
    /// Dataplanes that follow this replica.
    pub dataplanes: IntGauge,
    /// Sub-snapshots of tenants that were published.
    pub published: IntCounter,
    /// How long what was seen took to be compiled and published.
    pub settle: Histogram,
    /// How long a dataplane took to answer for a tenant, from when it was to be sent.
    pub acks: Histogram,
    /// Statuses, by what became of the write.
    pub statuses: IntCounterVec,
}

impl Metrics {
    /// Nothing is counted yet.
    ///
    /// # Errors
    /// When two have one name, which a test excludes.
    pub fn new() -> Result<Self, Error> {
        let settle =
            HistogramOpts::new("postern_operator_settle_seconds", "From a change that was seen to its publishing")
                .buckets(SETTLE_BUCKETS.to_vec());
        let acks = HistogramOpts::new(
            "postern_operator_ack_seconds",
            "From a tenant that a dataplane is to be sent to the dataplane's answer",
        )
        .buckets(ACK_BUCKETS.to_vec());
        let metrics = Self {
            registry: Registry::new(),
            publishes: IntGauge::new("postern_operator_publishes", "1 while this replica publishes")?,
            dataplanes: IntGauge::new("postern_operator_dataplanes", "Dataplanes that follow this replica")?,
            published: IntCounter::new(
                "postern_operator_published_total",
                "Sub-snapshots of tenants that were published",
            )?,
            settle: Histogram::with_opts(settle)?,
            acks: Histogram::with_opts(acks)?,
            statuses: IntCounterVec::new(
                Opts::new("postern_operator_status_writes_total", "Writes of statuses, by what became of them"),
                &["outcome"],
            )?,
        };
        let all: [Box<dyn prometheus::core::Collector>; 6] = [
            Box::new(metrics.publishes.clone()),
            Box::new(metrics.dataplanes.clone()),
            Box::new(metrics.published.clone()),
            Box::new(metrics.settle.clone()),
            Box::new(metrics.acks.clone()),
            Box::new(metrics.statuses.clone()),
        ];
        for one in all {
            metrics.registry.register(one)?;
        }
        Ok(metrics)
    }

    /// Shows what somebody else counts, too.
    ///
    /// # Errors
    /// When two have one name, which is a defect.
    pub fn show(&self, counted: Box<dyn prometheus::core::Collector>) -> Result<(), Error> {
        self.registry.register(counted)
    }

    /// A status was written, or not.
    pub fn wrote(&self, well: bool) {
        self.statuses.with_label_values(&[if well { "written" } else { "failed" }]).inc();
    }

    /// The text that Prometheus reads.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        match TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            Ok(()) => String::from_utf8(text).unwrap_or_default(),
            Err(error) => {
                tracing::error!(error = chain(&error), "metrics cannot be written");
                String::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_shown_under_its_own_name() {
        let metrics = Metrics::new().unwrap();
        metrics.wrote(true);
        metrics.settle.observe(0.002);
        let text = metrics.text();
        let counts = ["published_total 0", "settle_seconds_count 1", "ack_seconds_count 0"];
        for name in ["publishes 0", "dataplanes 0"].iter().chain(&counts) {
            assert!(text.contains(&format!("postern_operator_{name}")), "{name}: {text}");
        }
        assert!(text.contains("postern_operator_status_writes_total{outcome=\"written\"} 1"), "{text}");
    }
}
