//! What a user writes for what callers may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::route::Method;

/// A claim with the values that satisfy it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClaimSpec {
    /// The claim's path: names of nested objects with dots between them.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// One of these satisfies it; numbers and booleans as their JSON text.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "set"), inner(length(max = 253)))]
    pub values: Vec<String>,
}

/// One grant: all of its conditions must hold. A request needs one grant that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantSpec {
    /// Methods that it grants; none means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), extend("x-kubernetes-list-type" = "set"))]
    pub methods: Vec<Method>,
    /// The caller needs one of these; none means none is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 253)))]
    pub roles: Vec<String>,
    /// The caller needs all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 253)))]
    pub scopes: Vec<String>,
    /// The caller needs all of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub claims: Vec<ClaimSpec>,
}
