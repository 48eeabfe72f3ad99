//! Prometheus metrics. Labels are bounded: tenants, upstreams and filters of the snapshot, and the words of
//! [`Reason`]; never a path, an address or a caller.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use policy::ip_allow::ProviderIr;
use policy::names::TenantName;
use policy::refusal::Reason;
use policy::stage::Filter;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::attempts::AttemptCounters;

/// Upper bounds of the duration histogram, in seconds. 2 s is the limit of `postern rollout`.
const DURATION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5, 5.0, 10.0, 30.0];
/// Upper bounds of what a change of the snapshot takes, in seconds; the first one has all tenants.
const APPLY_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0, 10.0];
/// The tenant label of requests that no tenant has.
const NO_TENANT: &str = "";

/// The reason label of what a policy does to every request.
const NO_REASON: &str = "";

/// What a request is to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// Forwarded to an upstream.
    Api,
    /// A webhook.
    Webhook,
}

impl Traffic {
    const ALL: [Self; 2] = [Self::Api, Self::Webhook];

    const fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Webhook => "webhook",
        }
    }
}

/// Every metric of a dataplane.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    refusals: IntCounterVec,
    would_refuse: IntCounterVec,
    duration: HistogramVec,
    would_act: IntCounterVec,
    /// Attempts to reach upstreams.
    pub upstream_attempts: AttemptCounters,
    /// Whether the breaker of an upstream is closed (0), half open (1) or open (2).
    pub breaker_state: IntGaugeVec,
    /// Connections that are open.
    pub connections_open: IntGauge,
    /// Connections that were accepted.
    pub connections_accepted: IntCounter,
    /// Connections that were closed because a budget was spent.
    pub connections_refused: IntCounter,
    /// Bytes of request bodies that are held.
    pub body_memory: IntGauge,
    /// Bodies that were refused because there was no room for them.
    pub body_memory_refused: IntCounter,
    /// WebSocket tunnels that are open.
    pub tunnels_open: IntGauge,
    /// WebSocket tunnels that ended, by how.
    pub tunnels_ended: IntCounterVec,
    /// Lines that the access log had to drop.
    pub access_log_dropped: IntCounter,
    /// Snapshots that were applied.
    pub snapshots_applied: IntCounter,
    /// How long a change of the snapshot took to be in force.
    pub snapshot_apply: Histogram,
    /// Files of the last good that the volume has not taken yet.
    pub last_good_unwritten: IntGauge,
    provider_ranges: IntGaugeVec,
    /// Objects, by state: `programmed`, `last_good`, `not_programmed`.
    pub objects: IntGaugeVec,
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn histogram(registry: &Registry, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
    let metric = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    let metric = IntCounter::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

const WOULD_REFUSE: &str = "Requests that a policy in mode Audit would have refused";
const WOULD_ACT: &str = "Requests on which a policy in mode Audit that refuses nothing would have acted";
const ATTEMPTS: &str =
    "Attempts to reach an upstream; outcome is the class of the answer's status, or the reason why there is none";
const REFUSED_BODIES: &str = "Request bodies refused because the process held as many bytes as it may";
const APPLY: &str = "From a change of the snapshot that came until it was in force";
const RANGES: &str =
    "The date of a provider's ranges in force, in seconds since the epoch; of several lists, the oldest";
const UNWRITTEN: &str = "Files of the last good that the volume has not taken yet";
fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    let metric = IntGauge::new(name, help)?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

impl Metrics {
    /// Declares every metric.
    ///
    /// # Errors
    /// When two metrics have one name.
    pub fn new() -> prometheus::Result<Self> {
        let r = Registry::new();
        let durations =
            HistogramOpts::new("postern_request_duration_seconds", "From a request's head to the end of its answer")
                .buckets(DURATION_BUCKETS.to_vec());
        let duration = HistogramVec::new(durations, &["tenant", "traffic"])?;
        r.register(Box::new(duration.clone()))?;
        Ok(Self {
            requests: counters(&r, "postern_requests_total", "Requests answered", &["tenant", "traffic", "status"])?,
            refusals: counters(&r, "postern_refusals_total", "Requests the gateway said no to", &["tenant", "reason"])?,
            would_refuse: counters(&r, "postern_would_refuse_total", WOULD_REFUSE, &["tenant", "filter", "reason"])?,
            would_act: counters(&r, "postern_would_act_total", WOULD_ACT, &["tenant", "filter", "reason"])?,
            upstream_attempts: AttemptCounters::new(counters(
                &r,
                "postern_upstream_attempts_total",
                ATTEMPTS,
                &["tenant", "route", "upstream", "outcome"],
            )?),
            breaker_state: gauges(
                &r,
                "postern_breaker_state",
                "Circuit breaker: 0 closed, 1 half open, 2 open",
                &["tenant", "upstream"],
            )?,
            connections_accepted: counter(&r, "postern_connections_accepted_total", "Downstream connections accepted")?,
            connections_refused: counter(
                &r,
                "postern_connections_refused_total",
                "Downstream connections closed because a budget was spent",
            )?,
            body_memory_refused: counter(&r, "postern_body_memory_refused_total", REFUSED_BODIES)?,
            tunnels_ended: counters(
                &r,
                "postern_tunnels_ended_total",
                "WebSocket tunnels that ended, by how",
                &["end"],
            )?,
            access_log_dropped: counter(&r, "postern_access_log_dropped_total", "Access-log lines dropped")?,
            snapshots_applied: counter(&r, "postern_snapshots_applied_total", "Snapshots applied")?,
            snapshot_apply: histogram(&r, "postern_snapshot_apply_seconds", APPLY, APPLY_BUCKETS)?,
            provider_ranges: gauges(&r, "postern_provider_ranges_timestamp_seconds", RANGES, &["provider"])?,
            objects: gauges(&r, "postern_objects", "Objects of the snapshot by state", &["state"])?,
            last_good_unwritten: gauge(&r, "postern_last_good_unwritten", UNWRITTEN)?,
            body_memory: gauge(&r, "postern_body_memory_bytes", "Bytes of request bodies that are held")?,
            tunnels_open: gauge(&r, "postern_tunnels_open", "WebSocket tunnels that are open")?,
            connections_open: gauge(&r, "postern_connections_open", "Downstream connections that are open")?,
            duration,
            registry: r,
        })
    }

    /// The registry, for what other modules register.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The handles of one tenant. Its series are there from its first request on: of many tenants most are idle, and
    /// what nobody counts costs neither memory nor lines of a scrape.
    #[must_use]
    pub fn tenant(&self, name: Option<&TenantName>) -> TenantMetrics {
        let tenant = name.map_or(NO_TENANT, TenantName::as_str);
        TenantMetrics { tenant: tenant.into(), api: OnceLock::new(), webhook: OnceLock::new(), metrics: self.clone() }
    }

    /// All classes at once, so that the first answer of a class counts from zero.
    fn per_traffic(&self, tenant: &str, traffic: Traffic) -> PerTraffic {
        let status = |class: &str| self.requests.with_label_values(&[tenant, traffic.word(), class]);
        PerTraffic {
            requests: [status("1xx"), status("2xx"), status("3xx"), status("4xx"), status("5xx")],
            duration: self.duration.with_label_values(&[tenant, traffic.word()]),
        }
    }

    /// Forgets a tenant that is gone.
    pub fn forget_tenant(&self, name: &TenantName) {
        let tenant = name.as_str();
        for traffic in Traffic::ALL.map(Traffic::word) {
            for class in ["1xx", "2xx", "3xx", "4xx", "5xx"] {
                let _ = self.requests.remove_label_values(&[tenant, traffic, class]);
            }
            let _ = self.duration.remove_label_values(&[tenant, traffic]);
        }
        for reason in Reason::ALL {
            let _ = self.refusals.remove_label_values(&[tenant, reason.word()]);
            for filter in Filter::ORDER {
                let _ = self.would_refuse.remove_label_values(&[tenant, filter.word(), reason.word()]);
                let _ = self.would_act.remove_label_values(&[tenant, filter.word(), reason.word()]);
            }
        }
        for filter in Filter::ORDER {
            let _ = self.would_act.remove_label_values(&[tenant, filter.word(), NO_REASON]);
        }
    }

    /// The lists of providers' ranges that sources use now.
    pub fn provider_ranges<'l>(&self, lists: impl Iterator<Item = &'l ProviderIr>) {
        let mut oldest: BTreeMap<&str, i64> = BTreeMap::new();
        for list in lists {
            let date = oldest.entry(&list.provider).or_insert(i64::MAX);
            *date = list.date_secs.min(*date);
        }
        self.provider_ranges.reset();
        for (provider, date_secs) in oldest {
            self.provider_ranges.with_label_values(&[provider]).set(date_secs);
        }
    }

    /// The exposition text (`text/plain; version=0.0.4`).
    ///
    /// # Errors
    /// When a metric cannot be encoded.
    pub fn encode(&self) -> prometheus::Result<Vec<u8>> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

#[derive(Clone, Debug)]
struct PerTraffic {
    requests: [IntCounter; 5],
    duration: Histogram,
}

/// The handles of one tenant.
#[derive(Clone, Debug)]
pub struct TenantMetrics {
    tenant: Box<str>,
    api: OnceLock<PerTraffic>,
    webhook: OnceLock<PerTraffic>,
    metrics: Metrics,
}

impl TenantMetrics {
    /// One request was answered.
    pub fn answered(&self, traffic: Traffic, status: u16, took: Duration) {
        let once = match traffic {
            Traffic::Api => &self.api,
            Traffic::Webhook => &self.webhook,
        };
        let handles = once.get_or_init(|| self.metrics.per_traffic(&self.tenant, traffic));
        if let Some(counter) = handles.requests.get(usize::from(status / 100).wrapping_sub(1)) {
            counter.inc();
        }
        handles.duration.observe(took.as_secs_f64());
    }

    /// The gateway said no.
    pub fn refused(&self, reason: Reason) {
        self.metrics.refusals.with_label_values(&[&self.tenant, reason.word()]).inc();
    }

    /// A policy in mode `Audit` would have said no.
    pub fn would_refuse(&self, filter: Filter, reason: Reason) {
        self.metrics.would_refuse.with_label_values(&[&self.tenant, filter.word(), reason.word()]).inc();
    }

    /// A policy in mode `Audit` that refuses nothing would have acted: because of this, if it acts on failures.
    pub fn would_act(&self, filter: Filter, reason: Option<Reason>) {
        let reason = reason.map_or(NO_REASON, Reason::word);
        self.metrics.would_act.with_label_values(&[&self.tenant, filter.word(), reason]).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_counted_from_its_first_request_on_every_class_from_zero() {
        let metrics = Metrics::new().unwrap();
        let tenant = metrics.tenant(Some(&TenantName::parse("acme").unwrap()));
        let text = || String::from_utf8(metrics.encode().unwrap()).unwrap();
        assert!(!text().contains("acme"), "{}", text());
        tenant.answered(Traffic::Webhook, 200, Duration::from_millis(3));
        for (class, count) in [("2xx", 1), ("5xx", 0)] {
            let line = format!("{{status=\"{class}\",tenant=\"acme\",traffic=\"webhook\"}} {count}");
            assert!(text().contains(&line), "{}", text());
        }
        assert!(!text().contains("traffic=\"api\""), "{}", text());
    }

    #[test]
    fn the_limit_of_a_rollout_is_a_bucket() {
        let metrics = Metrics::new().unwrap();
        metrics.tenant(None).answered(Traffic::Api, 200, Duration::from_millis(2_200));
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        assert!(
            ["le=\"2\"} 0", "le=\"2.5\"} 1"].iter().all(|end| text.contains(&format!("traffic=\"api\",{end}"))),
            "{text}"
        );
    }

    #[test]
    fn a_tenant_that_is_gone_leaves_no_series() {
        let metrics = Metrics::new().unwrap();
        let name = TenantName::parse("acme").unwrap();
        let tenant = metrics.tenant(Some(&name));
        tenant.answered(Traffic::Api, 204, Duration::from_millis(3));
        tenant.refused(Reason::RateLimited);
        tenant.would_refuse(Filter::RateLimit, Reason::RateLimited);
        tenant.would_act(Filter::Fallback, Some(Reason::UpstreamFailed));
        tenant.would_act(Filter::ResponseHeaders, None);
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        assert!(text.contains("postern_requests_total{status=\"2xx\",tenant=\"acme\",traffic=\"api\"} 1"), "{text}");
        metrics.forget_tenant(&name);
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        assert!(!text.contains("acme"), "{text}");
    }
}
