//! `WebhookSource`: who sends events in, how that is proven, and where the events go.
//!
//! - Attaches to: a host and path of its tenant, or to a shared source that verifies for it.
//! - Runs at: [`crate::stage::Filter::Authentication`], over the raw body; nothing has parsed it before.
//! - Says no with: 403, reasons `signature_missing`, `signature_invalid`, `timestamp_outside_window` (401 where
//!   [`Preset::unverified_status`] says so); 403 `handshake_refused`, `client_certificate_refused`; 400
//!   `payload_invalid`; per entry `unclaimed` and `tenant_mismatch`.
//! - When it cannot decide: a secret that is missing or malformed refuses, 503 `policy_broken`.

mod bounds;
#[cfg(feature = "crd")]
mod compile;
#[cfg(feature = "crd")]
mod doubts;
pub mod entry;
mod generic;
mod genesys;
pub mod handshake;
mod ir;
mod key;
pub mod last_good;
mod owners;
mod presets;
pub mod provider;
#[cfg(feature = "crd")]
mod recipe;
mod replay;
mod sanitise;
mod shape;
mod sign;
#[cfg(feature = "crd")]
mod spec;
mod stored;
mod verify;
mod whatsapp;

#[cfg(feature = "crd")]
pub use compile::{SourceSurroundings, compile};
pub use entry::{Entry, EntryIdentifiers, split};
pub use ir::*;
pub use owners::Owners;
pub use presets::Provider;
pub use provider::Preset;
pub use replay::{identify, in_window, is_forgotten};
pub use sanitise::sanitise;
pub use sign::{Sending, SignError};
#[cfg(feature = "crd")]
pub use spec::*;
pub use stored::stored;
pub use verify::{Called, RecipeError, Verified, Verifier};

#[cfg(test)]
mod events_tests;
