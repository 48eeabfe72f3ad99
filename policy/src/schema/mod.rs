//! `requestSchema`: what request bodies must look like. Not enforced by this version, which refuses it by name rather than ignore it.
//!
//! - Attaches to: a rule of a Route.
//! - Runs at: before forwarding.
//! - Says no with: nothing yet: this version refuses the rule with 503, reason `policy_broken`, since a body that was not checked must not pass.
//! - When it cannot decide: refuses.

mod spec;

pub use spec::*;
