//! A breaker block with its defaults.

use super::{CircuitBreakerIr, CircuitBreakerSpec};
use crate::problem::Problems;
use crate::units::DurationText;

const DEFAULT_FAILURE_PERCENT: u32 = 50;
const DEFAULT_MIN_REQUESTS: u32 = 20;
const DEFAULT_WINDOW_MS: u64 = 10_000;
const DEFAULT_OPEN_FOR_MS: u64 = 15_000;
const DEFAULT_HALF_OPEN_REQUESTS: u32 = 3;
/// The longest window; its counts are kept in memory.
const MAX_WINDOW_MS: u64 = 3_600_000;

/// The breaker of a block; `None` when a problem was recorded.
pub fn compile(spec: &CircuitBreakerSpec, mut problems: Problems<'_>) -> Option<CircuitBreakerIr> {
    let CircuitBreakerSpec {
        failure_percent,
        min_requests,
        window,
        consecutive_failures,
        open_for,
        half_open_requests,
        mode: _,
    } = spec;
    let before = problems.errors();
    let window_ms = window.as_ref().map_or(DEFAULT_WINDOW_MS, DurationText::millis);
    if !(1..=MAX_WINDOW_MS).contains(&window_ms) {
        problems.at("window").invalid("is not between 1ms and 1h", "write a window such as 10s");
    }
    let open_for_ms = open_for.as_ref().map_or(DEFAULT_OPEN_FOR_MS, DurationText::millis);
    if open_for_ms == 0 {
        problems.at("openFor").invalid("is no time at all", "write how long the upstream rests, such as 15s");
    }
    let ir = CircuitBreakerIr {
        failure_percent: failure_percent.unwrap_or(DEFAULT_FAILURE_PERCENT),
        min_requests: min_requests.unwrap_or(DEFAULT_MIN_REQUESTS),
        window_ms,
        consecutive_failures: consecutive_failures.unwrap_or(0),
        open_for_ms,
        half_open_requests: half_open_requests.unwrap_or(DEFAULT_HALF_OPEN_REQUESTS),
    };
    (problems.errors() == before).then_some(ir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("circuit_breaker", |spec: &CircuitBreakerSpec, _, problems| compile(spec, problems));
        golden::check_page("circuit_breaker", "/circuitBreaker", |spec: &CircuitBreakerSpec, _, problems| {
            compile(spec, problems)
        });
    }
}
