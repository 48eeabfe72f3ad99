//! What a user writes for fallback answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;

/// The answer when the upstream has none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FallbackSpec {
    /// Its status.
    #[schemars(range(min = 200, max = 599))]
    pub status: u16,
    /// Its content type; application/json when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub content_type: Option<String>,
    /// Its body.
    #[schemars(length(max = 65536))]
    pub body: String,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}
