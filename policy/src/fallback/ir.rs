//! What is answered when the upstream cannot be.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A fixed answer in place of the gateway's own 502, 503 or 504.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackIr {
    /// Its status, 200 to 599.
    pub status: u16,
    /// Its `content-type`.
    pub content_type: Arc<str>,
    /// Its body.
    pub body: Arc<str>,
}
