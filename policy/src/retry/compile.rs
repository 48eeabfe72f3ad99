//! A retry block with its defaults.

use super::{BackoffSpec, RetryBudgetSpec, RetryIr, RetrySpec};
use crate::problem::Problems;
use crate::units::DurationText;

const DEFAULT_CODES: [u16; 3] = [502, 503, 504];
const DEFAULT_BASE_MS: u64 = 25;
const DEFAULT_BUDGET_PERCENT: u32 = 20;
const DEFAULT_BUDGET_MIN_PER_SEC: u32 = 3;

/// The retries of a block; `None` when a problem was recorded.
pub fn compile(spec: &RetrySpec, mut problems: Problems<'_>) -> Option<RetryIr> {
    let RetrySpec { attempts, codes, backoff, budget, mode: _ } = spec;
    let before = problems.errors();
    let (base, max) = match backoff {
        None => (None, None),
        Some(BackoffSpec { base, max }) => (base.as_ref(), max.as_ref()),
    };
    let base = base.map_or(DEFAULT_BASE_MS, DurationText::millis);
    let max = max.map_or(base.saturating_mul(10), DurationText::millis);
    if max < base {
        problems.at("backoff.max").invalid("is shorter than the first pause", "make it at least backoff.base");
    }
    let (percent, min_per_sec) = match budget {
        None => (None, None),
        Some(RetryBudgetSpec { percent, min_per_second }) => (*percent, *min_per_second),
    };
    let ir = RetryIr {
        attempts: *attempts,
        codes: if codes.is_empty() { DEFAULT_CODES.to_vec() } else { codes.clone() },
        backoff_base_ms: base,
        backoff_max_ms: max,
        budget_percent: percent.unwrap_or(DEFAULT_BUDGET_PERCENT),
        budget_min_per_sec: min_per_sec.unwrap_or(DEFAULT_BUDGET_MIN_PER_SEC),
    };
    (problems.errors() == before).then_some(ir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("retry", |spec: &RetrySpec, _, problems| compile(spec, problems));
        golden::check_page("retry", "/retry", |spec: &RetrySpec, _, problems| compile(spec, problems));
    }
}
