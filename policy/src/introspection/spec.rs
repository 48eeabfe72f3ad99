//! What a user writes for opaque tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::BackendRef;
use crate::units::DurationText;

/// Opaque tokens, asked of an authorization server (RFC 7662); answers are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IntrospectionSpec {
    /// The method's name, by which Routes choose it.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The Service that answers.
    pub backend_ref: BackendRef,
    /// The path of its introspection endpoint.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub path: String,
    /// For how long an answer is remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_for: Option<DurationText>,
    /// How long an answer may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
}
