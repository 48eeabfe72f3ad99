//! `requestTransform, responseTransform`: how requests and answers are changed. Not enforced by this version, which refuses it by name rather than ignore it.
//!
//! - Attaches to: a rule of a Route.
//! - Runs at: around forwarding.
//! - Says no with: nothing yet: this version does not compile a rule that has transforms, and says so.
//! - When it cannot decide: does not run: the rule keeps the traffic part of its last good.

mod spec;

pub use spec::*;
