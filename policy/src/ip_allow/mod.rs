//! `addresses` and `sourceAddresses`: which source addresses may call.
//!
//! - Attaches to: a Tenant, a Route, a rule, or a WebhookSource.
//! - Runs at: [`crate::stage::Filter::Addresses`].
//! - Says no with: 403, reason `address_denied`; 503, reason `policy_broken`, to an address that only ranges hold
//!   which are past their maximum age.
//! - When it cannot decide: refuses. A block that does not compile breaks its rule or source; a country that
//!   cannot be looked up is denied.

#[cfg(feature = "crd")]
mod compile;
mod countries;
mod ir;
#[cfg(feature = "crd")]
mod providers;
mod ranges;
#[cfg(feature = "crd")]
mod spec;

#[cfg(feature = "crd")]
pub use compile::{compile, compile_source};
pub use countries::{CountryCode, CountryCodeError};
pub use ir::*;
#[cfg(feature = "crd")]
pub use providers::{MAX_RANGES, ProviderRanges, ProviderRangesSpec, compile_ranges};
pub use ranges::{AddressRanges, plain};
#[cfg(feature = "crd")]
pub use spec::*;
