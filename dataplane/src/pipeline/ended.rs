//! What is known of a request when it ends: for its log line and its metrics.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Response, Version};
use policy::error::chain;
use policy::refusal::{Extra, Reason, Refusal};
use policy::request::Caller;
use policy::stage::Filter;

use super::Core;
use crate::answer::{self, Body};
use crate::http::{Ids, Inbound, Parsed};
use crate::runtime::{InFlight, Rule, TenantRuntime};
use crate::telemetry::access_log::{Line, query_names};
use crate::telemetry::{TenantMetrics, Traffic};
use crate::upstream::{Attempts, ExchangeError, ForwardError, Forwarded};

/// The upstream's part of a request.
#[derive(Debug, Default)]
pub struct Forwarding {
    /// Which upstream.
    pub upstream: Option<Arc<str>>,
    /// Its endpoint of the last attempt.
    pub endpoint: Option<SocketAddr>,
    /// How many attempts.
    pub attempts: u32,
    /// From the first attempt to the head of the answer, or until there was none.
    pub took: Option<Duration>,
}

/// Grows with the request; logged and counted when its answer's body ends.
#[derive(Debug)]
pub struct Ended {
    /// The core that serves it.
    pub core: Rc<Core>,
    /// When its head was complete.
    pub began: Instant,
    /// Its correlation id.
    pub request_id: Box<str>,
    /// Its trace id, when the caller sent one.
    pub trace_id: Option<Box<str>>,
    /// Its method.
    pub method: Method,
    /// Its protocol.
    pub version: Version,
    /// Its canonical host; as it came when it has none.
    pub host: Box<str>,
    /// Its canonical path; as it came when it has none.
    pub path: Box<str>,
    /// The names of its query parameters.
    pub query: Box<str>,
    /// Where it came from.
    pub address: Option<IpAddr>,
    /// What it is.
    pub traffic: Traffic,
    /// Whose it is.
    pub tenant: Option<Arc<TenantRuntime>>,
    /// What answered: an object and a rule in it.
    pub object: Option<(Arc<str>, Arc<str>)>,
    /// Who called.
    pub caller: Option<Arc<Caller>>,
    /// What policies in mode `Audit` would have refused.
    pub would_refuse: Vec<(Filter, Refusal)>,
    /// What policies in mode `Audit` that refuse nothing would have done, and why if they act on failures.
    pub would_act: Vec<(Filter, Option<Reason>)>,
    /// Why it was refused.
    pub reason: Option<Reason>,
    /// The sentence to that, with the causes that the caller is not told.
    pub detail: Option<Box<str>>,
    /// The upstream's part.
    pub forwarding: Forwarding,
    /// The upstream's answer ended early.
    pub cut: bool,
    /// How many events it brought.
    pub events: u32,
    /// Why entries of it are dead letters, or were left out; each reason once.
    pub entries_refused: Vec<Reason>,
    /// What was answered.
    pub status: u16,
    /// Its place among the tenant's requests in flight.
    pub in_flight: Option<InFlight>,
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

impl Ended {
    /// What is known when a head is complete.
    pub(super) fn begin(core: &Rc<Core>, inbound: &Inbound, ids: &Ids) -> Self {
        let request = &inbound.request;
        Self {
            core: core.clone(),
            began: Instant::now(),
            request_id: ids.request.clone(),
            trace_id: ids.trace().map(Into::into),
            method: request.method().clone(),
            version: request.version(),
            host: Box::default(),
            path: Box::default(),
            query: Box::default(),
            address: Some(inbound.address()),
            traffic: Traffic::Api,
            tenant: None,
            object: None,
            caller: None,
            would_refuse: Vec::new(),
            would_act: Vec::new(),
            reason: None,
            detail: None,
            forwarding: Forwarding::default(),
            cut: false,
            events: 0,
            entries_refused: Vec::new(),
            status: 0,
            in_flight: None,
        }
    }

    /// Host and path are canonical now.
    pub(super) fn parsed(&mut self, parsed: &Parsed) {
        let head = parsed.head();
        self.host = head.host.into();
        self.path = head.path.into();
        self.query = logged_query(head.query);
    }

    /// Takes a place among the tenant's requests in flight, which lasts to the end of the response. Called when nothing
    /// is left to prove: who is not authenticated holds no place.
    ///
    /// # Errors
    /// [`Reason::Overloaded`]
    pub(super) fn enter(&mut self, tenant: &TenantRuntime) -> Result<(), Refusal> {
        let place = tenant.enter().ok_or_else(|| {
            let detail = "the tenant has as many requests in flight as its ceiling allows";
            Refusal::new(Reason::Overloaded, detail).with(Extra::RetryAfter(Duration::from_secs(1)))
        })?;
        self.in_flight = Some(place);
        Ok(())
    }

    /// The answer to a refusal, which is logged and counted with its reason.
    pub(super) fn refuse(&mut self, refusal: &Refusal) -> Response<Body> {
        self.reason = Some(refusal.reason);
        self.detail.get_or_insert_with(|| refusal.detail.as_ref().into());
        answer::refusal(refusal, &self.request_id)
    }

    /// One of its entries was refused.
    pub(super) fn dead_lettered(&mut self, reason: Reason) {
        if !self.entries_refused.contains(&reason) {
            self.entries_refused.push(reason);
        }
    }

    /// What the upstream's side was.
    pub(super) fn forwarded(&mut self, rule: &Rule, forwarded: &Result<Forwarded, ForwardError>, seen: &Attempts) {
        let (upstream, endpoint, attempts) = match forwarded {
            Ok(ok) => (Some(&ok.upstream), Some(ok.endpoint), ok.attempts),
            Err(error) => (error.upstream.as_ref(), None, error.attempts),
        };
        if let Some(counters) = upstream.and_then(|upstream| rule.attempts_on(upstream)) {
            seen.outcomes.iter().for_each(|outcome| counters.count(outcome));
        }
        if seen.breaker_would_refuse {
            let refusal = Refusal::new(Reason::BreakerOpen, "the upstream kept failing");
            self.would_refuse.push((Filter::CircuitBreaker, refusal));
        }
        self.would_act.extend(seen.would_retry.map(|reason| (Filter::Retry, Some(reason))));
        let (upstream, took) = (upstream.map(|upstream| upstream.name.clone()), self.forwarding.took);
        self.forwarding = Forwarding { upstream, endpoint, attempts, took };
    }

    /// The upstream's answer ended early, after its head was sent.
    pub(crate) fn cut(&mut self, error: &ExchangeError) {
        self.reason = Some(error.reason());
        self.detail = Some(chain(error).into());
        self.cut = true;
    }

    /// The handles of its tenant, or those of requests that no tenant has.
    fn metrics(&self) -> &TenantMetrics {
        self.tenant.as_ref().map_or(&self.core.no_tenant, |tenant| &tenant.metrics)
    }

    /// Writes the line and counts; called when the answer's body was sent, or given up.
    pub fn log(&self, bytes_sent: u64, complete: bool) {
        let took = self.began.elapsed();
        let metrics = self.metrics();
        metrics.answered(self.traffic, self.status, took);
        if let Some(reason) = self.reason {
            metrics.refused(reason);
        }
        let mut would_refuse = Vec::new();
        for (filter, refusal) in &self.would_refuse {
            metrics.would_refuse(*filter, refusal.reason);
            would_refuse.push(format!("{}:{}", filter.word(), refusal.reason.word()));
        }
        let mut would_act = Vec::new();
        for (filter, reason) in &self.would_act {
            metrics.would_act(*filter, *reason);
            let word = filter.word();
            would_act.push(reason.map_or(word.to_owned(), |reason| format!("{word}:{}", reason.word())));
        }
        self.core.log.write(&Line {
            time: self.core.clock.rfc3339(),
            request_id: &self.request_id,
            trace_id: self.trace_id.as_deref(),
            tenant: self.tenant.as_ref().map(|tenant| tenant.name.as_str()),
            object: self.object.as_ref().map(|(object, _)| &**object),
            rule: self.object.as_ref().map(|(_, rule)| &**rule).filter(|rule| !rule.is_empty()),
            method: self.method.as_str(),
            host: &self.host,
            path: &self.path,
            query: &self.query,
            protocol: protocol(self.version),
            address: self.address,
            caller: self.caller.as_ref().map(|caller| &*caller.id),
            authentication: self.caller.as_ref().map(|caller| &*caller.method),
            status: self.status,
            reason: self.reason.map(Reason::word),
            detail: self.detail.as_deref(),
            would_refuse: &would_refuse,
            would_act: &would_act,
            upstream: self.forwarding.upstream.as_deref(),
            endpoint: self.forwarding.endpoint,
            attempts: self.forwarding.attempts,
            events: self.events,
            entries_refused: &self.entries_refused,
            bytes_sent,
            duration_us: micros(took),
            upstream_us: self.forwarding.took.map(micros),
            aborted: self.cut || !complete,
        });
    }
}

fn micros(took: Duration) -> u64 {
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX)
}

/// The names of a query's parameters, ready for the log.
pub(super) fn logged_query(query: Option<&str>) -> Box<str> {
    query.map(query_names).unwrap_or_default().into()
}
