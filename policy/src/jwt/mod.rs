//! `jwt`: callers that show a signed token (RFC 7519) of an issuer that the tenant trusts.
//!
//! - Attaches to: a Tenant, which declares the method; Routes and rules choose it by name.
//! - Runs at: [`crate::stage::Filter::Authentication`].
//! - Says no with: 401, reasons `credentials_missing`, `credentials_invalid`, `credentials_expired`; 403,
//!   reason `tenant_mismatch`, for a token that names no tenant where it must.
//! - When it cannot decide: a method that does not compile is broken, and what needs it gets 503 `policy_broken`.

mod cache;
mod claims;
#[cfg(feature = "crd")]
mod compile;
pub mod crypto;
#[cfg(feature = "crd")]
mod der;
mod ir;
mod json;
#[cfg(feature = "crd")]
mod keys;
#[cfg(feature = "crd")]
mod spec;
mod token;
mod verify;

pub use cache::{MAX_CACHED_TOKEN_BYTES, MAX_CACHED_TOKENS, TokenCache};
pub use claims::claim_at;
#[cfg(feature = "crd")]
pub(crate) use compile::claim_path;
#[cfg(feature = "crd")]
pub use compile::compile;
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
pub use token::MAX_TOKEN_BYTES;
#[cfg(test)]
pub(crate) use verify::tests as verify_tests;
pub use verify::{JwtMethod, MAX_KEYS, MethodError, Verified};
