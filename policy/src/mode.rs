//! Whether a policy decides, only says what it would decide, or rests.

use serde::{Deserialize, Serialize};

/// The switch that every policy block carries as `mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Mode {
    /// Decide, and refuse what must be refused.
    #[default]
    Enforce,
    /// Decide and record `would_refuse`, but let the request through.
    Audit,
    /// Do not decide.
    Off,
}

impl Mode {
    /// Whether the policy runs at all.
    #[must_use]
    pub fn runs(self) -> bool {
        match self {
            Self::Enforce | Self::Audit => true,
            Self::Off => false,
        }
    }
}
