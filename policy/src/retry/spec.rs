//! What a user writes for retries.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::units::DurationText;

/// Pauses between attempts: doubled each time, with full jitter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "!has(self.base) || !has(self.max) || self.base.contains('d') || self.max.contains('d') || duration(self.base) <= duration(self.max)", "message": "max must be at least base"}]))]
pub struct BackoffSpec {
    /// The first pause; 25ms when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<DurationText>,
    /// The longest pause; ten times `base` when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<DurationText>,
}

/// How much load retries may add to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryBudgetSpec {
    /// This many percent of its requests; 20 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 100))]
    pub percent: Option<u32>,
    /// This many a second in any case; 3 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 10000))]
    pub min_per_second: Option<u32>,
}

/// When a request is tried again: only what is idempotent, or was never sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetrySpec {
    /// Attempts after the first.
    #[schemars(range(min = 1, max = 10))]
    pub attempts: u32,
    /// Status codes that are tried again; 502, 503 and 504 when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"), inner(range(min = 400, max = 599)))]
    pub codes: Vec<u16>,
    /// Pauses between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffSpec>,
    /// How much load retries may add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<RetryBudgetSpec>,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}
