//! What a user writes for cross-origin requests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;
use crate::route::Method;

/// Whether cookies and credentials may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CorsCredentials {
    /// They may; then no origin may be `*`.
    Allow,
    /// They may not.
    #[default]
    Deny,
}

/// Cross-origin requests (Fetch standard).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "!has(self.credentials) || self.credentials != 'Allow' || !self.allowOrigins.exists(o, o == '*')", "message": "with credentials, name the origins: browsers refuse * then"}]))]
pub struct CorsSpec {
    /// Origins that may read answers: `https://app.example`, `https://*.example`, or `*`.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 253)))]
    pub allow_origins: Vec<String>,
    /// Methods that a preflight grants; GET, HEAD and POST when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "set"))]
    pub allow_methods: Vec<Method>,
    /// Header fields that a preflight grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 128)))]
    pub allow_headers: Vec<String>,
    /// Header fields that scripts may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 128)))]
    pub expose_headers: Vec<String>,
    /// For how many seconds a browser may remember a preflight; 5 when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 86400))]
    pub max_age: Option<u32>,
    /// Whether cookies and credentials may be sent.
    #[serde(default)]
    pub credentials: CorsCredentials,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}
