//! What a user writes for API keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::BackendRef;
use crate::reference::SecretSelector;
use crate::units::DurationText;

/// A service that is asked for keys that no Secret holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeyLookupSpec {
    /// The Service that answers.
    pub backend_ref: BackendRef,
    /// The path; `{hash}` stands for the SHA-256 of the key in hex.
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/"))]
    pub path: String,
    /// For how long an answer is remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_for: Option<DurationText>,
    /// How long an answer may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<DurationText>,
}

/// The header field that carries a key when nothing else is said.
pub const DEFAULT_HEADER: &str = "X-API-Key";

fn default_header() -> String {
    DEFAULT_HEADER.to_owned()
}

/// One API-key method of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "has(self.secretSelector) || has(self.lookup)", "message": "name secretSelector, lookup or both: a method without keys refuses everybody"}]))]
pub struct ApiKeySpec {
    /// The method's name, by which Routes choose it.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The header field that carries the key.
    #[serde(default = "default_header")]
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9!#$%&'*+.^_|~-]+$"))]
    pub header: String,
    /// The Secrets that hold the keys, one a Secret: hash, notBefore, expiresAt, roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_selector: Option<SecretSelector>,
    /// A service to ask for other keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lookup: Option<ApiKeyLookupSpec>,
}
