//! What a user writes for client certificates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::reference::SecretRef;

/// One client-certificate method of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MutualTlsSpec {
    /// The method's name, by which Routes choose it.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The Secret with the certificate authorities (`ca.crt`).
    pub ca_secret_ref: SecretRef,
}
