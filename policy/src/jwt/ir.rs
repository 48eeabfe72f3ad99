//! JWT verification as it travels: keys with the algorithm that each is bound to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;

/// The algorithms that a key may be bound to (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are the registered ones")]
pub enum Algorithm {
    HS256,
    HS384,
    HS512,
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// What a key must be to check an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// A shared secret.
    Hmac,
    /// An RSA key.
    Rsa,
    /// A point on P-256.
    P256,
    /// A point on P-384.
    P384,
    /// An Ed25519 key.
    Ed25519,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::HS256,
        Self::HS384,
        Self::HS512,
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    /// The registered name, as `alg` says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of that name; names are case-sensitive (RFC 7515, 4.1.1).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// What a key must be to check it.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::HS256 | Self::HS384 | Self::HS512 => Family::Hmac,
            Self::RS256 | Self::RS384 | Self::RS512 | Self::PS256 | Self::PS384 | Self::PS512 => Family::Rsa,
            Self::ES256 => Family::P256,
            Self::ES384 => Family::P384,
            Self::EdDSA => Family::Ed25519,
        }
    }
}

/// The material of one key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyMaterial {
    /// Modulus and exponent, big endian.
    Rsa {
        #[expect(missing_docs, reason = "RFC 7518, 6.3.1")]
        n: Vec<u8>,
        #[expect(missing_docs, reason = "RFC 7518, 6.3.1")]
        e: Vec<u8>,
    },
    /// An uncompressed curve point (0x04, x, y).
    Ec(Vec<u8>),
    /// An Ed25519 public key.
    Ed25519(Vec<u8>),
    /// A shared secret.
    Hmac(Secret),
}

impl KeyMaterial {
    /// What the key is; `None` for bytes that are no key of their kind.
    #[must_use]
    pub fn family(&self) -> Option<Family> {
        match self {
            Self::Rsa { n, e } => (!n.is_empty() && !e.is_empty()).then_some(Family::Rsa),
            Self::Ec(point) => match (point.first(), point.len()) {
                (Some(0x04), 65) => Some(Family::P256),
                (Some(0x04), 97) => Some(Family::P384),
                (Some(_), _) | (None, _) => None,
            },
            Self::Ed25519(bytes) => (bytes.len() == 32).then_some(Family::Ed25519),
            Self::Hmac(secret) => (!secret.reveal().is_empty()).then_some(Family::Hmac),
        }
    }
}

/// One key, bound to the algorithms it may check: a token cannot choose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwtKeyIr {
    /// The key's id; a token without `kid` is tried against every key of its algorithm.
    pub kid: Option<Arc<str>>,
    /// What it may check; never empty, all of one family.
    pub algorithms: Vec<Algorithm>,
    /// The key.
    pub material: KeyMaterial,
}

/// How a claim's value becomes roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum RolesFormat {
    /// A list of strings, or one string that is one role.
    List,
    /// One string with spaces between the roles (RFC 6749 `scope`).
    SpaceSeparated,
}

/// A claim that holds roles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolesFromIr {
    /// The claim's path: names of nested objects, outermost first.
    pub claim: Vec<Arc<str>>,
    /// How to read it.
    pub format: RolesFormat,
}

/// A claim that the upstream gets as a header field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardIr {
    /// The claim's path.
    pub claim: Vec<Arc<str>>,
    /// The header field's name, lower case.
    pub header: Arc<str>,
}

/// One JWT method of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwtIr {
    /// The method's name, by which rules choose it.
    pub name: Arc<str>,
    /// Exactly what `iss` must be.
    pub issuer: Arc<str>,
    /// `aud` must hold one of these; never empty.
    pub audiences: Vec<Arc<str>>,
    /// The keys; never empty.
    pub keys: Vec<JwtKeyIr>,
    /// How far `exp` and `nbf` may be off, in seconds.
    pub clock_skew_secs: u32,
    /// The claim that must name the tenant; its path.
    pub tenant_claim: Option<Vec<Arc<str>>>,
    /// Where roles come from.
    pub roles_from: Vec<RolesFromIr>,
    /// What the upstream is told.
    pub forward: Vec<ForwardIr>,
}
