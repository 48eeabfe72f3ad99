//! What whoever runs the gateway provides beside the objects, as far as compile has to know it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ip_allow::ProviderRanges;

/// One installation's own data. The default provides nothing, so whatever needs something is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// The ranges that providers publish, by provider.
    pub provider_ranges: BTreeMap<Arc<str>, Arc<ProviderRanges>>,
    /// How old ranges may be before they allow nobody; `None`: they are kept however old they are.
    pub max_age_secs: Option<u32>,
    /// Whether the dataplane has a country database.
    pub country_database: bool,
}
