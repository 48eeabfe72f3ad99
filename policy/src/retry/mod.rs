//! `retry`: a request that failed is tried again, if that can do no harm.
//!
//! - Attaches to: a Route or a rule of it.
//! - Runs at: [`crate::stage::Filter::Retry`].
//! - Says no with: nothing of its own; the last attempt's answer stands.
//! - When it cannot decide: it always can; an empty budget means no more tries.

mod budget;
#[cfg(feature = "crd")]
mod compile;
mod decide;
mod ir;
#[cfg(feature = "crd")]
mod spec;

pub use budget::RetryBudget;
#[cfg(feature = "crd")]
pub use compile::*;
pub use decide::{Attempt, Ending, backoff, is_idempotent, may_retry};
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
