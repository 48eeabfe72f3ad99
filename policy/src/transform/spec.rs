//! What a user writes to change bodies and header fields on the way.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One step; steps run in the order in which they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "[has(self.set), has(self.remove), has(self.setHeader), has(self.removeHeader), has(self.wrap)].filter(x, x).size() == 1", "message": "a step does exactly one of set, remove, setHeader, removeHeader, wrap"}, {"rule": "(has(self.set) || has(self.setHeader)) == (has(self.from) != has(self.value))", "message": "set and setHeader take either from or value"}, {"rule": "has(self.wrap) == has(self.under)", "message": "wrap and under belong together"}]))]
pub struct TransformStep {
    /// A place in the body (`body.tenant`) that gets the value of `from` or `value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub set: Option<String>,
    /// Where a value comes from: `tenant.name`, `claims.sub`, `body.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub from: Option<String>,
    /// A value, written here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
    /// A place in the body that is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub remove: Option<String>,
    /// A header field that gets the value of `from` or `value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub set_header: Option<String>,
    /// A header field that is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub remove_header: Option<String>,
    /// What is wrapped: `body`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub wrap: Option<String>,
    /// The name under which it is wrapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub under: Option<String>,
}
