//! `quotas`: at most so many requests in an hour, day or month of the calendar. Not enforced by this version, which refuses it by name rather than ignore it.
//!
//! - Attaches to: whatever its RateLimitPolicy targets.
//! - Runs at: [`crate::stage::Filter::RateLimit`].
//! - Says no with: nothing yet: this version does not compile a policy that has quotas, and says so.
//! - When it cannot decide: does not run: the policy is refused as a whole, so that nobody counts on a quota that is not counted.

mod spec;

pub use spec::*;
