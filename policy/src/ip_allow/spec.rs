//! What a user writes for which addresses may call.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mode::Mode;

/// Countries (ISO 3166-1 alpha-2). An address that is in no country passes `deny`, and not `allow`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CountriesSpec {
    /// Only these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 249), extend("x-kubernetes-list-type" = "set"), inner(length(min = 2, max = 2), regex(pattern = "^[A-Z]{2}$")))]
    pub allow: Vec<String>,
    /// Not these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 249), extend("x-kubernetes-list-type" = "set"), inner(length(min = 2, max = 2), regex(pattern = "^[A-Z]{2}$")))]
    pub deny: Vec<String>,
}

/// Address ranges in CIDR form; the longest prefix that holds the address decides, equal prefixes deny.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [{"rule": "has(self.allow) || has(self.deny) || has(self.countries)", "message": "name allow, deny or countries: an empty block says nothing"}]))]
pub struct IpAllowSpec {
    /// Allowed ranges; while empty, all that is not denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 49)))]
    pub allow: Vec<String>,
    /// Denied ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), extend("x-kubernetes-list-type" = "set"), inner(length(min = 1, max = 49)))]
    pub deny: Vec<String>,
    /// Where the address has to be besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub countries: Option<CountriesSpec>,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}

/// Addresses that may send; `allow` and `deny` as in a Route's `addresses`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SourceAddressesSpec {
    /// Providers whose ranges are allowed, as the installation provides them: Meta, Genesys, or another name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub providers: Vec<String>,
    /// Allowed ranges; while there are none, and no providers, all that is not denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 49)), extend("x-kubernetes-list-type" = "set"))]
    pub allow: Vec<String>,
    /// Denied ranges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 49)), extend("x-kubernetes-list-type" = "set"))]
    pub deny: Vec<String>,
    /// Where the address has to be besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub countries: Option<CountriesSpec>,
    /// Whether it enforces, audits or rests.
    #[serde(default)]
    pub mode: Mode,
}
