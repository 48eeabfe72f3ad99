//! `introspection`: opaque tokens, asked of an authorization server. Not enforced by this version, which refuses it by name rather than ignore it.
//!
//! - Attaches to: a Tenant, as a method that Routes choose by name.
//! - Runs at: [`crate::stage::Filter::Authentication`].
//! - Says no with: nothing yet: this version refuses to compile the method, and a rule that needs it refuses with 503, reason `policy_broken`.
//! - When it cannot decide: refuses; an identity that was not checked is none.

mod spec;

pub use spec::*;
