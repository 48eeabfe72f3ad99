//! An onFailure block with its defaults.

use super::{OnFailureIr, OnFailureSpec, OnFailureType};
use crate::problem::Problems;
use crate::units::{DurationText, SizeText};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
const DEFAULT_BODY_BYTES: u64 = 1 << 20;
/// A copy of each body in flight is held in memory.
const MAX_BODY_BYTES: u64 = 4 << 20;

/// What a block keeps; `None` when a problem was recorded.
pub fn compile(spec: &OnFailureSpec, mut problems: Problems<'_>) -> Option<OnFailureIr> {
    let OnFailureSpec { type_: OnFailureType::DeadLetter, retention, max_body_size, mode: _ } = spec;
    let before = problems.errors();
    let retention = retention.as_ref().map_or(14 * DAY_MS, DurationText::millis);
    if !(HOUR_MS..=365 * DAY_MS).contains(&retention) {
        problems.at("retention").invalid("is outside 1h to 365d", "write one between them, such as 14d");
    }
    let max_body_size = max_body_size.as_ref().map_or(DEFAULT_BODY_BYTES, SizeText::bytes);
    if !(1..=MAX_BODY_BYTES).contains(&max_body_size) {
        problems.at("maxBodySize").invalid("is outside 1 to 4Mi", "write one between them, such as 256Ki");
    }
    (problems.errors() == before).then_some(OnFailureIr { retention_secs: retention / 1000, max_body_size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden;

    #[test]
    fn golden_files_hold_and_the_page_compiles() {
        golden::check("on_failure", |spec: &OnFailureSpec, _, problems| compile(spec, problems));
        golden::check_page("on_failure", "/onFailure", |spec: &OnFailureSpec, _, problems| compile(spec, problems));
    }
}
