//! `upstream`: what requests and events are sent to.
//!
//! - Attaches to: nothing; rules and destinations name it.
//! - Runs at: no stage of its own; it is where a request goes after the last of them.
//! - Says no with: 503, reason `no_endpoint`, when no address of it may be used.
//! - When it cannot decide: an address that may not be reached is refused.

#[cfg(feature = "crd")]
mod compile;
mod guard;
mod ir;
#[cfg(feature = "crd")]
mod spec;

#[cfg(feature = "crd")]
pub use compile::*;
pub use guard::{AddressForbidden, AddressGuard};
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
