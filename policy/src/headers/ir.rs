//! Security headers on answers, and header fields set or removed on the way.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Header fields that every answer of the rule carries, unless the upstream set the field itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityHeadersIr {
    /// Name (lower case) and value.
    pub set: Vec<(Arc<str>, Arc<str>)>,
}
