//! ES256 tokens of callers that exist only here.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

/// DER in front of the point of a P-256 public key (RFC 5480).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const LIFETIME: Duration = Duration::from_hours(6);

/// A key made for one run, and what the proxies must know of it.
pub(crate) struct Issuer {
    key: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    pub(crate) fn new() -> io::Result<Self> {
        let random = SystemRandom::new();
        let unspecified = |_| io::Error::other("no key could be made");
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).map_err(unspecified)?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
            .map_err(|why| io::Error::other(why.to_string()))?;
        Ok(Self { key, random })
    }

    /// The public key set, as Envoy and Postern read it.
    pub(crate) fn jwks(&self) -> String {
        let point = self.key.public_key().as_ref();
        let coordinate = |from: usize| URL_SAFE_NO_PAD.encode(point.get(from..from + 32).unwrap_or_default());
        json!({"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "bench",
            "x": coordinate(1), "y": coordinate(33)}]})
        .to_string()
    }

    /// The public key, as HAProxy reads it.
    pub(crate) fn public_pem(&self) -> String {
        let der = [&SPKI_PREFIX, self.key.public_key().as_ref()].concat();
        let text = STANDARD.encode(der);
        let (first, second) = text.split_at(64);
        format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n")
    }

    /// A token of one caller.
    pub(crate) fn token(&self, caller: usize) -> io::Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": "bench"});
        let claims = json!({
            "iss": "https://auth.bench.example", "aud": "postern", "sub": format!("caller-{caller}"),
            "tenant_id": "bench", "scope": "agent reader",
            "iat": now.as_secs(), "exp": (now + LIFETIME).as_secs(),
        });
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self
            .key
            .sign(&self.random, signed.as_bytes())
            .map_err(|_| io::Error::other("a token could not be signed"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    #[test]
    fn a_token_verifies_with_the_published_key() {
        let issuer = Issuer::new().unwrap();
        let token = issuer.token(1).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, issuer.key.public_key().as_ref());
        key.verify(signed.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn the_pem_holds_the_same_point_as_the_key_set() {
        let issuer = Issuer::new().unwrap();
        let pem: String = issuer.public_pem().lines().filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(pem).unwrap();
        let x = URL_SAFE_NO_PAD.encode(&der[27..59]);
        assert!(issuer.jwks().contains(&x));
    }
}
