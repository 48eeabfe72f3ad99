//! The coarse count of requests that fail authentication, by address: beyond its allowance an address gets expensive
//! checks only from a small budget (see [`crate::costly`]), and everything else as before.

use std::net::IpAddr;
use std::time::Duration;

use super::buckets::Buckets;
use super::{LimitIr, Per, Rate, key};
use crate::refusal::{Extra, Reason, Refusal};

/// Failures that an address may have at once: enough for a whole office behind one address whose tokens
/// expired together.
const BURST: u32 = 100;

/// Failures that an address earns a minute.
const PER_MINUTE: u32 = 60;

/// The most addresses that one tenant's gateway remembers.
const MAX_ADDRESSES: usize = 16_384;

/// Failed attempts by address, of one tenant: no tenant's callers are counted with another's.
#[derive(Debug)]
pub struct Failures {
    buckets: Buckets,
    rate: Rate,
}

impl Default for Failures {
    fn default() -> Self {
        let at_least_one = |number| std::num::NonZeroU32::new(number).unwrap_or(std::num::NonZeroU32::MIN);
        let limit = LimitIr {
            name: "failures".into(),
            per: Per::Caller,
            requests: at_least_one(PER_MINUTE),
            window_ms: 60_000,
            burst: at_least_one(BURST),
        };
        Self { buckets: Buckets::new(MAX_ADDRESSES), rate: Rate::new(&limit) }
    }
}

impl Failures {
    /// Whether a refusal for this reason is a failed attempt. A missing credential is none: it costs nothing
    /// to refuse, and browsers and health checks send none; neither is a failure of our own.
    #[must_use]
    pub fn counts(reason: Reason) -> bool {
        matches!(
            reason,
            Reason::CredentialsInvalid
                | Reason::CredentialsExpired
                | Reason::SignatureInvalid
                | Reason::TimestampOutsideWindow
                | Reason::HandshakeRefused
                | Reason::TenantMismatch
        )
    }

    /// Whether an address is within its allowance. Costs nothing but a look-up, and nothing at all while nobody fails.
    ///
    /// # Errors
    /// [`Reason::TooManyFailures`] with `Retry-After`.
    pub fn check(&self, address: IpAddr, now_ns: u64) -> Result<(), Refusal> {
        let Some(bucket) = self.buckets.find(&key::network(address)) else { return Ok(()) };
        match bucket.level(self.rate, now_ns).next_in_ns {
            0 => Ok(()),
            wait => {
                let detail = "this address sent too many credentials that do not hold; wait before the next";
                let refusal = Refusal::new(Reason::TooManyFailures, detail);
                Err(refusal.with(Extra::RetryAfter(Duration::from_nanos(wait))))
            }
        }
    }

    /// Counts a request that failed to authenticate.
    pub fn record(&self, address: IpAddr, now_ns: u64) {
        // An empty bucket stays empty; `check` speaks for it.
        let _ = self.buckets.bucket(&key::network(address), now_ns).take(self.rate, now_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_credential_that_does_not_hold_is_a_failed_attempt() {
        assert!(Failures::counts(Reason::CredentialsInvalid) && Failures::counts(Reason::SignatureInvalid));
        for reason in [Reason::CredentialsMissing, Reason::PolicyBroken, Reason::KeysUnavailable, Reason::RateLimited] {
            assert!(!Failures::counts(reason), "{reason:?}");
        }
    }

    #[test]
    fn who_keeps_failing_is_stopped_for_a_while_and_alone() {
        let (failures, now) = (Failures::default(), 1_000_000_000);
        let (bad, good): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), "2001:db8:0:1::1".parse().unwrap());
        for _ in 0..BURST {
            assert!(failures.check(bad, now).is_ok());
            failures.record(bad, now);
        }
        let refusal = failures.check("2001:db8::2".parse().unwrap(), now).unwrap_err();
        assert_eq!(refusal.reason, Reason::TooManyFailures);
        assert_eq!(refusal.extras, [Extra::RetryAfter(Duration::from_secs(1))]);
        assert!(failures.check(good, now).is_ok());
        assert!(failures.check(bad, now + 1_000_000_000).is_ok());
    }
}
