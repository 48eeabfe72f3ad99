use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, crypto::sign};
use serde_json::json;

use super::*;
use crate::jwt::{RolesFormat, RolesFromIr};
use crate::secret::Secret;

const NOW: i64 = 1_800_000_000;
const P256: &[u8] = include_bytes!("testdata/p256-private.pem");
const P384: &[u8] = include_bytes!("testdata/p384-private.pem");
const ED25519: &[u8] = include_bytes!("testdata/ed25519-private.pem");
const RSA: &[u8] = include_bytes!("testdata/rsa-private.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("testdata/rsa-public.pem");
const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

fn texts(items: &[&str]) -> Vec<Arc<str>> {
    items.iter().map(|item| Arc::from(*item)).collect()
}

fn signing_key(algorithm: Algorithm) -> EncodingKey {
    match algorithm.family() {
        super::super::Family::Hmac => EncodingKey::from_secret(SECRET),
        super::super::Family::Rsa => EncodingKey::from_rsa_pem(RSA).unwrap(),
        super::super::Family::P256 => EncodingKey::from_ec_pem(P256).unwrap(),
        super::super::Family::P384 => EncodingKey::from_ec_pem(P384).unwrap(),
        super::super::Family::Ed25519 => EncodingKey::from_ed_pem(ED25519).unwrap(),
    }
}

fn material(algorithm: Algorithm) -> KeyMaterial {
    use ring::signature::{self as s, KeyPair};
    let private = signing_key(algorithm);
    let ec = |curve| {
        let random = ring::rand::SystemRandom::new();
        let pair = s::EcdsaKeyPair::from_pkcs8(curve, private.as_bytes(), &random).unwrap();
        KeyMaterial::Ec(pair.public_key().as_ref().to_vec())
    };
    match algorithm.family() {
        super::super::Family::Hmac => KeyMaterial::Hmac(Secret::new(SECRET)),
        super::super::Family::Rsa => {
            let pair = s::RsaKeyPair::from_der(private.as_bytes()).unwrap();
            let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
            KeyMaterial::Rsa { n: public.n, e: public.e }
        }
        super::super::Family::P256 => ec(&s::ECDSA_P256_SHA256_FIXED_SIGNING),
        super::super::Family::P384 => ec(&s::ECDSA_P384_SHA384_FIXED_SIGNING),
        super::super::Family::Ed25519 => {
            let pair = s::Ed25519KeyPair::from_pkcs8_maybe_unchecked(private.as_bytes()).unwrap();
            KeyMaterial::Ed25519(pair.public_key().as_ref().to_vec())
        }
    }
}

pub(crate) fn ir(algorithm: Algorithm) -> JwtIr {
    JwtIr {
        name: "auth-service".into(),
        issuer: "https://auth.example".into(),
        audiences: texts(&["postern", "api"]),
        keys: vec![JwtKeyIr { kid: Some("k1".into()), algorithms: vec![algorithm], material: material(algorithm) }],
        clock_skew_secs: 30,
        tenant_claim: Some(texts(&["tenant_id"])),
        roles_from: vec![
            RolesFromIr { claim: texts(&["realm_access", "roles"]), format: RolesFormat::List },
            RolesFromIr { claim: texts(&["scope"]), format: RolesFormat::SpaceSeparated },
        ],
        forward: vec![ForwardIr { claim: texts(&["sub"]), header: "x-user-id".into() }],
    }
}

pub(crate) fn method(ir: &JwtIr) -> JwtMethod {
    JwtMethod::new(&TenantName::parse("acme").unwrap(), ir).unwrap()
}

fn good() -> Value {
    json!({
        "iss": "https://auth.example", "aud": "postern", "sub": "u-1", "exp": NOW + 60, "tenant_id": "acme",
        "realm_access": {"roles": ["agent", "supervisor"]}, "scope": "read write",
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = good();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

/// Signs whatever stands in `header` and `claims`, as text: also what no library would write.
fn raw(header: &str, claims: &str, key: &EncodingKey, algorithm: Algorithm) -> String {
    crypto::install();
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = sign(message.as_bytes(), key, registered(algorithm)).unwrap();
    format!("{message}.{signature}")
}

pub(crate) fn token(algorithm: Algorithm, claims: &Value) -> String {
    let header = json!({"alg": algorithm.name(), "kid": "k1", "typ": "JWT"}).to_string();
    raw(&header, &claims.to_string(), &signing_key(algorithm), algorithm)
}

pub(crate) fn good_token(number: usize) -> String {
    token(Algorithm::HS256, &with("jti", json!(number)))
}

fn reason(claims: &Value) -> Result<(), Reason> {
    let verified = method(&ir(Algorithm::HS256)).verify(&token(Algorithm::HS256, claims), NOW);
    verified.map(|_| ()).map_err(|refusal| refusal.reason)
}

#[test]
fn every_algorithm_verifies_what_its_key_signed_and_nothing_else() {
    for algorithm in Algorithm::ALL {
        let method = method(&ir(algorithm));
        let token = token(algorithm, &good());
        let verified = method.verify(&token, NOW).unwrap_or_else(|refusal| panic!("{algorithm:?}: {refusal:?}"));
        assert_eq!(&*verified.caller.id, "u-1");
        let (message, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[10] ^= 1;
        let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(&bytes));
        assert_eq!(method.verify(&forged, NOW).unwrap_err().reason, Reason::CredentialsInvalid, "{algorithm:?}");
    }
}

#[test]
fn a_caller_has_what_its_token_says() {
    let verified = method(&ir(Algorithm::ES256)).verify(&token(Algorithm::ES256, &good()), NOW).unwrap();
    let caller = &verified.caller;
    assert_eq!(caller.roles, texts(&["agent", "read", "supervisor", "write"]));
    assert_eq!(caller.tenant.as_deref(), Some("acme"));
    assert_eq!(caller.forward, [(HeaderName::from_static("x-user-id"), http::HeaderValue::from_static("u-1"))]);
    assert_eq!((&*caller.method, verified.expires_secs), ("auth-service", NOW + 60));
}

#[test]
fn a_public_key_is_never_a_shared_secret() {
    let method = method(&ir(Algorithm::RS256));
    let KeyMaterial::Rsa { n, .. } = material(Algorithm::RS256) else { panic!("RSA") };
    for secret in [RSA_PUBLIC, n.as_slice(), b""] {
        let header = r#"{"alg":"HS256","kid":"k1"}"#;
        let forged = raw(header, &good().to_string(), &EncodingKey::from_secret(secret), Algorithm::HS256);
        assert_eq!(method.verify(&forged, NOW).unwrap_err().reason, Reason::CredentialsInvalid);
    }
}

#[test]
fn a_token_does_not_choose_among_the_algorithms_of_a_family() {
    let method = method(&ir(Algorithm::RS256));
    assert!(method.verify(&token(Algorithm::PS256, &good()), NOW).is_err());
    assert!(method.verify(&token(Algorithm::RS512, &good()), NOW).is_err());
}

#[test]
fn a_token_that_brings_its_own_key_is_refused() {
    let attacker = EncodingKey::from_secret(b"the attacker's own secret, long enough");
    let jwk = json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(b"the attacker's own secret, long enough")});
    for extra in
        [json!({"jwk": jwk}), json!({"jku": "https://evil.example/jwks"}), json!({"x5u": "https://evil.example"})]
    {
        let mut header = json!({"alg": "HS256"});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let forged = raw(&header.to_string(), &good().to_string(), &attacker, Algorithm::HS256);
        assert!(method(&ir(Algorithm::HS256)).verify(&forged, NOW).is_err());
    }
}

#[test]
fn a_kid_chooses_only_among_the_methods_own_keys() {
    let method = method(&ir(Algorithm::HS256));
    for kid in ["other", "../../../dev/null", "k1\u{0}", "' OR 1=1"] {
        let header = json!({"alg": "HS256", "kid": kid}).to_string();
        let token = raw(&header, &good().to_string(), &signing_key(Algorithm::HS256), Algorithm::HS256);
        assert!(method.verify(&token, NOW).is_err(), "{kid}");
    }
    let no_kid = raw(r#"{"alg":"HS256"}"#, &good().to_string(), &signing_key(Algorithm::HS256), Algorithm::HS256);
    assert!(method.verify(&no_kid, NOW).is_ok());
}

#[test]
fn a_key_without_an_id_is_tried_whatever_the_kid() {
    let mut any = ir(Algorithm::ES256);
    any.keys[0].kid = None;
    assert!(method(&any).verify(&token(Algorithm::ES256, &good()), NOW).is_ok());
}

#[test]
fn a_token_of_another_tenants_key_is_refused_whatever_it_says() {
    let theirs = EncodingKey::from_secret(b"another tenant's secret, as long as ours");
    for header in [r#"{"alg":"HS256","kid":"k1"}"#, r#"{"alg":"HS256"}"#] {
        let token = raw(header, &good().to_string(), &theirs, Algorithm::HS256);
        let refusal = method(&ir(Algorithm::HS256)).verify(&token, NOW).unwrap_err();
        assert_eq!(refusal.reason, Reason::CredentialsInvalid);
    }
}

#[test]
fn times_are_checked_within_the_skew() {
    assert_eq!(reason(&with("exp", json!(NOW - 29))), Ok(()));
    assert_eq!(reason(&with("exp", json!(NOW - 30))), Err(Reason::CredentialsExpired));
    assert_eq!(reason(&with("nbf", json!(NOW + 30))), Ok(()));
    assert_eq!(reason(&with("nbf", json!(NOW + 31))), Err(Reason::CredentialsExpired));
}

#[test]
fn a_time_may_have_a_fraction_or_an_exponent() {
    let now = f64::from(i32::try_from(NOW).unwrap());
    assert_eq!(reason(&with("exp", json!(now + 60.421))), Ok(()));
    assert_eq!(reason(&with("exp", json!(now - 100.5))), Err(Reason::CredentialsExpired));
    assert_eq!(reason(&with("nbf", json!(now - 5.25))), Ok(()));
    assert_eq!(reason(&with("nbf", json!(now + 31.5))), Err(Reason::CredentialsExpired));
    let written = |time: &str| {
        let claims = good().to_string().replace(&(NOW + 60).to_string(), time);
        let token = raw(r#"{"alg":"HS256"}"#, &claims, &signing_key(Algorithm::HS256), Algorithm::HS256);
        method(&ir(Algorithm::HS256)).verify(&token, NOW).map(|verified| verified.expires_secs)
    };
    assert_eq!(written("1.9e9").ok(), Some(1_900_000_000));
    assert_eq!(written(&format!("{}.0", NOW + 60)).ok(), Some(NOW + 60));
}

#[test]
fn a_number_in_a_claim_keeps_its_digits() {
    let mut ir = ir(Algorithm::HS256);
    ir.forward = vec![ForwardIr { claim: texts(&["account"]), header: "x-account".into() }];
    let claims = good().to_string().replacen('{', r#"{"account":12345678901234567890123,"#, 1);
    let token = raw(r#"{"alg":"HS256"}"#, &claims, &signing_key(Algorithm::HS256), Algorithm::HS256);
    let caller = method(&ir).verify(&token, NOW).unwrap().caller;
    assert_eq!(caller.forward[0].1, "12345678901234567890123");
    assert_eq!(caller.claims["account"], "12345678901234567890123");
}

#[test]
fn a_time_of_an_odd_type_is_no_time() {
    for name in ["exp", "nbf"] {
        for value in [
            json!("1900000000"),
            json!(1e300),
            json!(-1.5),
            json!([1_900_000_000]),
            json!(-1),
            json!(null),
            json!(true),
            json!(u64::MAX),
        ] {
            assert_eq!(reason(&with(name, value.clone())), Err(Reason::CredentialsInvalid), "{name} {value}");
        }
    }
    let huge = good().to_string().replace(&(NOW + 60).to_string(), "1e400");
    let huge = raw(r#"{"alg":"HS256"}"#, &huge, &signing_key(Algorithm::HS256), Algorithm::HS256);
    assert!(method(&ir(Algorithm::HS256)).verify(&huge, NOW).is_err());
}

#[test]
fn a_claim_that_stands_twice_is_refused() {
    let twice = good().to_string().replacen('{', r#"{"sub":"admin","#, 1);
    let token = raw(r#"{"alg":"HS256"}"#, &twice, &signing_key(Algorithm::HS256), Algorithm::HS256);
    let refusal = method(&ir(Algorithm::HS256)).verify(&token, NOW).unwrap_err();
    assert_eq!(refusal.detail, "the token's claims are not a JSON object, or have a name twice");
}

#[test]
fn issuer_audience_expiry_and_subject_are_required_as_they_should_be() {
    for name in ["iss", "aud", "exp", "sub"] {
        assert_eq!(reason(&without(name)), Err(Reason::CredentialsInvalid), "without {name}");
    }
    for (name, value) in [
        ("iss", json!("https://auth.example/")),
        ("iss", json!(["https://auth.example"])),
        ("aud", json!("other")),
        ("aud", json!([])),
        ("aud", json!(["postern", 1])),
        ("sub", json!("")),
        ("sub", json!(7)),
    ] {
        assert_eq!(reason(&with(name, value.clone())), Err(Reason::CredentialsInvalid), "{name} {value}");
    }
    assert_eq!(reason(&with("aud", json!(["other", "api"]))), Ok(()));
}

#[test]
fn a_token_that_names_no_tenant_where_it_must_is_refused() {
    assert_eq!(reason(&without("tenant_id")), Err(Reason::TenantMismatch));
    assert_eq!(reason(&with("tenant_id", json!(["acme"]))), Err(Reason::TenantMismatch));
}

#[test]
fn roles_and_forwarded_claims_of_an_odd_type_refuse_the_token() {
    for claims in [
        with("realm_access", json!({"roles": ["agent", 1]})),
        with("realm_access", json!({"roles": {"admin": true}})),
        with("scope", json!(["read"])),
        with("sub", json!("u\r\nx-role: admin")),
        with("sub", json!(" u-1")),
    ] {
        assert_eq!(reason(&claims), Err(Reason::CredentialsInvalid), "{claims}");
    }
    assert_eq!(reason(&with("realm_access", json!(null))), Ok(()));
}

#[test]
fn a_refusal_challenges_and_repeats_no_token() {
    let token = token(Algorithm::HS256, &with("exp", json!(1)));
    let refusal = method(&ir(Algorithm::HS256)).verify(&token, NOW).unwrap_err();
    let challenge = r#"Bearer error="invalid_token", error_description="the token has expired""#;
    assert_eq!(refusal.extras, [Extra::Challenge(challenge.into())]);
    assert!(!format!("{refusal:?}").contains(&token[..20]));
}

#[test]
fn a_key_bound_to_another_familys_algorithm_breaks_the_method() {
    let mut wrong = ir(Algorithm::RS256);
    wrong.keys[0].algorithms.push(Algorithm::HS256);
    let acme = TenantName::parse("acme").unwrap();
    assert!(matches!(JwtMethod::new(&acme, &wrong), Err(MethodError::Key { index: 0 })));
    wrong.keys.clear();
    assert!(matches!(JwtMethod::new(&acme, &wrong), Err(MethodError::KeyCount(0))));
}

mod any_bytes {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_text_is_a_token_unless_it_was_signed(text in ".{0,200}") {
            prop_assert!(method(&ir(Algorithm::HS256)).verify(&text, NOW).is_err());
        }

        #[test]
        fn one_changed_character_refuses_the_token(at in any::<prop::sample::Index>(), with in "[A-Za-z0-9_.-]") {
            let token = good_token(1);
            let at = at.index(token.len());
            let mut changed = token.clone();
            changed.replace_range(at..=at, &with);
            prop_assume!(changed != token);
            prop_assert!(method(&ir(Algorithm::HS256)).verify(&changed, NOW).is_err());
        }
    }
}
