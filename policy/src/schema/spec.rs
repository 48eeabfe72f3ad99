//! What a user writes for the schema of a body.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::reference::ConfigMapKeyRef;

/// What happens to a body that does not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnInvalid {
    /// The request is refused with 422.
    #[default]
    Refuse,
    /// The request is forwarded, and the mismatch is recorded, as with `mode: Audit`.
    Forward,
}

/// A JSON Schema (2020-12 or draft-07) for request bodies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SchemaSpec {
    /// Where the schema is: one JSON document.
    pub config_map_ref: ConfigMapKeyRef,
    /// What happens to a body that does not fit.
    #[serde(default)]
    pub on_invalid: OnInvalid,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}
