//! `authorization`: what a caller may do, by method, role, scope and claim.
//!
//! - Attaches to: a Tenant, a Route or a rule.
//! - Runs at: [`crate::stage::Filter::Authorization`].
//! - Says no with: 403, reason `not_authorized`.
//! - When it cannot decide: it always can; a block that does not compile breaks its rule, which refuses.

#[cfg(feature = "crd")]
mod compile;
mod grants;
mod ir;
#[cfg(feature = "crd")]
mod spec;

#[cfg(feature = "crd")]
pub use compile::{compile, compile_claim};
pub use grants::authorize;
pub(crate) use grants::has_claim;
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
