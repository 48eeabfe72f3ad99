//! `Tenant`: whose hosts, methods, ceilings and identifiers these are.
//!
//! - Attaches to: the installation; it is cluster-scoped.
//! - Runs at: [`crate::stage::Filter::TenantAgreement`].
//! - Says no with: 403, reason `tenant_mismatch`.
//! - When it cannot decide: it always can; without a tenant there is no host, and so 404 `unknown_host`.

mod agreement;
#[cfg(feature = "crd")]
mod compile;
mod ir;
#[cfg(feature = "crd")]
mod spec;

pub use agreement::Agreement;
#[cfg(feature = "crd")]
pub use compile::*;
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
