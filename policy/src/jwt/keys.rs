//! Keys as issuers publish them: JWK Sets (RFC 7517), PEM, and shared secrets.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::{Algorithm, Family, JwtKeyIr, KeyMaterial, der, json};
use crate::problem::Problems;
use crate::secret::Secret;

/// RSA keys under this many bits have been broken, or soon will be.
const MIN_RSA_BITS: usize = 2048;
/// What ring takes at most.
const MAX_RSA_BITS: usize = 8192;

/// base64url as RFC 7515 has it, and with the padding that some issuers leave on it.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const PUBLISHED: &str = "take the key as the issuer publishes it";

/// What a Secret holds: a JWK Set, one PEM public key, or the bytes of a shared secret.
pub(super) fn from_secret(
    secret: &Secret,
    algorithms: &[Algorithm],
    mut problems: Problems<'_>,
) -> Option<Vec<JwtKeyIr>> {
    let bytes = secret.reveal();
    if bytes.trim_ascii_start().starts_with(b"{") {
        return from_jwks(bytes, algorithms, true, problems);
    }
    let material = match std::str::from_utf8(bytes) {
        Ok(text) if text.contains("-----BEGIN ") => match from_pem(text) {
            Ok(material) => material,
            Err((message, help)) => {
                problems.invalid(message, help);
                return None;
            }
        },
        // A line's end is an editor's, not the secret's.
        Ok(text) => KeyMaterial::Hmac(Secret::new(text.trim_end_matches(['\r', '\n']).as_bytes())),
        Err(_) => KeyMaterial::Hmac(Secret::new(bytes)),
    };
    match bind(None, material, algorithms) {
        Ok(key) => Some(vec![key]),
        Err(Unfit::Wrong(message, help)) => {
            problems.invalid(message, help);
            None
        }
        Err(Unfit::Unused(message)) => {
            problems.warn(message, UNUSED);
            problems.invalid("has no key that algorithms can use", "name the key's algorithm in algorithms");
            None
        }
    }
}

type Wrong = (&'static str, &'static str);

fn from_pem(text: &str) -> Result<KeyMaterial, Wrong> {
    if text.contains("PRIVATE KEY-----") {
        return Err(("holds a private key, which can sign tokens", "store the public key only: openssl pkey -pubout"));
    }
    if text.matches("-----BEGIN ").count() != 1 {
        return Err(("holds more than one PEM block", "store one public key, or a JWK Set for several"));
    }
    let bytes = text.trim().as_bytes();
    if let Ok(key) = DecodingKey::from_ec_pem(bytes) {
        let point = key.try_get_as_bytes().map(<[u8]>::to_vec).unwrap_or_default();
        return Ok(KeyMaterial::Ec(point));
    }
    if let Ok(key) = DecodingKey::from_ed_pem(bytes) {
        let public = key.try_get_as_bytes().map(<[u8]>::to_vec).unwrap_or_default();
        return Ok(KeyMaterial::Ed25519(public));
    }
    let wrong = ("holds PEM that is no public key of a known kind", "store an RSA, P-256, P-384 or Ed25519 public key");
    let key = DecodingKey::from_rsa_pem(bytes).map_err(|_| wrong)?;
    let (n, e) = key.try_get_as_bytes().ok().and_then(der::rsa_public_key).ok_or(wrong)?;
    Ok(KeyMaterial::Rsa { n, e })
}

/// Returns the keys of a JWK Set that can check these algorithms. Other keys are left out with a warning (RFC 7517, 5):
/// issuers publish keys for encryption, of unknown kinds and of the last decade in one set. A private key or a shared
/// secret that everybody may read is an error: the key is not a secret any more.
pub(super) fn from_jwks(
    text: &[u8],
    algorithms: &[Algorithm],
    secrets: bool,
    mut problems: Problems<'_>,
) -> Option<Vec<JwtKeyIr>> {
    let set = json::read(text).ok();
    let Some(list) = set.as_ref().and_then(|set| set.get("keys")).and_then(Value::as_array) else {
        problems.invalid("is no JWK Set", "write {\"keys\": [...]} as the issuer publishes it");
        return None;
    };
    let before = problems.errors();
    let mut keys = Vec::with_capacity(list.len());
    for (index, jwk) in list.iter().enumerate() {
        let mut problems = problems.at(format_args!("keys[{index}]"));
        match jwk.as_object() {
            Some(jwk) => keys.extend(from_jwk(jwk, algorithms, secrets, &mut problems)),
            None => problems.warn("is not a JSON object and is left out", PUBLISHED),
        }
    }
    if problems.errors() > before {
        return None;
    }
    if keys.is_empty() {
        let names: Vec<_> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
        problems.invalid(
            format!("has no key that can check {}", names.join(", ")),
            "add the key that the issuer signs with, or name its algorithm in algorithms",
        );
        return None;
    }
    Some(keys)
}

fn from_jwk(
    jwk: &Map<String, Value>,
    algorithms: &[Algorithm],
    secrets: bool,
    problems: &mut Problems<'_>,
) -> Option<JwtKeyIr> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let verifies = jwk
        .get("key_ops")
        .is_none_or(|ops| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op.as_str() == Some("verify"))));
    if text("use").is_some_and(|purpose| purpose != "sig") || !verifies {
        problems.warn("is not for signatures and is left out", "remove it from the set");
        return None;
    }
    if jwk.contains_key("d") {
        problems.invalid("holds a private key, which can sign tokens", "leave out d, p, q, dp, dq and qi");
        return None;
    }
    let material = match material(jwk, secrets) {
        Ok(material) => material,
        Err(JwkError::Unknown) => {
            problems
                .warn("is of a kind that is not supported and is left out", "use RSA, P-256, P-384 or Ed25519 keys");
            return None;
        }
        Err(JwkError::Wrong(message)) => {
            problems.warn(format!("{message}; the key is left out"), PUBLISHED);
            return None;
        }
        Err(JwkError::Shared(message, help)) => {
            problems.invalid(message, help);
            return None;
        }
    };
    let only = match text("alg") {
        None => algorithms.to_vec(),
        Some(name) => match Algorithm::from_name(name).filter(|algorithm| algorithms.contains(algorithm)) {
            Some(algorithm) => vec![algorithm],
            None => {
                problems
                    .warn(format!("is for {name}, which algorithms does not name, and is left out"), "add it there");
                return None;
            }
        },
    };
    match bind(text("kid"), material, &only) {
        Ok(key) => Some(key),
        Err(Unfit::Wrong(message, help)) => {
            problems.warn(format!("{message}; the key is left out"), help);
            None
        }
        Err(Unfit::Unused(message)) => {
            problems.warn(message, UNUSED);
            None
        }
    }
}

enum JwkError {
    Unknown,
    Wrong(&'static str),
    /// A secret that others can read.
    Shared(&'static str, &'static str),
}

fn material(jwk: &Map<String, Value>, secrets: bool) -> Result<KeyMaterial, JwkError> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str).unwrap_or_default();
    let bytes = |name: &str| {
        let wrong = JwkError::Wrong("has a member that is missing or not base64url");
        BASE64URL.decode(text(name)).ok().filter(|bytes| !bytes.is_empty()).ok_or(wrong)
    };
    let integer = |name: &str| bytes(name).map(|bytes| without_leading_zeros(&bytes).to_vec());
    match (text("kty"), text("crv")) {
        ("RSA", _) => Ok(KeyMaterial::Rsa { n: integer("n")?, e: integer("e")? }),
        ("EC", curve @ ("P-256" | "P-384")) => {
            let size = if curve == "P-256" { 32 } else { 48 };
            let coordinate = |name: &str| {
                let wrong = JwkError::Wrong("has coordinates of the wrong length for its curve");
                padded(&integer(name)?, size).ok_or(wrong)
            };
            Ok(KeyMaterial::Ec([vec![0x04], coordinate("x")?, coordinate("y")?].concat()))
        }
        ("OKP", "Ed25519") => Ok(KeyMaterial::Ed25519(bytes("x")?)),
        ("oct", _) if secrets => Ok(KeyMaterial::Hmac(Secret::new(bytes("k")?))),
        ("oct", _) => Err(JwkError::Shared(
            "holds a shared secret, which everybody who may read this object would know",
            "put it into a Secret and name that in keys.secretRef",
        )),
        (_, _) => Err(JwkError::Unknown),
    }
}

/// A big-endian integer as RFC 7518 (6.3.1.1) writes it. Libraries that write signed integers put a zero byte before
/// it, which the verifier refuses.
fn without_leading_zeros(integer: &[u8]) -> &[u8] {
    let zeros = integer.iter().take_while(|byte| **byte == 0).count();
    integer.get(zeros..).unwrap_or_default()
}

/// The integer in exactly `size` bytes (RFC 7518, 6.2.1.2); `None` when it needs more, or so few that it is not a
/// coordinate whose leading zeros were left out.
fn padded(integer: &[u8], size: usize) -> Option<Vec<u8>> {
    const MOST_ZEROS: usize = 4;
    let missing = size.checked_sub(integer.len()).filter(|missing| *missing <= MOST_ZEROS)?;
    Some([&vec![0; missing], integer].concat())
}

/// Why a key is not bound to any algorithm.
enum Unfit {
    /// The fault of the key, and the way out.
    Wrong(String, &'static str),
    /// Which algorithms would use the key.
    Unused(String),
}

const UNUSED: &str = "name its algorithm in algorithms, or remove the key";

/// Binds a key to those algorithms that are of its family, if it is strong enough for them.
fn bind(kid: Option<&str>, material: KeyMaterial, algorithms: &[Algorithm]) -> Result<JwtKeyIr, Unfit> {
    let family = material.family().ok_or_else(|| Unfit::Wrong("is not a key of its kind".to_owned(), PUBLISHED))?;
    let algorithms: Vec<_> = algorithms.iter().copied().filter(|algorithm| algorithm.family() == family).collect();
    if algorithms.is_empty() {
        return Err(Unfit::Unused(format!("is {}, which no entry of algorithms uses", kind(family))));
    }
    if let Some((message, help)) = weakness(&material, &algorithms) {
        return Err(Unfit::Wrong(message, help));
    }
    Ok(JwtKeyIr { kid: kid.map(Into::into), algorithms, material })
}

fn kind(family: Family) -> &'static str {
    match family {
        Family::Hmac => "a shared secret",
        Family::Rsa => "an RSA key",
        Family::P256 => "a P-256 key",
        Family::P384 => "a P-384 key",
        Family::Ed25519 => "an Ed25519 key",
    }
}

fn weakness(material: &KeyMaterial, algorithms: &[Algorithm]) -> Option<(String, &'static str)> {
    match material {
        KeyMaterial::Rsa { n, e } => {
            let bits = bits(n);
            if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
                let message = format!("is an RSA key of {bits} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are taken");
                return Some((message, "have the issuer make a new key, best ES256"));
            }
            let odd = e.last().is_some_and(|last| last & 1 == 1) && n.last().is_some_and(|last| last & 1 == 1);
            // An exponent of 1 would make every text its own signature.
            (!odd || self::bits(e) < 2).then(|| ("is not an RSA key".to_owned(), PUBLISHED))
        }
        KeyMaterial::Hmac(secret) => {
            let needed = algorithms.iter().map(|algorithm| hash_bytes(*algorithm)).max().unwrap_or_default();
            let have = secret.reveal().len();
            let message =
                || format!("is a shared secret of {have} bytes; these algorithms need {needed} (RFC 7518, 3.2)");
            (have < needed).then(|| (message(), "make a longer one: openssl rand -hex 64"))
        }
        KeyMaterial::Ec(_) | KeyMaterial::Ed25519(_) => None,
    }
}

fn bits(big_endian: &[u8]) -> usize {
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
    let first = big_endian.get(zeros).map_or(0, |byte| 8 - byte.leading_zeros() as usize);
    (big_endian.len() - zeros).saturating_sub(1) * 8 + first
}

fn hash_bytes(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::HS256 => 32,
        Algorithm::HS384 => 48,
        Algorithm::HS512 => 64,
        Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512 => 0,
        Algorithm::PS256 | Algorithm::PS384 | Algorithm::PS512 => 0,
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => 0,
    }
}
