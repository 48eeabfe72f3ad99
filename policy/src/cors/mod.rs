//! `cors`: which web pages of other origins may call, and read the answers (Fetch standard).
//!
//! - Attaches to: a Tenant, a Route or a rule.
//! - Runs at: [`crate::stage::Filter::Cors`] for preflights, [`crate::stage::Filter::ResponseHeaders`] for answers.
//! - Says no with: 403, reason `origin_denied`, to preflights only; other requests get an answer that the
//!   browser keeps from the page.
//! - When it cannot decide: it always can; a block that does not compile breaks its rule, which refuses.

#[cfg(feature = "crd")]
mod compile;
mod ir;
mod origins;
#[cfg(feature = "crd")]
mod spec;

#[cfg(feature = "crd")]
pub use compile::compile;
pub use ir::*;
pub use origins::Cors;
#[cfg(feature = "crd")]
pub use spec::*;
