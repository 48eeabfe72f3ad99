//! What a user writes for tokens.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Algorithm, RolesFormat};
use crate::reference::SecretKeyRef;
use crate::units::DurationText;

/// Where a token's keys come from: exactly one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "[has(self.jwksURI), has(self.secretRef), has(self.inline), has(self.oidcDiscovery)].filter(x, x).size() == 1", "message": "name exactly one of jwksURI, secretRef, inline, oidcDiscovery"}, {"rule": "!(has(self.refresh) || has(self.maxStale)) || has(self.jwksURI) || has(self.oidcDiscovery)", "message": "refresh and maxStale are for keys that are fetched"}]))]
pub struct JwtKeysSpec {
    /// A JWK Set fetched from here.
    #[serde(rename = "jwksURI", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://"))]
    pub jwks_uri: Option<String>,
    /// A JWK Set, a PEM public key, or the bytes of a shared secret, in a Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretKeyRef>,
    /// A JWK Set, written here; public keys only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536))]
    pub inline: Option<String>,
    /// The issuer whose `/.well-known/openid-configuration` names the JWK Set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = "^https?://"))]
    pub oidc_discovery: Option<String>,
    /// How often fetched keys are fetched again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh: Option<DurationText>,
    /// For how long fetched keys stay good while they cannot be fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stale: Option<DurationText>,
}

/// A claim that holds roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RolesFromSpec {
    /// The claim's path: names of nested objects with dots between them.
    #[schemars(length(min = 1, max = 253))]
    pub claim: String,
    /// How to read it.
    #[serde(default = "list")]
    pub format: RolesFormat,
}

fn list() -> RolesFormat {
    RolesFormat::List
}

/// A claim that the upstream gets as a header field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardSpec {
    /// The claim's path.
    #[schemars(length(min = 1, max = 253))]
    pub claim: String,
    /// The header field.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9!#$%&'*+.^_|~-]+$"))]
    pub header: String,
}

/// One JWT method of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct JwtSpec {
    /// Its name, by which Routes choose it.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Exactly what `iss` must be.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,
    /// `aud` must hold one of these.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 253)))]
    pub audiences: Vec<String>,
    /// The algorithms that keys may be bound to.
    #[schemars(length(min = 1, max = 12), extend("x-kubernetes-list-type" = "set"))]
    pub algorithms: Vec<Algorithm>,
    /// The keys.
    pub keys: JwtKeysSpec,
    /// How far `exp` and `nbf` may be off; 30s when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<DurationText>,
    /// The claim that must name this tenant; its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tenant_claim: Option<String>,
    /// Where roles come from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub roles_from: Vec<RolesFromSpec>,
    /// What the upstream is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["header"]))]
    pub forward: Vec<ForwardSpec>,
}
