//! When a request is tried again.

use serde::{Deserialize, Serialize};

/// Retries of one rule. Only what is idempotent (RFC 9110, 9.2.2) or was never sent is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryIr {
    /// Attempts after the first.
    pub attempts: u32,
    /// Status codes that are tried again.
    pub codes: Vec<u16>,
    /// First pause in milliseconds; doubled each time, with full jitter.
    pub backoff_base_ms: u64,
    /// Longest pause in milliseconds.
    pub backoff_max_ms: u64,
    /// Retries may add this many percent to an upstream's requests ...
    pub budget_percent: u32,
    /// ... and always this many a second.
    pub budget_min_per_sec: u32,
}
