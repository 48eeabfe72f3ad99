//! `securityHeaders`: what browsers are told about every answer.
//!
//! - Attaches to: a Tenant, a Route or a rule.
//! - Runs at: [`crate::stage::Filter::ResponseHeaders`].
//! - Says no with: nothing; it never refuses a request.
//! - When it cannot decide: it always can; a block that does not compile breaks its rule, which refuses.

#[cfg(feature = "crd")]
mod compile;
mod ir;
mod security;
#[cfg(feature = "crd")]
mod spec;

#[cfg(feature = "crd")]
pub use compile::compile;
pub use ir::*;
pub use security::{HeadersError, STRICT, SecurityHeaders};
#[cfg(feature = "crd")]
pub use spec::*;
