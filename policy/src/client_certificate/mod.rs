//! `clientCertificate`: the certificate that a sender showed to the proxy in front, as that proxy tells it.
//!
//! - Attaches to: a WebhookSource.
//! - Runs at: [`crate::stage::Filter::ClientCertificate`], before a body byte is read.
//! - Says no with: 403, reason `client_certificate_refused`.
//! - When it cannot decide: refuses. Without a trusted proxy nobody can say which certificate was shown.

#[cfg(feature = "crd")]
mod compile;
mod identity;
mod ir;
#[cfg(feature = "crd")]
mod spec;
mod subject;

#[cfg(feature = "crd")]
pub use compile::compile;
pub use identity::{ClientIdentity, IdentityError};
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
