//! What a user writes to keep callers on one side of a weighted split.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What tells callers apart: exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "[has(self.claim), has(self.header), has(self.cookie)].filter(x, x).size() == 1", "message": "name exactly one of claim, header, cookie"}]))]
pub struct StickyBySpec {
    /// A claim of the token; its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub claim: Option<String>,
    /// A header field.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub header: Option<String>,
    /// A cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub cookie: Option<String>,
}

/// How a weighted split treats a caller who comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SplitSpec {
    /// The same value stays on the same side.
    pub sticky_by: StickyBySpec,
}
