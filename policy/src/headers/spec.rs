//! What a user writes for security headers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;

/// A set of header fields that belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SecurityHeadersPreset {
    /// What a browser API should send: HSTS, nosniff, no framing, no referrer, a closed content security policy.
    #[default]
    Strict,
    /// Only those in `overrides`.
    None,
}

/// A header field with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderValueSpec {
    /// The header field.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9!#$%&'*+.^_|~-]+$"))]
    pub name: String,
    /// Its value.
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// Header fields for answers, unless the upstream set the field itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecurityHeadersSpec {
    /// Where to start.
    #[serde(default)]
    pub preset: SecurityHeadersPreset,
    /// Fields that differ from the preset, or come on top.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub overrides: Vec<HeaderValueSpec>,
    /// Fields of the preset that are not sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 128)))]
    pub omit: Vec<String>,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}
