//! Whether a token is one that an issuer signed for this tenant, and who it speaks for.

use std::sync::Arc;

use http::HeaderName;
use jsonwebtoken::DecodingKey;
use ring::digest::{SHA256, digest};
use serde_json::Value;

use super::claims::{self, ClaimError, Period};
use super::token::{Token, TokenError};
use super::{Algorithm, Family, ForwardIr, JwtIr, JwtKeyIr, KeyMaterial, crypto};
use crate::names::TenantName;
use crate::refusal::{Extra, Reason, Refusal};
use crate::request::Caller;

/// The most keys that a method may have; a token without `kid` may be tried against all of them.
pub const MAX_KEYS: usize = 32;

/// Why a method could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    /// A key is none of its kind, or is bound to an algorithm that needs another.
    #[error("key {index} cannot check the algorithms that it is bound to")]
    Key {
        /// Its place in the list.
        index: usize,
    },
    /// More keys than [`MAX_KEYS`], or none.
    #[error("{0} keys: between 1 and {MAX_KEYS} are taken")]
    KeyCount(usize),
    /// A claim is to be forwarded in what is no header field.
    #[error("{0:?} is no header field name")]
    Header(Arc<str>),
    /// The method could not be written down to identify it.
    #[error("the method could not be encoded")]
    Encode(#[from] rmp_serde::encode::Error),
}

/// Identifies one method of one tenant with all its keys and rules: SHA-256 of them. Whatever changes in
/// them changes this, and so nothing that was verified before is found again.
pub(super) type Identity = [u8; 32];

/// A token that holds.
#[derive(Clone, Debug)]
pub struct Verified {
    /// Whom it speaks for.
    pub caller: Arc<Caller>,
    /// When it expires, in seconds since the epoch, without clock skew.
    pub expires_secs: i64,
}

struct Key {
    kid: Option<Arc<str>>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// One JWT method of one tenant, ready to verify.
pub struct JwtMethod {
    ir: JwtIr,
    keys: Vec<Key>,
    forward: Vec<(ForwardIr, HeaderName)>,
    pub(super) identity: Identity,
}

impl std::fmt::Debug for JwtMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtMethod").field("name", &self.ir.name).finish_non_exhaustive()
    }
}

impl JwtMethod {
    /// Makes a method ready, and ring the cryptography of this process.
    ///
    /// # Errors
    /// [`MethodError`]; the method is broken then.
    pub fn new(tenant: &TenantName, ir: &JwtIr) -> Result<Self, MethodError> {
        crypto::install();
        if ir.keys.is_empty() || ir.keys.len() > MAX_KEYS {
            return Err(MethodError::KeyCount(ir.keys.len()));
        }
        let keys = ir.keys.iter().enumerate();
        let keys = keys.map(|(index, key)| ready(key).ok_or(MethodError::Key { index })).collect::<Result<_, _>>()?;
        let name = |forward: &ForwardIr| {
            let name = HeaderName::from_bytes(forward.header.as_bytes());
            name.map(|name| (forward.clone(), name)).map_err(|_| MethodError::Header(Arc::clone(&forward.header)))
        };
        let forward = ir.forward.iter().map(name).collect::<Result<_, _>>()?;
        let written = rmp_serde::to_vec_named(&(tenant, ir))?;
        let mut identity = Identity::default();
        identity.copy_from_slice(digest(&SHA256, &written).as_ref());
        Ok(Self { ir: ir.clone(), keys, forward, identity })
    }

    /// The method's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.ir.name
    }

    /// Returns whether a fresh verification costs much: one of the keys is not a shared secret.
    #[must_use]
    pub fn is_asymmetric(&self) -> bool {
        let asymmetric = |algorithm: &Algorithm| algorithm.family() != Family::Hmac;
        self.keys.iter().flat_map(|key| &key.algorithms).any(asymmetric)
    }

    /// The header fields that this method sets for the upstream, and that a caller therefore must not.
    pub fn forwarded_names(&self) -> impl Iterator<Item = &HeaderName> {
        self.forward.iter().map(|(_, name)| name)
    }

    /// Checks form, signature and claims, in this order; nothing that is not signed is believed.
    ///
    /// # Errors
    /// A [`Refusal`] that says what is wrong, with a challenge (RFC 6750).
    pub fn verify(&self, token: &str, now_secs: i64) -> Result<Verified, Refusal> {
        let token = Token::parse(token).map_err(|error| malformed(&error))?;
        if !self.signature_holds(&token) {
            return Err(invalid("the token's signature does not hold, or no key has its kid and alg".to_owned()));
        }
        let claims = token.claims().map_err(|error| malformed(&error))?;
        self.believe(claims, token.exact_claims(), now_secs).map_err(|error| unconvincing(&error))
    }

    fn signature_holds(&self, token: &Token<'_>) -> bool {
        let named = |key: &&Key| match (&key.kid, &token.kid) {
            (Some(kid), Some(wanted)) => **kid == **wanted,
            // A key without an id may be the one that the issuer means by any id.
            (None, _) | (_, None) => true,
        };
        let bound = |key: &&Key| key.algorithms.contains(&token.algorithm);
        let algorithm = registered(token.algorithm);
        self.keys.iter().filter(named).filter(bound).any(|key| {
            let held = jsonwebtoken::crypto::verify(token.signature, token.message.as_bytes(), &key.key, algorithm);
            matches!(held, Ok(true))
        })
    }

    /// Believes the claims: types and times as the token has them, the rest with all its digits.
    fn believe(&self, claims: Value, exact: Option<Value>, now: i64) -> Result<Verified, ClaimError> {
        let ir = &self.ir;
        claims::check_issuer(ir, &claims)?;
        claims::check_audience(ir, &claims)?;
        let period = Period::of(&claims)?;
        period.check(now, ir.clock_skew_secs)?;
        let (id, tenant) = (claims::subject(&claims)?, claims::tenant(ir.tenant_claim.as_deref(), &claims)?);
        let roles = claims::roles(&ir.roles_from, &claims)?;

        let claims = exact.unwrap_or(claims);
        let forward = claims::forward(&self.forward, &claims)?;
        let caller = Caller { id, method: Arc::clone(&ir.name), tenant, roles, forward, claims: Arc::new(claims) };
        Ok(Verified { caller: Arc::new(caller), expires_secs: period.expires })
    }
}

/// A key, if it is what its algorithms need.
fn ready(ir: &JwtKeyIr) -> Option<Key> {
    let JwtKeyIr { kid, algorithms, material } = ir;
    let family = material.family()?;
    if algorithms.is_empty() || algorithms.iter().any(|algorithm| algorithm.family() != family) {
        return None;
    }
    let key = match material {
        KeyMaterial::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
        KeyMaterial::Ec(point) => DecodingKey::from_ec_der(point),
        KeyMaterial::Ed25519(bytes) => DecodingKey::from_ed_der(bytes),
        KeyMaterial::Hmac(secret) => DecodingKey::from_secret(secret.reveal()),
    };
    Some(Key { kid: kid.clone(), algorithms: algorithms.clone(), key })
}

fn registered(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::HS384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::HS512 => jsonwebtoken::Algorithm::HS512,
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
    }
}

fn malformed(error: &TokenError) -> Refusal {
    invalid(error.to_string())
}

fn unconvincing(error: &ClaimError) -> Refusal {
    match error {
        ClaimError::Expired | ClaimError::TooEarly => refuse(Reason::CredentialsExpired, error.to_string()),
        ClaimError::NoTenant => Refusal::new(Reason::TenantMismatch, error.to_string()),
        ClaimError::Issuer
        | ClaimError::Audience
        | ClaimError::Type(..)
        | ClaimError::Roles(_)
        | ClaimError::Forward(_) => invalid(error.to_string()),
    }
}

fn invalid(detail: String) -> Refusal {
    refuse(Reason::CredentialsInvalid, detail)
}

/// RFC 6750, 3: the description must not hold quotes or backslashes; a claim's name from the
/// configuration could.
fn refuse(reason: Reason, detail: String) -> Refusal {
    let described: String =
        detail.chars().map(|c| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '?' }).collect();
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{described}\"");
    Refusal::new(reason, detail).with(Extra::Challenge(challenge.into()))
}

#[cfg(test)]
#[path = "verify_tests.rs"]
pub(crate) mod tests;
