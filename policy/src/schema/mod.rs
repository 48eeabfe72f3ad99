//! `requestSchema` and `schema`: what request bodies and events must look like (JSON Schema 2020-12 and draft-07).
//!
//! - Attaches to: a rule of a Route (`requestSchema`), or a WebhookSource (`schema`).
//! - Runs at: [`crate::stage::Filter::Schema`]; for a WebhookSource per event, after the split.
//! - Says no with: 422, reason `schema_invalid`; 400 `payload_invalid` for what is not JSON, 415 `media_type_unsupported`
//!   for what does not claim to be. An event that does not fit is dead-lettered, the request that brought it is not refused.
//! - When it cannot decide: refuses. A schema that cannot be used breaks its rule or source, which then refuses.

#[cfg(feature = "crd")]
mod compile;
mod ir;
mod json;
mod keywords;
mod media_type;
mod meter;
#[cfg(feature = "crd")]
mod spec;
mod survey;
mod validate;
#[cfg(test)]
mod validate_tests;
mod violation;

#[cfg(feature = "crd")]
pub use compile::compile;
pub use ir::*;
#[cfg(feature = "crd")]
pub use spec::*;
pub use survey::{Flaw, MAX_SCHEMA_BYTES};
pub use validate::{MAX_BODY_BYTES, Schema, SchemaError};
pub use violation::Violation;
