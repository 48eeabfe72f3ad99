//! What is kept of a failed request.

use http::Method;
use serde::{Deserialize, Serialize};

/// A failed request becomes a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnFailureIr {
    /// How long it is kept.
    pub retention_secs: u64,
    /// The largest body that is kept, in bytes; a request with a larger one is not.
    pub max_body_size: u64,
}

impl OnFailureIr {
    /// Whether a request with this method is kept: one that means to change something.
    #[must_use]
    pub fn concerns(method: &Method) -> bool {
        [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method)
    }
}
