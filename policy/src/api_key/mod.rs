//! `apiKeys`: callers that show a key in a header field. Only SHA-256 digests of keys are kept.
//!
//! - Attaches to: a Tenant, which declares the method; Routes and rules choose it by name.
//! - Runs at: [`crate::stage::Filter::Authentication`].
//! - Says no with: 401, reasons `credentials_missing`, `credentials_invalid`, `credentials_expired`.
//! - When it cannot decide: a method that does not compile is broken, and what needs it gets 503 `policy_broken`.

#[cfg(feature = "crd")]
mod compile;
mod generate;
mod ir;
#[cfg(feature = "crd")]
mod spec;
mod verify;

#[cfg(feature = "crd")]
pub use compile::{MAX_KEYS, compile, parse_secret};
pub use generate::{GeneratedKey, KEY_RANDOM_BYTES, generate};
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
pub use verify::ApiKeys;
