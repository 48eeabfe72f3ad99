//! `compression`: compressed answers and requests. Not enforced by this version, which refuses it by name rather than ignore it.
//!
//! - Attaches to: a Tenant, a Route or a rule.
//! - Runs at: around forwarding.
//! - Says no with: nothing yet: this version does not compile a rule to which it applies, and says so.
//! - When it cannot decide: does not run: the rule keeps the traffic part of its last good.

mod spec;

pub use spec::*;
