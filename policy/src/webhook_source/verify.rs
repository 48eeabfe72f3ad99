//! Verifies a webhook's signature over the raw body, before anything parses it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use ring::{hmac, signature};
use subtle::ConstantTimeEq as _;

use super::recipe::{Algorithm, Encoding, Layout, Part, Recipe, SecretForm};
use crate::refusal::{Reason, Refusal};
use crate::secret::Secret;

/// How many signatures of one header are tried; a sender that rotates sends two.
pub const MAX_SIGNATURES: usize = 16;

/// A recipe and its secrets that cannot verify anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeProblem {
    /// There is nothing to verify with.
    #[error("no secret is given")]
    NoSecret,
    /// The secret at this place is empty or not in the form that the recipe says.
    #[error("secret {0} is empty, or not in the form that this provider hands out")]
    Secret(usize),
    /// A signature that does not cover the body protects nothing.
    #[error("the signed parts do not include the body")]
    BodyUnsigned,
    /// The time could be changed by anyone who has seen one request.
    #[error("the timestamp header is not among the signed parts")]
    TimestampUnsigned,
}

enum Key {
    Hmac(hmac::Key),
    Ed25519(signature::UnparsedPublicKey<Vec<u8>>),
    Token(Secret),
}

/// A recipe with its keys, ready to verify.
pub struct Verifier {
    recipe: Recipe,
    keys: Vec<Key>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("recipe", &self.recipe).field("keys", &self.keys.len()).finish()
    }
}

impl Verifier {
    /// Prepares the keys. All secrets are active, so that one can be rotated without a lost event.
    ///
    /// # Errors
    /// When there is no secret, one is not in its form, or the recipe leaves the body or its time unsigned.
    pub fn new(recipe: Recipe, secrets: &[Secret]) -> Result<Self, RecipeProblem> {
        if secrets.is_empty() {
            return Err(RecipeProblem::NoSecret);
        }
        if recipe.algorithm != Algorithm::Token && !recipe.signed.contains(&Part::Body) {
            return Err(RecipeProblem::BodyUnsigned);
        }
        if let Some(time) = &recipe.timestamp {
            let signs = |part: &Part| matches!(part, Part::Header(name) if name.eq_ignore_ascii_case(&time.header));
            if !recipe.signed.iter().any(signs) {
                return Err(RecipeProblem::TimestampUnsigned);
            }
        }
        let key = |(place, secret)| key(&recipe, secret).ok_or(RecipeProblem::Secret(place));
        let keys = secrets.iter().enumerate().map(key).collect::<Result<_, _>>()?;
        Ok(Self { recipe, keys })
    }

    /// Whether these headers sign this body, at this time.
    ///
    /// # Errors
    /// `signature_missing`, `signature_invalid` or `timestamp_outside_window`, with the header's name.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now_secs: u64) -> Result<(), Refusal> {
        let header = self.recipe.header.as_str();
        let value = required(headers, header)?;
        let mut signed = Vec::with_capacity(self.recipe.signed.len());
        for part in &self.recipe.signed {
            signed.push(match part {
                Part::Header(name) => required(headers, name)?,
                Part::Literal(text) => text.as_bytes(),
                Part::Body => body,
            });
        }
        let candidates = self.candidates(value);
        if candidates.is_empty() {
            return Err(invalid(header, "is not written in the form that this source expects"));
        }
        if !self.keys.iter().any(|key| candidates.iter().any(|given| matches(key, &signed, given))) {
            return Err(invalid(header, "does not match the body; sign the raw bytes with the secret of this source"));
        }
        self.in_window(headers, now_secs)
    }

    fn candidates(&self, value: &[u8]) -> Vec<Vec<u8>> {
        let Ok(value) = std::str::from_utf8(value) else { return Vec::new() };
        let decode = |text: &str| match (self.recipe.algorithm, self.recipe.encoding) {
            (Algorithm::Token, _) => Some(text.as_bytes().to_vec()),
            (_, Encoding::Hex) => unhex(text),
            (_, Encoding::Base64) => STANDARD.decode(text).ok(),
        };
        match &self.recipe.layout {
            Layout::One(prefix) => value.strip_prefix(prefix.as_str()).and_then(decode).into_iter().collect(),
            Layout::List { separator, prefix } => value
                .split(*separator)
                .filter_map(|item| item.strip_prefix(prefix.as_str()))
                .take(MAX_SIGNATURES)
                .filter_map(decode)
                .collect(),
        }
    }

    fn in_window(&self, headers: &HeaderMap, now_secs: u64) -> Result<(), Refusal> {
        let Some(time) = &self.recipe.timestamp else { return Ok(()) };
        let text = std::str::from_utf8(required(headers, &time.header)?).unwrap_or_default();
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let Some(at) = text.parse::<u64>().ok().filter(|_| digits) else {
            return Err(invalid(&time.header, "is not a time in whole seconds since 1970"));
        };
        if at.abs_diff(now_secs) <= time.tolerance_secs {
            return Ok(());
        }
        let detail = format!(
            "The time in `{}` is more than {} s from now; sign each attempt anew and check the sender's clock.",
            time.header, time.tolerance_secs
        );
        Err(Refusal::new(Reason::TimestampOutsideWindow, detail))
    }
}

fn key(recipe: &Recipe, secret: &Secret) -> Option<Key> {
    let text = || std::str::from_utf8(secret.reveal()).ok();
    let bytes = match &recipe.secret {
        SecretForm::Raw => secret.reveal().to_vec(),
        SecretForm::Base64After(prefix) => STANDARD.decode(text()?.strip_prefix(prefix.as_str())?).ok()?,
        SecretForm::Hex => unhex(text()?)?,
    };
    if bytes.is_empty() {
        return None;
    }
    let hmac = |algorithm| Key::Hmac(hmac::Key::new(algorithm, &bytes));
    Some(match recipe.algorithm {
        Algorithm::HmacSha1 => hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
        Algorithm::HmacSha256 => hmac(hmac::HMAC_SHA256),
        Algorithm::HmacSha512 => hmac(hmac::HMAC_SHA512),
        Algorithm::Ed25519 if bytes.len() != 32 => return None,
        Algorithm::Ed25519 => Key::Ed25519(signature::UnparsedPublicKey::new(&signature::ED25519, bytes)),
        Algorithm::Token => Key::Token(Secret::new(bytes)),
    })
}

fn matches(key: &Key, signed: &[&[u8]], given: &[u8]) -> bool {
    match key {
        Key::Hmac(key) => {
            let mut context = hmac::Context::with_key(key);
            signed.iter().for_each(|part| context.update(part));
            context.sign().as_ref().ct_eq(given).into()
        }
        Key::Ed25519(key) => key.verify(&signed.concat(), given).is_ok(),
        Key::Token(token) => token.reveal().ct_eq(given).into(),
    }
}

/// The one value of a header; two could be read in two ways, so they are refused.
fn required<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h [u8], Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        let detail = format!("The header `{name}` is missing; this source takes signed requests only.");
        return Err(Refusal::new(Reason::SignatureMissing, detail));
    };
    if values.next().is_some() {
        return Err(invalid(name, "is there more than once; send it once"));
    }
    Ok(value.as_bytes())
}

fn invalid(header: &str, what: &str) -> Refusal {
    Refusal::new(Reason::SignatureInvalid, format!("The header `{header}` {what}."))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { Some(digit(*high)? << 4 | digit(*low)?) } else { None }).collect()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
