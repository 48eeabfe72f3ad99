//! `addresses`: which source addresses may call.
//!
//! - Attaches to: a Tenant, a Route, a rule, or a WebhookSource.
//! - Runs at: [`crate::stage::Filter::Addresses`].
//! - Says no with: 403, reason `address_denied`.
//! - When it cannot decide: it always can; a block that does not compile breaks its rule, which refuses.

#[cfg(feature = "crd")]
mod compile;
mod ir;
mod ranges;
#[cfg(feature = "crd")]
mod spec;

#[cfg(feature = "crd")]
pub use compile::compile;
pub use ir::*;
pub use ranges::AddressRanges;
#[cfg(feature = "crd")]
pub use spec::*;
