//! New keys.

use std::fmt::Write;

use ring::digest::{SHA256, digest};

/// How many random bytes a key is made of: 256 bits, of which the prefix shows 16.
pub const KEY_RANDOM_BYTES: usize = 32;

/// What every key starts with, so that people and secret scanners know one when they see it.
const BRAND: &str = "pk_live_";

/// How many characters of a key people may see.
const PREFIX_CHARS: usize = 12;

/// A new key. It shows itself once, to whom it is for; `Debug` prints the prefix.
#[derive(Clone, PartialEq, Eq)]
pub struct GeneratedKey {
    key: String,
    /// What people may see of the key.
    pub prefix: String,
    /// SHA-256 of the whole key: what the Secret keeps.
    pub sha256: [u8; 32],
}

impl GeneratedKey {
    /// The key itself; named so that every place which looks can be found.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.key
    }

    /// The digest as the Secret's `sha256` says it.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        hex(&self.sha256)
    }
}

impl std::fmt::Debug for GeneratedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GeneratedKey({}..)", self.prefix)
    }
}

/// Makes a key of random bytes, which the caller takes from the system.
#[must_use]
pub fn generate(random: &[u8; KEY_RANDOM_BYTES]) -> GeneratedKey {
    let key = format!("{BRAND}{}", hex(random));
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, key.as_bytes()).as_ref());
    let prefix = key.chars().take(PREFIX_CHARS).collect();
    GeneratedKey { key, prefix, sha256 }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_brand_its_prefix_and_all_its_random_bytes() {
        let key = generate(&[0xab; KEY_RANDOM_BYTES]);
        assert!(key.reveal().starts_with(&key.prefix));
        assert_eq!(key.prefix, "pk_live_abab");
        assert_eq!(key.reveal().len(), BRAND.len() + 2 * KEY_RANDOM_BYTES);
        assert_eq!(digest(&SHA256, key.reveal().as_bytes()).as_ref(), key.sha256);
        assert_eq!(key.sha256_hex().len(), 64);
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = generate(&[0xcd; KEY_RANDOM_BYTES]);
        assert_eq!(format!("{key:?}"), "GeneratedKey(pk_live_cdcd..)");
    }
}
