//! `Route`: which requests go where, and under which policies.
//!
//! - Attaches to: the hostnames of its tenant.
//! - Runs at: matching, before every filter of [`crate::stage::Filter`].
//! - Says no with: 404 `unknown_host` or `no_route`, 405 `method_not_allowed`, 503 `not_programmed`.
//! - When it cannot decide: a rule whose traffic part could not be compiled uses that of the last-good rule with equal
//!   hostnames and matches; without one it answers 503 `not_programmed` (`last_good`).

#[cfg(feature = "crd")]
mod compile;
mod ir;
pub mod last_good;
pub mod matcher;
#[cfg(feature = "crd")]
mod matching;
pub mod paths;
#[cfg(feature = "crd")]
pub mod settings;
#[cfg(feature = "crd")]
mod spec;

#[cfg(feature = "crd")]
pub use compile::{Surroundings, compile, rule_name};
pub use ir::*;
pub use matcher::{MatchError, Matcher, Outcome, Place};
pub use paths::PathForm;
#[cfg(feature = "crd")]
pub use spec::*;
