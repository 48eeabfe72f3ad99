//! Which addresses may call.

use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::CountryCode;

/// Address ranges. The longest prefix that holds the address decides; equal prefixes deny. An address
/// that no range holds is allowed only while nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpAllowIr {
    /// Allowed ranges.
    pub allow: Vec<IpNet>,
    /// Denied ranges.
    pub deny: Vec<IpNet>,
    /// Ranges that providers publish, allowed for as long as they are fresh.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderIr>,
    /// Where the address has to be besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub countries: Option<CountriesIr>,
}

/// What one provider publishes. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderIr {
    /// The provider.
    pub provider: Arc<str>,
    /// When it was so, in seconds since the epoch.
    pub date_secs: i64,
    /// From when on it allows nobody, in seconds since the epoch; `None`: never.
    pub old_from_secs: Option<i64>,
    /// Its ranges.
    pub ranges: Vec<IpNet>,
}

/// Countries. Not both empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountriesIr {
    /// Only these, unless it is empty.
    pub allow: Vec<CountryCode>,
    /// Not these.
    pub deny: Vec<CountryCode>,
}
