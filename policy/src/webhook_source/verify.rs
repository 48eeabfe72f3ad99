//! One engine that verifies every provider's requests over their raw bytes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use ring::{hmac, signature};
use subtle::ConstantTimeEq;

use super::{Encoding, PartIr, RecipeIr, SecretFormat, SignatureAlgorithm, SignatureList, TimeFormat, VerificationIr};
use crate::refusal::{Reason, Refusal};
use crate::secret::Secret;

/// Signatures that one request may carry; each costs a computation over the body.
const MAX_SIGNATURES: usize = 8;

/// Why a recipe cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// A header name in it is none.
    #[error("`{0}` is not a header name")]
    Header(Arc<str>),
    /// A secret is not written as the recipe says.
    #[error("secret {index} is not {wanted}")]
    Secret {
        /// Its place among the secrets.
        index: usize,
        /// What it should be.
        wanted: &'static str,
    },
    /// There is no secret.
    #[error("there is no secret to verify with")]
    NoSecret,
}

enum Key {
    Hmac(hmac::Key),
    Ed25519(signature::UnparsedPublicKey<Vec<u8>>),
    Token(Secret),
}

enum Part {
    Header(HeaderName),
    Literal(Arc<str>),
    Timestamp,
    Body,
}

/// A recipe with its keys, ready.
pub struct Verifier {
    header: HeaderName,
    prefix: Arc<str>,
    encoding: Encoding,
    list: SignatureList,
    signed: Vec<Part>,
    timestamp: Option<(Option<HeaderName>, TimeFormat, i64)>,
    keys: Vec<Key>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("header", &self.header).finish_non_exhaustive()
    }
}

fn name(text: &Arc<str>) -> Result<HeaderName, RecipeError> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| RecipeError::Header(text.clone()))
}

/// A secret's bytes, as the recipe says they are written.
pub(super) fn secret_bytes(secret: &Secret, format: SecretFormat, index: usize) -> Result<Vec<u8>, RecipeError> {
    let wrong = |wanted| RecipeError::Secret { index, wanted };
    let text = secret.reveal();
    let bytes = match format {
        SecretFormat::Text => text.to_vec(),
        SecretFormat::Hex => hex(text).ok_or_else(|| wrong("hexadecimal"))?,
        SecretFormat::Whsec => {
            let encoded = text.trim_ascii().strip_prefix(b"whsec_").unwrap_or_else(|| text.trim_ascii());
            STANDARD.decode(encoded).map_err(|_| wrong("base64, with or without `whsec_` before it"))?
        }
    };
    if bytes.is_empty() { Err(wrong("there: it is empty")) } else { Ok(bytes) }
}

fn key(secret: &Secret, recipe: &RecipeIr, index: usize) -> Result<Key, RecipeError> {
    let bytes = secret_bytes(secret, recipe.secret, index)?;
    let hmac = |algorithm| Key::Hmac(hmac::Key::new(algorithm, &bytes));
    Ok(match recipe.algorithm {
        SignatureAlgorithm::HmacSha1 => hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        SignatureAlgorithm::HmacSha256 => hmac(hmac::HMAC_SHA256),
        SignatureAlgorithm::HmacSha512 => hmac(hmac::HMAC_SHA512),
        SignatureAlgorithm::Ed25519 if bytes.len() == 32 => {
            Key::Ed25519(signature::UnparsedPublicKey::new(&signature::ED25519, bytes))
        }
        SignatureAlgorithm::Ed25519 => return Err(RecipeError::Secret { index, wanted: "a public key of 32 bytes" }),
        SignatureAlgorithm::Token => Key::Token(Secret::new(bytes)),
    })
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
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

fn missing(header: &HeaderName) -> Refusal {
    Refusal::new(Reason::SignatureMissing, format!("the header `{header}` is missing"))
}

fn invalid(detail: String) -> Refusal {
    Refusal::new(Reason::SignatureInvalid, detail)
}

/// The one value of a header field: of two, nobody could say which was signed.
fn single<'h>(headers: &'h HeaderMap, header: &HeaderName) -> Result<&'h str, Refusal> {
    let mut fields = headers.get_all(header).iter();
    let field = fields.next().ok_or_else(|| missing(header))?;
    if fields.next().is_some() {
        return Err(invalid(format!("the header `{header}` is there more than once")));
    }
    field.to_str().map_err(|_| invalid(format!("the header `{header}` is not ASCII")))
}

impl Verifier {
    /// Makes a recipe ready.
    ///
    /// # Errors
    /// [`RecipeError`]; the source refuses then.
    pub fn new(ir: &VerificationIr) -> Result<Self, RecipeError> {
        let VerificationIr { recipe, secrets, handshake: _ } = ir;
        if secrets.is_empty() {
            return Err(RecipeError::NoSecret);
        }
        let part = |part: &PartIr| {
            Ok(match part {
                PartIr::Header(header) => Part::Header(name(header)?),
                PartIr::Literal(text) => Part::Literal(text.clone()),
                PartIr::Timestamp => Part::Timestamp,
                PartIr::Body => Part::Body,
            })
        };
        let keys = secrets.iter().enumerate().map(|(index, secret)| key(secret, recipe, index));
        let timestamp = recipe.timestamp.as_ref();
        let timestamp = timestamp
            .map(|at| Ok((at.header.as_ref().map(name).transpose()?, at.format, i64::from(at.tolerance_secs))));
        Ok(Self {
            header: name(&recipe.header)?,
            prefix: recipe.prefix.clone(),
            encoding: recipe.encoding,
            list: recipe.list,
            signed: recipe.signed.iter().map(part).collect::<Result<_, _>>()?,
            timestamp: timestamp.transpose()?,
            keys: keys.collect::<Result<_, _>>()?,
        })
    }

    /// Whether the sender of these bytes knew one of the secrets, and when it signed.
    ///
    /// # Errors
    /// A refusal that names the header field and never the signature that would have been right.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now_secs: i64) -> Result<(), Refusal> {
        let field = single(headers, &self.header)?;
        let timestamp = self.timestamp(headers, field)?;
        let signatures = self.signatures(field)?;
        let mut parts: Vec<&[u8]> = Vec::with_capacity(self.signed.len());
        for part in &self.signed {
            parts.push(match part {
                Part::Header(header) => single(headers, header)?.as_bytes(),
                Part::Literal(text) => text.as_bytes(),
                Part::Timestamp => timestamp.unwrap_or_default().as_bytes(),
                Part::Body => body,
            });
        }
        let known = signatures.iter().any(|given| self.keys.iter().any(|key| key.made(&parts, given)));
        if !known {
            let detail = format!("`{}` does not match the body; sign the raw bytes with an active secret", self.header);
            return Err(invalid(detail));
        }
        // The time counts only once it is known to be the sender's own.
        match (&self.timestamp, timestamp) {
            (Some((_, format, tolerance)), Some(text)) => in_window(text, *format, *tolerance, now_secs),
            _ => Ok(()),
        }
    }

    fn timestamp<'h>(&self, headers: &'h HeaderMap, field: &'h str) -> Result<Option<&'h str>, Refusal> {
        match &self.timestamp {
            None => Ok(None),
            Some((Some(header), ..)) => single(headers, header).map(Some),
            Some((None, ..)) => {
                let mut times = field.split(',').filter_map(|pair| pair.trim().strip_prefix("t="));
                match (times.next(), times.next()) {
                    (Some(time), None) => Ok(Some(time)),
                    _ => Err(invalid(format!("`{}` must carry one time as t=", self.header))),
                }
            }
        }
    }

    fn signatures(&self, field: &str) -> Result<Vec<Vec<u8>>, Refusal> {
        let separator = match self.list {
            SignatureList::Single => None,
            SignatureList::Spaces => Some(' '),
            SignatureList::Pairs => Some(','),
        };
        let given: Vec<&str> = separator.map_or_else(|| vec![field], |by| field.split(by).map(str::trim).collect());
        let given = given.into_iter().filter_map(|one| one.strip_prefix(&*self.prefix));
        let decoded: Vec<Vec<u8>> = given.take(MAX_SIGNATURES).filter_map(|one| self.decode(one)).collect();
        if decoded.is_empty() {
            let encoding = match self.encoding {
                Encoding::Hex => "lower-case hexadecimal",
                Encoding::Base64 => "base64",
            };
            return Err(invalid(format!("`{}` must be `{}` followed by {encoding}", self.header, self.prefix)));
        }
        Ok(decoded)
    }

    fn decode(&self, text: &str) -> Option<Vec<u8>> {
        if self.keys.iter().any(|key| matches!(key, Key::Token(_))) {
            return Some(text.as_bytes().to_vec());
        }
        match self.encoding {
            Encoding::Hex => hex(text.as_bytes()),
            Encoding::Base64 => STANDARD.decode(text).ok(),
        }
    }
}

impl Key {
    /// Whether this key made the signature. Constant in time for what it compares.
    fn made(&self, parts: &[&[u8]], given: &[u8]) -> bool {
        match self {
            Self::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                for part in parts {
                    context.update(part);
                }
                let made = context.sign();
                made.as_ref().ct_eq(given).into()
            }
            Self::Ed25519(key) => key.verify(&parts.concat(), given).is_ok(),
            Self::Token(secret) => secret.reveal().ct_eq(given).into(),
        }
    }
}

/// Two-sided: a time in the future is as wrong as an old one, or a recorded request could be kept for later.
fn in_window(text: &str, format: TimeFormat, tolerance_secs: i64, now_secs: i64) -> Result<(), Refusal> {
    let outside = |detail: String| Refusal::new(Reason::TimestampOutsideWindow, detail);
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = match format {
        TimeFormat::UnixSeconds => text.parse::<i64>().ok().filter(|_| digits),
        TimeFormat::UnixMillis => text.parse::<i64>().ok().filter(|_| digits).map(|millis| millis / 1000),
        TimeFormat::Rfc3339 => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second),
    };
    let seconds = seconds.ok_or_else(|| outside("the signed time cannot be read".to_owned()))?;
    if seconds.abs_diff(now_secs) > tolerance_secs.unsigned_abs() {
        let detail = format!(
            "the signed time is more than {tolerance_secs} s from the gateway's clock; sign again when sending"
        );
        return Err(outside(detail));
    }
    Ok(())
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
