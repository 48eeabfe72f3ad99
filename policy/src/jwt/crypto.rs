//! ring as the cryptography of `jsonwebtoken`: an adapter to its `CryptoProvider`, nothing more.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, Result, new_error};
use jsonwebtoken::jwk::ThumbprintHash;
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rand::SystemRandom;
use ring::{digest, hmac, signature};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(RingSigner::new(*algorithm, key)?)),
    verifier_factory: |algorithm, key| Ok(Box::new(RingVerifier::new(*algorithm, key)?)),
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |der| {
            let pair = signature::RsaKeyPair::from_der(der).map_err(|e| invalid_rsa(&e))?;
            let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
            Ok((public.n, public.e))
        },
        // Only thumbprints and conversions of private keys to JWKs ask for these; the gateway makes neither.
        rsa_pub_components_from_public_key: |_| Err(unsupported()),
        ec_pub_components_from_private_key: |_, _| Err(unsupported()),
        ed_pub_components_from_private_key: |_, _| Err(unsupported()),
        compute_digest: |bytes, hash| {
            let algorithm = match hash {
                ThumbprintHash::SHA256 => &digest::SHA256,
                ThumbprintHash::SHA384 => &digest::SHA384,
                ThumbprintHash::SHA512 => &digest::SHA512,
                _ => return Err(unsupported()),
            };
            Ok(digest::digest(algorithm, bytes).as_ref().to_vec())
        },
    },
};

/// Makes ring the cryptography of `jsonwebtoken` in this process. May be called often; whatever signs or
/// verifies calls it first.
pub fn install() {
    // Err means that a provider is there already, which after the first call is ours.
    let _ = PROVIDER.install_default();
}

fn unsupported() -> Error {
    new_error(ErrorKind::UnsupportedAlgorithm)
}

fn invalid_rsa(error: &ring::error::KeyRejected) -> Error {
    new_error(ErrorKind::InvalidRsaKey(error.to_string()))
}

/// What checks a signature, by algorithm.
enum Check {
    Hmac(hmac::Algorithm),
    Rsa(&'static signature::RsaParameters),
    /// Elliptic curves, Edwards curves included.
    Curve(&'static dyn signature::VerificationAlgorithm),
}

fn check(algorithm: Algorithm) -> Option<Check> {
    Some(match algorithm {
        Algorithm::HS256 => Check::Hmac(hmac::HMAC_SHA256),
        Algorithm::HS384 => Check::Hmac(hmac::HMAC_SHA384),
        Algorithm::HS512 => Check::Hmac(hmac::HMAC_SHA512),
        // These refuse moduli under 2048 bits.
        Algorithm::RS256 => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Check::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Check::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Check::Curve(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Check::Curve(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Check::Curve(&signature::ED25519),
        // `jsonwebtoken` may add more; what is not here is not supported.
        _ => return None,
    })
}

struct RingVerifier {
    algorithm: Algorithm,
    check: Check,
    key: DecodingKey,
}

impl RingVerifier {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self> {
        if key.family() != algorithm.family() {
            return Err(new_error(ErrorKind::InvalidAlgorithm));
        }
        let check = check(algorithm).ok_or_else(unsupported)?;
        Ok(Self { algorithm, check, key: key.clone() })
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], bytes: &Vec<u8>) -> std::result::Result<(), SignatureError> {
        let held = match (&self.check, self.key.kind()) {
            (Check::Hmac(algorithm), DecodingKeyKind::SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(*algorithm, secret), message, bytes)
            }
            (Check::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                signature::RsaPublicKeyComponents { n, e }.verify(parameters, message, bytes)
            }
            (Check::Rsa(parameters), DecodingKeyKind::SecretOrDer(der)) => {
                signature::UnparsedPublicKey::new(*parameters, der).verify(message, bytes)
            }
            (Check::Curve(curve), DecodingKeyKind::SecretOrDer(point)) => {
                signature::UnparsedPublicKey::new(*curve, point).verify(message, bytes)
            }
            (Check::Hmac(_) | Check::Curve(_), DecodingKeyKind::RsaModulusExponent { .. }) => {
                Err(ring::error::Unspecified)
            }
        };
        held.map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// What signs; boxed, since key pairs are large. For tokens that tools and tests make.
enum Pen {
    Hmac(Box<hmac::Key>),
    Rsa(Box<signature::RsaKeyPair>, &'static dyn signature::RsaEncoding),
    Ecdsa(Box<signature::EcdsaKeyPair>),
    Ed25519(Box<signature::Ed25519KeyPair>),
}

struct RingSigner {
    algorithm: Algorithm,
    pen: Pen,
}

impl RingSigner {
    fn new(algorithm: Algorithm, key: &EncodingKey) -> Result<Self> {
        if key.family() != algorithm.family() {
            return Err(new_error(ErrorKind::InvalidAlgorithm));
        }
        let bytes = key.as_bytes();
        let pen = match key.family() {
            AlgorithmFamily::Hmac => match check(algorithm) {
                Some(Check::Hmac(hash)) => Pen::Hmac(Box::new(hmac::Key::new(hash, bytes))),
                Some(Check::Rsa(_) | Check::Curve(_)) | None => return Err(unsupported()),
            },
            AlgorithmFamily::Rsa => {
                let pair = signature::RsaKeyPair::from_der(bytes).map_err(|e| invalid_rsa(&e))?;
                Pen::Rsa(Box::new(pair), rsa_encoding(algorithm).ok_or_else(unsupported)?)
            }
            AlgorithmFamily::Ec => {
                let curve = if algorithm == Algorithm::ES256 {
                    &signature::ECDSA_P256_SHA256_FIXED_SIGNING
                } else {
                    &signature::ECDSA_P384_SHA384_FIXED_SIGNING
                };
                let pair = signature::EcdsaKeyPair::from_pkcs8(curve, bytes, &SystemRandom::new());
                Pen::Ecdsa(Box::new(pair.map_err(|_| new_error(ErrorKind::InvalidEcdsaKey))?))
            }
            AlgorithmFamily::Ed => {
                let pair = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes);
                Pen::Ed25519(Box::new(pair.map_err(|_| new_error(ErrorKind::InvalidEddsaKey))?))
            }
        };
        Ok(Self { algorithm, pen })
    }
}

fn rsa_encoding(algorithm: Algorithm) -> Option<&'static dyn signature::RsaEncoding> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_SHA512,
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => return None,
        Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA | _ => return None,
    })
}

impl Signer<Vec<u8>> for RingSigner {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        match &self.pen {
            Pen::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Pen::Rsa(pair, encoding) => {
                let mut bytes = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut bytes).map_err(|_| SignatureError::new())?;
                Ok(bytes)
            }
            Pen::Ecdsa(pair) => {
                let signed = pair.sign(&SystemRandom::new(), message).map_err(|_| SignatureError::new())?;
                Ok(signed.as_ref().to_vec())
            }
            Pen::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl JwtSigner for RingSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
