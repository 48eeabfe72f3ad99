//! A schema as it travels.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A JSON Schema. Travels as text, which was read once by compile; the validator is built from it where it decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaIr {
    /// The schema document, at most [`super::MAX_SCHEMA_BYTES`].
    pub document: Arc<str>,
}
