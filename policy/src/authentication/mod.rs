//! `authentication`: which of the tenant's methods a caller must satisfy.
//!
//! - Attaches to: a Tenant (the methods themselves), a Route or a rule (which of them).
//! - Runs at: [`crate::stage::Filter::Authentication`].
//! - Says no with: 401, reasons `credentials_missing`, `credentials_invalid`, `credentials_expired`; 403, reason
//!   `tenant_mismatch`, for two credentials of different tenants.
//! - When it cannot decide: 503, reason `policy_broken`, when a method that could not be compiled might have
//!   taken the caller and no other did. In `Audit` a request that would be refused goes on as nobody's.

mod any_of;
#[cfg(feature = "crd")]
mod compile;
mod ir;
#[cfg(feature = "crd")]
mod spec;

pub use any_of::{Authenticator, Methods};
#[cfg(feature = "crd")]
pub use compile::compile;
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
