//! What a user writes for circuit breakers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::units::DurationText;

/// When an upstream is given a rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreakerSpec {
    /// Opens when this many percent of a window failed; 50 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_percent: Option<u32>,
    /// Of at least this many requests; 20 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub min_requests: Option<u32>,
    /// The window; 10s when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<DurationText>,
    /// Opens after this many failures in a row; 0, and when left out, never for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000000))]
    pub consecutive_failures: Option<u32>,
    /// How long it stays open; 15s when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_for: Option<DurationText>,
    /// How many trial requests must succeed before it closes; 3 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub half_open_requests: Option<u32>,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}
