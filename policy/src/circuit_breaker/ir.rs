//! When an upstream is given a rest.

use serde::{Deserialize, Serialize};

/// The breaker of one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CircuitBreakerIr {
    /// Opens when this many percent of a window failed (1 to 100) ...
    pub failure_percent: u32,
    /// ... of at least this many requests.
    pub min_requests: u32,
    /// The window in milliseconds.
    pub window_ms: u64,
    /// Opens after this many failures in a row, whatever the rate; 0 means never for that.
    pub consecutive_failures: u32,
    /// How long it stays open, in milliseconds.
    pub open_for_ms: u64,
    /// How many trial requests must succeed, and may run at once, while half open.
    pub half_open_requests: u32,
}
