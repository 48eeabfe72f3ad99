//! What a user writes for quotas.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rate_limit::Per;

/// A stretch of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QuotaPeriod {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A month.
    Month,
}

/// At most so many requests in an hour, day or month of the calendar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QuotaSpec {
    /// Its name, in answers and logs.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Whose requests are counted together.
    pub per: Per,
    /// How many.
    #[schemars(range(min = 1, max = 1000000000000_i64))]
    pub requests: u64,
    /// In which stretch of the calendar.
    pub period: QuotaPeriod,
    /// Whose calendar (IANA name); UTC when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
    /// Percentages at which an event is sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"), inner(range(min = 1, max = 1000)))]
    pub notify_at: Vec<u32>,
}
