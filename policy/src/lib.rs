//! What users declare, and how it decides.
//!
//! One folder per policy. Each holds the policy's three shapes and what joins them: `spec` (what a user
//! writes), `ir` (what travels to the dataplane), the decider (what answers a request), and `compile`
//! (spec to IR, or all problems). This crate is pure: it never awaits, opens a file, logs, or reads a
//! clock or the environment. Whatever a decision needs is an argument.
//!
//! The feature `crd` adds the user's side (`spec`, `compile`); the dataplane is built without it.

pub mod attach;
#[cfg(feature = "crd")]
pub mod crd;
pub mod error;
mod exact;
#[cfg(test)]
#[cfg(feature = "crd")]
mod golden;
#[cfg(feature = "crd")]
pub mod installation;
pub mod mode;
pub mod names;
pub mod problem;
#[cfg(feature = "crd")]
pub mod reference;
#[cfg(feature = "crd")]
pub mod refs;
pub mod refusal;
pub mod request;
pub mod secret;
#[cfg(feature = "crd")]
pub mod settings;
pub mod snapshot;
pub mod stage;
#[cfg(feature = "crd")]
pub mod status;
#[cfg(feature = "crd")]
pub mod units;

pub mod api_key;
pub mod authentication;
pub mod authorization;
pub mod circuit_breaker;
pub mod client_certificate;
#[cfg(feature = "crd")]
pub mod compression;
pub mod cors;
pub mod costly;
pub mod credentials;
pub mod fallback;
pub mod headers;
#[cfg(feature = "crd")]
pub mod introspection;
pub mod ip_allow;
pub mod jwt;
#[cfg(feature = "crd")]
pub mod mutual_tls;
pub mod on_failure;
pub mod ordering;
#[cfg(feature = "crd")]
pub mod quota;
pub mod rate_limit;
pub mod retry;
pub mod route;
pub mod schema;
#[cfg(feature = "crd")]
pub mod split;
pub mod tenant;
#[cfg(feature = "crd")]
pub mod transform;
pub mod upstream;
pub mod webhook_source;
