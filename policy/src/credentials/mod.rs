//! What an upstream is told of a caller, and what becomes of the credential that proved it.
//!
//! - Attaches to: a rule of a Route (`credentials`); the fields are on every request.
//! - Runs at: the head that goes to the upstream, after every filter.
//! - Refuses with: nothing.
//! - When it cannot decide: a value that cannot stand in a header field is percent-encoded; there is nothing to look up.

mod fields;
mod ir;

pub use fields::{AUTH, CALLER, NOBODY, ROLES, TENANT, VERIFIED, caller, roles};
pub use ir::Credentials;
