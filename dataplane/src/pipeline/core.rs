//! One core: what its requests share and no other core touches.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Cache};
use policy::costly::{Costly, CostlyBudget};
use policy::jwt::TokenCache;
use policy::names::TenantName;
use policy::rate_limit::Failures;
use tokio::sync::Semaphore;

use crate::event::EventPath;
use crate::health::Health;
use crate::http::memory::{Account, BodyMemory, Sender};
use crate::http::{HttpLimits, Parsed};
use crate::runtime::Runtime;
use crate::telemetry::{CoreLog, Metrics, TenantMetrics};
use crate::upstream::UpstreamCore;

/// How much of a core's work may be done off its runtime at once.
const PLACES_ASIDE: usize = 2;

/// The wall clock, read once a request; its text is made once a second.
#[derive(Debug, Default)]
pub struct Clock {
    second: Cell<i64>,
    text: RefCell<String>,
}

impl Clock {
    /// Seconds since the epoch.
    #[must_use]
    pub fn now_secs(&self) -> i64 {
        i64::try_from(since_epoch().as_secs()).unwrap_or(i64::MAX)
    }

    /// Nanoseconds since the process began to count; never goes back.
    #[must_use]
    pub fn mono_ns(&self) -> u64 {
        let now = tokio::time::Instant::now();
        u64::try_from(crate::upstream::clock::since_origin(now).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Now, as RFC 3339 with milliseconds.
    #[must_use]
    pub fn rfc3339(&self) -> String {
        let now = since_epoch();
        let second = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if self.second.replace(second) != second {
            let stamp = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            *self.text.borrow_mut() = stamp.strftime("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        let digit = |n: u32| char::from_digit(n % 10, 10).unwrap_or('0');
        let ms = now.subsec_millis();
        let mut text = String::with_capacity(24);
        text.push_str(&self.text.borrow());
        text.extend([digit(ms / 100), digit(ms / 10), digit(ms), 'Z']);
        text
    }
}

fn since_epoch() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What the requests of one core share. Its runtime is read without touching another core's cache line.
pub struct Core {
    live: RefCell<Cache<Arc<ArcSwap<Runtime>>, Arc<Runtime>>>,
    /// Tokens that were verified here.
    pub tokens: RefCell<TokenCache>,
    /// For expensive checks of addresses that fail too often.
    costly: RefCell<CostlyBudget>,
    /// Connections to upstreams.
    pub upstreams: UpstreamCore,
    /// Where events are made durable.
    pub events: Arc<EventPath>,
    /// The core's log lines.
    pub log: CoreLog,
    /// Places for work that would hold up other requests.
    pub aside: Arc<Semaphore>,
    /// The wall clock.
    pub clock: Clock,
    /// The handles of requests that no tenant has.
    pub no_tenant: TenantMetrics,
    /// Whether all that there is has been told.
    pub health: Arc<Health>,
    /// The bounds of requests.
    pub limits: Arc<HttpLimits>,
    /// The bytes of request bodies that the process holds.
    pub memory: Arc<BodyMemory>,
    /// The metrics of the process.
    pub metrics: Metrics,
}

/// State that all cores share.
pub struct CoreShared {
    /// The live runtime.
    pub live: Arc<ArcSwap<Runtime>>,
    /// Where events are made durable.
    pub events: Arc<EventPath>,
    /// True when all that there is has been told.
    pub health: Arc<Health>,
    /// The bounds of requests.
    pub limits: Arc<HttpLimits>,
    /// The bytes of request bodies that the process holds.
    pub memory: Arc<BodyMemory>,
    /// The metrics of the process.
    pub metrics: Metrics,
}

impl fmt::Debug for CoreShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreShared").finish_non_exhaustive()
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}

impl Core {
    /// A core that reads what is live.
    #[must_use]
    pub fn new(shared: CoreShared, upstreams: UpstreamCore, log: CoreLog, no_tenant: TenantMetrics) -> Self {
        let CoreShared { live, events, health, limits, memory, metrics } = shared;
        let live = RefCell::new(Cache::new(live));
        let aside = Arc::new(Semaphore::new(PLACES_ASIDE));
        let (tokens, costly, clock) = (RefCell::default(), RefCell::default(), Clock::default());
        Self { live, tokens, costly, upstreams, events, log, aside, clock, no_tenant, health, limits, memory, metrics }
    }

    /// Makes a check. Of an address beyond its allowed failures, what is expensive is taken from the core's small budget.
    pub(super) fn check<T>(&self, failures: &Failures, address: IpAddr, check: impl FnOnce(&mut Costly) -> T) -> T {
        let began_ns = self.clock.mono_ns();
        let Err(refusal) = failures.check(address, began_ns) else { return check(&mut Costly::allowed()) };

        let left = self.costly.borrow_mut().has(began_ns);
        let mut costly = if left { Costly::allowed() } else { Costly::spent(refusal) };
        let checked = check(&mut costly);
        if costly.begun() {
            self.costly.borrow_mut().take(self.clock.mono_ns().saturating_sub(began_ns));
        }
        checked
    }

    /// Names the tenant that pays for a request's body. Costs nothing for a request without one.
    pub(super) fn account(&self, parsed: &mut Parsed, tenant: &TenantName, sender: Sender) {
        let address = parsed.address;
        parsed.body.account(self.limits.stall_timeout, || Account {
            memory: self.memory.clone(),
            tenant: tenant.clone(),
            address,
            sender,
        });
    }

    /// The runtime that is live now. A request keeps it to its end, whatever is swapped in meanwhile.
    #[must_use]
    pub fn runtime(&self) -> Arc<Runtime> {
        self.live.borrow_mut().load().clone()
    }
}
