//! What a rule asks of its callers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;

/// Whether callers must prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AuthenticationType {
    /// Open to everyone.
    None,
    /// One of the methods must hold.
    AnyOf,
}

/// Who may call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "self.type != 'None' || !has(self.methods)", "message": "type None takes no methods: leave them out, or write type AnyOf"}]))]
pub struct AuthenticationSpec {
    /// Whether callers must prove who they are.
    #[serde(rename = "type")]
    pub type_: AuthenticationType,
    /// Methods of the tenant, by name; none means any that the tenant declares.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 63)))]
    pub methods: Vec<String>,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}
