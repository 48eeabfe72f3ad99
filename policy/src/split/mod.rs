//! `split`: a caller who comes back stays on one side of a weighted split. Not enforced by this version, which refuses it by name rather than ignore it.
//!
//! - Attaches to: a rule of a Route.
//! - Runs at: where an upstream is chosen.
//! - Says no with: nothing yet: this version does not compile a rule that has it, and says so.
//! - When it cannot decide: does not run: the rule keeps the traffic part of its last good.

mod spec;

pub use spec::*;
