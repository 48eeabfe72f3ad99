//! A secret as a key: read as the provider writes it, and asked whether it made a signature.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{hmac, signature};
use subtle::ConstantTimeEq;

use super::verify::RecipeError;
use super::{RecipeIr, SecretFormat, SignatureAlgorithm};
use crate::secret::Secret;

/// What X.509 writes before the point of a P-256 key: its algorithm and its length (RFC 5480).
const P256_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

enum Material {
    Hmac(hmac::Key),
    PublicKey(signature::UnparsedPublicKey<Vec<u8>>),
    Token(Secret),
}

/// One active secret.
pub(super) struct Key {
    /// What stands before its signatures.
    pub(super) prefix: Arc<str>,
    material: Material,
}

/// A secret's bytes, as the recipe says they are written.
fn secret_bytes(secret: &Secret, format: SecretFormat, index: usize) -> Result<Vec<u8>, RecipeError> {
    let wrong = |wanted| RecipeError::Secret { index, wanted };
    let text = secret.reveal();
    let bytes = match format {
        SecretFormat::Text => text.to_vec(),
        SecretFormat::Hex => hex(text).ok_or_else(|| wrong("hexadecimal"))?,
        SecretFormat::Whsec => {
            let encoded = text.trim_ascii().strip_prefix(b"whsec_").unwrap_or_else(|| text.trim_ascii());
            STANDARD.decode(encoded).map_err(|_| wrong("base64, with or without `whsec_` before it"))?
        }
        SecretFormat::P256 => {
            let wrong = || wrong("a public key on P-256 in base64, without PEM's first and last line");
            let decoded = STANDARD.decode(text.trim_ascii()).map_err(|_| wrong())?;
            let point = decoded.strip_prefix(&P256_HEAD).filter(|point| point.len() == 65);
            point.ok_or_else(wrong)?.to_vec()
        }
    };
    if bytes.trim_ascii().is_empty() { Err(wrong("there: it is blank")) } else { Ok(bytes) }
}

fn ed25519(bytes: Vec<u8>, index: usize) -> Result<Material, RecipeError> {
    if bytes.len() != 32 {
        return Err(RecipeError::Secret { index, wanted: "a public key of 32 bytes" });
    }
    Ok(Material::PublicKey(signature::UnparsedPublicKey::new(&signature::ED25519, bytes)))
}

impl Key {
    pub(super) fn new(secret: &Secret, recipe: &RecipeIr, index: usize) -> Result<Self, RecipeError> {
        let public = secret.reveal().trim_ascii().strip_prefix(b"whpk_");
        if let (Some(prefix), Some(encoded)) = (&recipe.public_key_prefix, public) {
            let wrong = |_| RecipeError::Secret { index, wanted: "base64 after `whpk_`" };
            let material = ed25519(STANDARD.decode(encoded).map_err(wrong)?, index)?;
            return Ok(Self { prefix: prefix.clone(), material });
        }
        let bytes = secret_bytes(secret, recipe.secret, index)?;
        let hmac = |algorithm| Material::Hmac(hmac::Key::new(algorithm, &bytes));
        let material = match recipe.algorithm {
            SignatureAlgorithm::HmacSha1 => hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            SignatureAlgorithm::HmacSha256 => hmac(hmac::HMAC_SHA256),
            SignatureAlgorithm::HmacSha512 => hmac(hmac::HMAC_SHA512),
            SignatureAlgorithm::Ed25519 => ed25519(bytes, index)?,
            SignatureAlgorithm::EcdsaP256 => {
                Material::PublicKey(signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, bytes))
            }
            SignatureAlgorithm::Token => Material::Token(Secret::new(bytes)),
        };
        Ok(Self { prefix: recipe.prefix.clone(), material })
    }

    /// Whether what it is compared with is text and no encoded signature.
    pub(super) fn is_token(&self) -> bool {
        matches!(self.material, Material::Token(_))
    }

    /// Returns whether a check costs much.
    pub(super) fn is_public(&self) -> bool {
        matches!(self.material, Material::PublicKey(_))
    }

    /// Whether this key made one of the signatures. Constant in time for what it compares.
    pub(super) fn made(&self, parts: &[Cow<'_, [u8]>], given: &[Vec<u8>]) -> bool {
        match &self.material {
            Material::Hmac(key) => {
                let made = tag(key, parts);
                given.iter().any(|given| made.as_ref().ct_eq(given).into())
            }
            Material::PublicKey(key) => {
                let message = parts.concat();
                given.iter().any(|given| key.verify(&message, given).is_ok())
            }
            Material::Token(secret) => given.iter().any(|given| secret.reveal().ct_eq(given).into()),
        }
    }

    /// The signature that this key makes; none for a key that cannot.
    pub(super) fn sign(&self, parts: &[Cow<'_, [u8]>]) -> Option<Vec<u8>> {
        match &self.material {
            Material::Hmac(key) => Some(tag(key, parts).as_ref().to_vec()),
            Material::PublicKey(_) | Material::Token(_) => None,
        }
    }
}

fn tag(key: &hmac::Key, parts: &[Cow<'_, [u8]>]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign()
}

/// Lower-case hexadecimal.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// Bytes out of hexadecimal in lower or upper case (RFC 4648, 8); .NET writes the latter.
pub(super) fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    };
    let pairs = text.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect()
}
