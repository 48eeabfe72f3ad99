//! Which addresses may call.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Address ranges. The longest prefix that holds the address decides; equal prefixes deny. An address
/// that no range holds is allowed only while `allow` is empty.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpAllowIr {
    /// Allowed ranges.
    pub allow: Vec<IpNet>,
    /// Denied ranges.
    pub deny: Vec<IpNet>,
}
