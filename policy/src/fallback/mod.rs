//! `fallback`: a fixed answer when the upstream has none.
//!
//! - Attaches to: a Tenant, a Route or a rule; the nearest applies.
//! - Runs at: after [`crate::stage::Filter::Retry`], in place of the gateway's own 502, 503 or 504.
//! - Says no with: nothing; it answers for an upstream that cannot.
//! - When it cannot decide: a block that does not compile leaves the rule's last-good traffic part in force.

#[cfg(feature = "crd")]
mod compile;
mod ir;
#[cfg(feature = "crd")]
mod spec;

#[cfg(feature = "crd")]
pub use compile::*;
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
