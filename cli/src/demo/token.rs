//! Tokens of the demo's auth service.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::json;

/// The private half of the key that `examples/1-platform.yaml` publishes. It is published here as well, and
/// protects nothing.
const PRIVATE: &str = "0r8EkEHaHkCUemHpm7nHCnxA9ktvA2boUfjV19Jke4M";
const PUBLIC_X: &str = "mI4CpENReRcvSljE2-6pzcJzEaqnuREicqvu8ImeTgU";
const PUBLIC_Y: &str = "EmDskaBKolwinunK0Nqm5YTTGl7z59nZQvokvGzIkr0";
const LIFETIME_SECS: i64 = 12 * 3600;

/// A token for a caller of acme with some roles, good for half a day. `None` when the key is not one.
pub(super) fn token(caller: &str, roles: &[&str], now_secs: i64) -> Option<String> {
    let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let public = [vec![4], part(PUBLIC_X)?, part(PUBLIC_Y)?].concat();
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &part(PRIVATE)?,
        &public,
        &random,
    )
    .ok()?;
    let header = json!({"alg": "ES256", "typ": "JWT", "kid": "demo"});
    let claims = json!({
        "iss": "https://auth.acme.example", "aud": "postern", "sub": caller, "tenant_id": "acme",
        "realm_access": {"roles": roles}, "iat": now_secs, "exp": now_secs + LIFETIME_SECS,
    });
    let signed = format!("{}.{}", encode(&header), encode(&claims));
    let signature = key.sign(&random, signed.as_bytes()).ok()?;
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
}

fn encode(value: &serde_json::Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_one_that_the_examples_publish() {
        let examples = include_str!("../../../examples/1-platform.yaml");
        assert!(examples.contains(PUBLIC_X) && examples.contains(PUBLIC_Y));
        assert!(token("agent-7", &["agent"], 0).is_some());
    }
}
