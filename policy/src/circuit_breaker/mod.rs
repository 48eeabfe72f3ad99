//! `circuitBreaker`: an upstream that keeps failing is given a rest.
//!
//! - Attaches to: a Route or a rule of it; each of its upstreams gets a breaker of its own.
//! - Runs at: [`crate::stage::Filter::CircuitBreaker`].
//! - Says no with: 503, reason `breaker_open`.
//! - When it cannot decide: it always can; the counts are this process's own.

mod breaker;
#[cfg(feature = "crd")]
mod compile;
mod ir;
#[cfg(feature = "crd")]
mod spec;
mod window;

pub use breaker::{Breaker, BreakerOpen, BreakerState, Permit, is_failure};
#[cfg(feature = "crd")]
pub use compile::*;
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
