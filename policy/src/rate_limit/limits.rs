//! All limits that apply to one rule: each must admit, and one that does not costs the others nothing.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::buckets::Buckets;
use super::{Bucket, Level, LimitIr, Per, Rate, RateLimitIr, key};
use crate::mode::Mode;
use crate::names::TenantName;
use crate::refusal::{Extra, Reason, Refusal};
use crate::request::Caller;

/// The most callers that one limit tells apart; with more, the idlest start afresh.
pub const MAX_CALLERS_PER_LIMIT: usize = 65_536;

const NANOS_PER_SEC: u64 = 1_000_000_000;
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The counts of one limit. They hold times and not numbers of requests, so that they outlive a change of
/// the limit.
#[derive(Debug)]
struct Counts {
    tenant: Bucket,
    callers: Buckets,
}

/// The counts of every limit that is in use, so that a swap of snapshots finds them again. Shared by all cores.
#[derive(Debug, Default)]
pub struct LimitCounts {
    /// A limit that nothing uses any more is forgotten with its last user.
    known: Mutex<HashMap<Vec<u8>, Weak<Counts>, RandomState>>,
}

impl LimitCounts {
    fn of(&self, tenant: &TenantName, policy: &RateLimitIr, limit: &LimitIr) -> Arc<Counts> {
        let key = key::limit(tenant, &policy.object, &limit.name);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = known.get(&key).and_then(Weak::upgrade) {
            return counts;
        }
        if known.len() == known.capacity() {
            // Before it grows: so it holds at most twice as many as are in use.
            known.retain(|_, counts| counts.strong_count() > 0);
        }
        let counts = Arc::new(Counts { tenant: Bucket::default(), callers: Buckets::new(MAX_CALLERS_PER_LIMIT) });
        known.insert(key, Arc::downgrade(&counts));
        counts
    }
}

#[derive(Debug)]
struct Limit {
    /// The name as a structured field (RFC 9651) has it, with its quotes.
    quoted: Arc<str>,
    requests: u64,
    per: Per,
    rate: Rate,
    enforces: bool,
    counts: Arc<Counts>,
}

/// The limits of one rule or source, ready to count.
#[derive(Debug)]
pub struct Limits {
    limits: Vec<Limit>,
    policy: Option<HeaderValue>,
}

/// What the strictest limit says to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    policy: Option<HeaderValue>,
    quoted: Arc<str>,
    /// How many requests it admits now.
    pub remaining: u64,
    /// In how many seconds all of it is there again.
    pub reset_secs: u64,
}

/// What the limits say to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The refusal, when one that enforces is spent.
    pub refused: Option<Refusal>,
    /// What one that audits would have said.
    pub would_refuse: Option<Refusal>,
    /// For the answer's header fields, whatever becomes of the request.
    pub standing: Option<Standing>,
}

impl Limits {
    /// Makes the limits of `policies` ready, all of which apply; those in mode `Off` do not.
    pub fn new<'a>(
        tenant: &TenantName,
        policies: impl IntoIterator<Item = &'a RateLimitIr>,
        counts: &LimitCounts,
    ) -> Self {
        let mut limits = Vec::new();
        let mut described: Vec<String> = Vec::new();
        for policy in policies.into_iter().filter(|policy| policy.mode.runs()) {
            for limit in &policy.limits {
                let quoted = quoted(&limit.name);
                let enforces = match policy.mode {
                    Mode::Enforce => true,
                    Mode::Audit | Mode::Off => false,
                };
                if enforces {
                    described.push(describe(&quoted, limit));
                }
                let requests = u64::from(limit.requests.get());
                let (per, rate, counts) = (limit.per, Rate::new(limit), counts.of(tenant, policy, limit));
                limits.push(Limit { quoted: quoted.into(), requests, per, rate, enforces, counts });
            }
        }
        let policy = if described.is_empty() { None } else { HeaderValue::from_str(&described.join(", ")).ok() };
        Self { limits, policy }
    }

    /// Whether there is nothing to count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Counts one request, if every limit that enforces admits it; else none of them counts it. The look
    /// comes first and the count after: when another core takes the last one between, what was taken is
    /// given back, and for that moment a third may be refused that would have been admitted.
    #[must_use]
    pub fn check(&self, caller: Option<&Caller>, address: IpAddr, now_ns: u64) -> Verdict {
        let mut who: Option<Vec<u8>> = None;
        let bucket = |limit: &'_ Limit| match limit.per {
            Per::Tenant => None,
            Per::Caller => {
                let who = who.get_or_insert_with(|| key::who(caller, address));
                Some(limit.counts.callers.bucket(who, now_ns))
            }
        };
        let callers: Vec<Option<Arc<Bucket>>> = self.limits.iter().map(bucket).collect();
        let buckets: Vec<(&Limit, &Bucket)> = self
            .limits
            .iter()
            .zip(&callers)
            .map(|(limit, caller)| (limit, caller.as_deref().unwrap_or(&limit.counts.tenant)))
            .collect();
        let spent = |(limit, bucket): &(&Limit, &Bucket)| {
            let level = bucket.level(limit.rate, now_ns);
            level.next_in_ns > 0 && limit.enforces
        };
        if buckets.iter().any(spent) {
            return self.refuse(&buckets, now_ns);
        }
        let mut verdict = Verdict::default();
        let mut strictest: Option<(&Limit, Level)> = None;
        for (index, (limit, bucket)) in buckets.iter().enumerate() {
            match bucket.take(limit.rate, now_ns) {
                Ok(level) if limit.enforces && strictest.is_none_or(|(_, least)| level.remaining < least.remaining) => {
                    strictest = Some((limit, level));
                }
                Ok(_) => {}
                Err(level) if limit.enforces => {
                    for (limit, bucket) in buckets.iter().take(index).filter(|(limit, _)| limit.enforces) {
                        bucket.give_back(limit.rate);
                    }
                    return self.refused_by(limit, level);
                }
                Err(level) => verdict.would_refuse = Some(refusal(limit, level)),
            }
        }
        verdict.standing = strictest.map(|(limit, level)| self.standing(limit, level));
        verdict
    }

    /// The refusal of the limit that keeps the caller waiting longest.
    fn refuse(&self, buckets: &[(&Limit, &Bucket)], now_ns: u64) -> Verdict {
        let levels = buckets.iter().filter(|(limit, _)| limit.enforces);
        let longest = levels
            .map(|(limit, bucket)| (*limit, bucket.level(limit.rate, now_ns)))
            .max_by_key(|(_, level)| level.next_in_ns);
        longest.map(|(limit, level)| self.refused_by(limit, level)).unwrap_or_default()
    }

    fn refused_by(&self, limit: &Limit, level: Level) -> Verdict {
        let standing = Some(self.standing(limit, level));
        Verdict { refused: Some(refusal(limit, level)), would_refuse: None, standing }
    }

    fn standing(&self, limit: &Limit, level: Level) -> Standing {
        Standing {
            policy: self.policy.clone(),
            quoted: Arc::clone(&limit.quoted),
            // A burst may be larger than what a window earns; the field knows only the latter.
            remaining: level.remaining.min(limit.requests),
            reset_secs: level.full_in_ns.div_ceil(NANOS_PER_SEC),
        }
    }
}

impl Standing {
    /// Sets `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers).
    pub fn apply(&self, answer: &mut HeaderMap) {
        let Self { policy, quoted, remaining, reset_secs } = self;
        if let Some(policy) = policy {
            answer.insert(RATE_LIMIT_POLICY, policy.clone());
        }
        if let Ok(value) = HeaderValue::from_str(&format!("{quoted};r={remaining};t={reset_secs}")) {
            answer.insert(RATE_LIMIT, value);
        }
    }
}

fn refusal(limit: &Limit, level: Level) -> Refusal {
    let detail = format!("the limit {} is spent; try again after Retry-After", limit.quoted);
    Refusal::new(Reason::RateLimited, detail).with(Extra::RetryAfter(Duration::from_nanos(level.next_in_ns)))
}

fn quoted(name: &str) -> String {
    let plain: String = name.chars().filter(|c| matches!(c, ' '..='~') && !matches!(c, '"' | '\\')).collect();
    format!("\"{plain}\"")
}

/// `w` is in whole seconds; a window that is none is left out, as the draft allows.
fn describe(quoted: &str, limit: &LimitIr) -> String {
    let window =
        if limit.window_ms.is_multiple_of(1000) { format!(";w={}", limit.window_ms / 1000) } else { String::new() };
    format!("{quoted};q={}{window}", limit.requests)
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod tests;
