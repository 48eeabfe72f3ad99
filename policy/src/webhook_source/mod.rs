//! `WebhookSource`: whose signature a webhook must carry.
//!
//! - Attaches to: nothing; it has hostnames and a path of its own.
//! - Runs at: [`crate::stage::Filter::Authenticate`].
//! - Says no with: 401, reason `signature_missing`, `signature_invalid` or `timestamp_outside_window`.
//! - When it cannot decide: it refuses; a verifier without a usable secret cannot be built.

mod ir;
pub mod presets;
mod recipe;
mod verify;

pub use ir::*;
pub use recipe::*;
pub use verify::*;
