//! Expensive checks of callers that fail too often: a small budget that cheap and known checks never need.
//!
//! An address beyond its allowed failures may be one attacker or a whole office behind one router. Whatever is cheap to
//! check (an HMAC, an API key, a remembered token) is checked for it as for everybody. A fresh asymmetric verification
//! draws on a budget of the core, so that all such addresses together cost no more than a twentieth of it.

use crate::refusal::Refusal;

/// The part of its time that a core spends on them: one in so many.
const SHARE: u64 = 20;
/// The most that can be spent at once, in nanoseconds: the share of one second.
const BURST_NS: i64 = 50_000_000;

/// The budget of one core, in nanoseconds of its time.
#[derive(Debug)]
pub struct CostlyBudget {
    /// Below zero while the last check is being paid off.
    level_ns: i64,
    filled_ns: u64,
}

impl Default for CostlyBudget {
    fn default() -> Self {
        Self { level_ns: BURST_NS, filled_ns: 0 }
    }
}

impl CostlyBudget {
    /// Returns whether anything is left now.
    pub fn has(&mut self, now_ns: u64) -> bool {
        let earned = now_ns.saturating_sub(self.filled_ns) / SHARE;
        self.level_ns = self.level_ns.saturating_add(signed(earned)).min(BURST_NS);
        self.filled_ns = self.filled_ns.max(now_ns);
        self.level_ns > 0
    }

    /// Takes what a check cost; the last one may cost more than was left.
    pub fn take(&mut self, spent_ns: u64) {
        self.level_ns = self.level_ns.saturating_sub(signed(spent_ns));
    }
}

fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX)
}

/// True when a request's expensive checks may be made, and whether one was.
#[derive(Debug)]
pub struct Costly {
    spent: Option<Refusal>,
    begun: bool,
}

impl Costly {
    /// They may be made.
    #[must_use]
    pub const fn allowed() -> Self {
        Self { spent: None, begun: false }
    }

    /// The budget is spent: they are refused like this.
    #[must_use]
    pub const fn spent(refusal: Refusal) -> Self {
        Self { spent: Some(refusal), begun: false }
    }

    /// Announces an expensive check.
    ///
    /// # Errors
    /// The refusal, when the budget is spent.
    pub fn begin(&mut self) -> Result<(), Refusal> {
        match &self.spent {
            Some(refusal) => Err(refusal.clone()),
            None => {
                self.begun = true;
                Ok(())
            }
        }
    }

    /// Returns whether an expensive check was made.
    #[must_use]
    pub const fn begun(&self) -> bool {
        self.begun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_a_twentieth_of_the_time() {
        let (mut budget, mut now_ns, mut spent_ns) = (CostlyBudget::default(), 0_u64, 0_u64);
        while now_ns < 60_000_000_000 {
            if budget.has(now_ns) {
                budget.take(100_000);
                spent_ns += 100_000;
                now_ns += 100_000;
            } else {
                now_ns += 1_000_000;
            }
        }
        assert!((2_900_000_000..3_200_000_000).contains(&spent_ns), "{spent_ns}");
    }
}
