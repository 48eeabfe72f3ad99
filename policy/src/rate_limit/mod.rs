//! `RateLimitPolicy`: at most so many requests in a window, per tenant or per caller.
//!
//! - Attaches to: a Tenant, a Route, a rule of it, or a WebhookSource.
//! - Runs at: [`crate::stage::Filter::RateLimit`]; the limit on failures at [`crate::stage::Filter::Failures`].
//! - Says no with: 429, reasons `rate_limited` and `too_many_failures`, and `Retry-After`.
//! - When it cannot decide: it always can; the counts are this process's own.

mod buckets;
#[cfg(feature = "crd")]
mod compile;
mod failures;
mod ir;
pub mod key;
mod limiter;
mod limits;
#[cfg(feature = "crd")]
mod spec;

#[cfg(feature = "crd")]
pub use compile::{compile, compile_broken, compile_ceiling};
pub use failures::Failures;
pub use ir::*;
pub use limiter::{Bucket, Level, Rate};
pub use limits::{LimitCounts, Limits, MAX_CALLERS_PER_LIMIT, Standing, Verdict};
#[cfg(feature = "crd")]
pub use spec::*;
