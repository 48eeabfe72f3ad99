//! Whether credentials go on.

use serde::{Deserialize, Serialize};

/// The treatment of the API key by which a rule's method proved the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Credentials {
    /// It is removed before the request goes on.
    #[default]
    Remove,
    /// The upstream gets it.
    Forward,
}

impl Credentials {
    /// Returns whether this is the default, which is not sent.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
