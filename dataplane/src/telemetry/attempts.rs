//! Counters of attempts to reach upstreams, by Route and upstream.
//!
//! A Route and an upstream share one set of counters as long as a rule holds it, over swaps of the snapshot. When the
//! last rule lets go of the set, its series leave the registry: Routes come and go, and the series of those that are
//! gone would only grow in number.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use http::StatusCode;
use policy::names::TenantName;
use policy::refusal::Reason;
use prometheus::{IntCounter, IntCounterVec};

/// The outcomes of answered attempts: the class of the status.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream answered with this status.
    Answered(StatusCode),
    /// There was no whole answer, for this reason.
    Failed(Reason),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantName,
    route: Arc<str>,
    upstream: Arc<str>,
}

struct Shared {
    series: IntCounterVec,
    known: Mutex<HashMap<Key, Weak<RouteAttempts>, RandomState>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<RouteAttempts>, RandomState>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counters of every Route and upstream that a rule holds.
#[derive(Clone)]
pub struct AttemptCounters(Arc<Shared>);

impl fmt::Debug for AttemptCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptCounters").finish_non_exhaustive()
    }
}

impl AttemptCounters {
    /// Counters in a metric with the labels tenant, route, upstream and outcome.
    pub(super) fn new(series: IntCounterVec) -> Self {
        Self(Arc::new(Shared { series, known: Mutex::default() }))
    }

    /// The counters of one Route (`NAMESPACE/NAME`) on one upstream; those that exist, if they do.
    #[must_use]
    pub fn of(&self, tenant: &TenantName, route: &Arc<str>, upstream: &Arc<str>) -> Arc<RouteAttempts> {
        let key = Key { tenant: tenant.clone(), route: route.clone(), upstream: upstream.clone() };
        let mut known = self.0.lock();
        if let Some(attempts) = known.get(&key).and_then(Weak::upgrade) {
            return attempts;
        }
        let shared = self.0.clone();
        let attempts = Arc::new(RouteAttempts { key: key.clone(), answered: Default::default(), shared });
        known.insert(key, Arc::downgrade(&attempts));
        attempts
    }
}

/// The counters of one Route on one upstream.
pub struct RouteAttempts {
    key: Key,
    /// By class; a series is there from its first answer on.
    answered: [OnceLock<IntCounter>; 5],
    shared: Arc<Shared>,
}

impl fmt::Debug for RouteAttempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteAttempts").field("key", &self.key).finish_non_exhaustive()
    }
}

impl RouteAttempts {
    /// Counts one attempt.
    pub fn count(&self, outcome: Outcome) {
        match outcome {
            Outcome::Answered(status) => {
                let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
                if let (Some(handle), Some(word)) = (self.answered.get(class), CLASSES.get(class)) {
                    handle.get_or_init(|| self.series(word)).inc();
                }
            }
            Outcome::Failed(reason) => self.series(reason.word()).inc(),
        }
    }

    fn labels<'a>(&'a self, outcome: &'a str) -> [&'a str; 4] {
        let Key { tenant, route, upstream } = &self.key;
        [tenant.as_str(), route, upstream, outcome]
    }

    fn series(&self, outcome: &str) -> IntCounter {
        self.shared.series.with_label_values(&self.labels(outcome))
    }
}

impl Drop for RouteAttempts {
    fn drop(&mut self) {
        let mut known = self.shared.lock();
        // Another rule may have been built with the same key between the last release and this lock.
        if known.get(&self.key).is_some_and(|now| now.strong_count() > 0) {
            return;
        }
        known.remove(&self.key);
        for outcome in CLASSES.into_iter().chain(Reason::ALL.iter().map(|reason| reason.word())) {
            let _ = self.shared.series.remove_label_values(&self.labels(outcome));
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;
    use prometheus::core::Collector;

    use super::*;

    fn counters() -> (AttemptCounters, IntCounterVec) {
        let labels = ["tenant", "route", "upstream", "outcome"];
        let series = IntCounterVec::new(Opts::new("attempts", "Attempts"), &labels).unwrap();
        (AttemptCounters::new(series.clone()), series)
    }

    #[test]
    fn attempts_are_counted_by_class_or_reason() {
        let (counters, series) = counters();
        let attempts = counters.of(&TenantName::parse("acme").unwrap(), &"acme/echo".into(), &"echo:80".into());
        for status in [StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR, StatusCode::BAD_GATEWAY] {
            attempts.count(Outcome::Answered(status));
        }
        attempts.count(Outcome::Failed(Reason::UpstreamTimeout));
        let value = |outcome| series.with_label_values(&["acme", "acme/echo", "echo:80", outcome]).get();
        assert_eq!(["2xx", "5xx", "upstream_timeout"].map(value), [1, 2, 1]);
    }

    #[test]
    fn a_route_that_is_gone_leaves_no_series_and_a_swap_keeps_them() {
        let (counters, series) = counters();
        let of = || counters.of(&TenantName::parse("acme").unwrap(), &"acme/echo".into(), &"echo:80".into());
        let before = of();
        before.count(Outcome::Answered(StatusCode::OK));
        let after = of();
        drop(before);
        after.count(Outcome::Answered(StatusCode::OK));
        after.count(Outcome::Failed(Reason::UpstreamFailed));
        let series_now = || series.collect().iter().map(|family| family.get_metric().len()).sum::<usize>();
        assert_eq!(series_now(), 2);
        drop(after);
        assert_eq!(series_now(), 0);
        assert!(counters.0.lock().is_empty());
    }
}
