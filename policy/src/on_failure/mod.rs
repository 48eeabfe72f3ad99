//! `onFailure`: a request that the upstream did not answer is kept as a dead letter.
//!
//! - Attaches to: a Tenant, a Route or a rule; the nearest applies, to POST, PUT, PATCH and DELETE.
//! - Runs at: after [`crate::stage::Filter::Retry`], beside the fallback; the body is copied while it passes.
//! - Says no with: nothing; the answer is what it would be without, and says what was kept.
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
