//! Bytes that must never be printed.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A secret: it travels inside a snapshot, and shows itself to nobody. `Debug` prints `Secret(..)`.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Wraps the bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// Returns whether it has no byte but white space: everybody knows such a secret.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.0.iter().all(u8::is_ascii_whitespace)
    }

    /// The bytes themselves; named so that every place which looks can be found.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_alone_is_blank() {
        for (text, blank) in [("", true), (" \t\r\n", true), (" x", false), ("\0", false)] {
            assert_eq!(Secret::new(text.as_bytes()).is_blank(), blank, "{text:?}");
        }
    }
}
