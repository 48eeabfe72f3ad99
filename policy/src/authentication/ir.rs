//! Which of the tenant's methods a rule takes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a rule asks of its callers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuthenticationIr {
    /// Open to everyone; written out, never assumed.
    None,
    /// One of these methods, by name. The methods themselves travel with the tenant, so that a key that is
    /// revoked there is revoked here too. Never empty.
    AnyOf(Vec<Arc<str>>),
}
