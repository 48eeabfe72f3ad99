//! What a user writes for requests that fail.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::units::{DurationText, SizeText};

/// What becomes of a failed request, beside its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailureType {
    /// It is kept with its body among the dead letters of its tenant.
    DeadLetter,
}

/// What becomes of a request that the upstream did not answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnFailureSpec {
    /// What.
    #[serde(rename = "type")]
    pub type_: OnFailureType,
    /// How long it is kept, 1h to 365d; 14d when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<DurationText>,
    /// The largest body that is kept, at most 4Mi; 1Mi when left out. A request with a larger one is forwarded as ever and not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<SizeText>,
    /// Whether it enforces, audits or rests; only what enforces keeps anything.
    #[serde(default)]
    pub mode: Mode,
}
