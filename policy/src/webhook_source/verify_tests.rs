//! The public vectors, and what must not pass.

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::*;
use crate::webhook_source::Provider;

const NOW: i64 = 1_614_265_330;

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&str, &str)| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap())
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        map.append(name, value);
    }
    map
}

fn verifier(provider: Provider, secrets: &[&str]) -> Verifier {
    let secrets = secrets.iter().map(|secret| Secret::new(secret.as_bytes())).collect();
    let recipe = provider.preset().unwrap().recipe();
    Verifier::new(&VerificationIr { recipe, secrets, handshake: None }).unwrap()
}

fn provider_of(name: &str) -> Option<Provider> {
    Some(match name {
        "meta_whatsapp" | "github" => Provider::WhatsApp,
        "genesys_open_messaging" => Provider::GenesysOpenMessaging,
        "svix" => Provider::Svix,
        "standard_webhooks" => Provider::StandardWebhooks,
        _ => return None,
    })
}

#[test]
fn every_public_vector_gets_its_verdict() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("vectors/signatures.json")).unwrap();
    let mut checked = 0;
    for vector in &vectors {
        let text = |name: &str| vector[name].as_str().unwrap_or_default();
        let Some(provider) = provider_of(text("provider")) else { continue };
        let fields = vector["headers"].as_object().unwrap();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
        let now = vector["now"].as_i64().unwrap_or(NOW);
        let verdict = verifier(provider, &[text("secret")]).verify(&headers(&fields), text("body").as_bytes(), now);
        assert_eq!(verdict.is_ok(), text("expect").starts_with("valid"), "{vector}: {verdict:?}");
        checked += 1;
    }
    assert!(checked >= 9, "{checked} vectors");
}

#[test]
fn a_users_own_recipe_can_say_what_convoy_does() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("vectors/signatures.json")).unwrap();
    let vector = vectors.iter().find(|vector| vector["provider"] == "generic_hmac_sha512_hex").unwrap();
    let recipe = RecipeIr {
        header: "x-signature".into(),
        prefix: "".into(),
        encoding: Encoding::Hex,
        algorithm: SignatureAlgorithm::HmacSha512,
        list: SignatureList::Single,
        secret: SecretFormat::Text,
        signed: vec![PartIr::Body],
        timestamp: None,
    };
    let secrets = vec![Secret::new(vector["secret"].as_str().unwrap().as_bytes())];
    let verifier = Verifier::new(&VerificationIr { recipe, secrets, handshake: None }).unwrap();
    let fields = headers(&[("x-signature", vector["headers"]["X-Signature"].as_str().unwrap())]);
    assert_eq!(verifier.verify(&fields, vector["body"].as_str().unwrap().as_bytes(), NOW), Ok(()));
    assert!(verifier.verify(&fields, b"Test Payload Body ", NOW).is_err());
}

const META: (&str, &str, &str) =
    ("secret", "test", "sha256=0329a06b62cd16b33eb6792be8c60b158d89a2ee3a876fce9a881ebb488c0914");

fn meta(secrets: &[&str], fields: &[(&str, &str)], body: &str) -> Result<(), Reason> {
    let verdict = verifier(Provider::WhatsApp, secrets).verify(&headers(fields), body.as_bytes(), NOW);
    verdict.map_err(|refusal| refusal.reason)
}

#[test]
fn whatever_is_not_exactly_right_is_refused() {
    let (secret, body, signature) = META;
    let field = "X-Hub-Signature-256";
    assert_eq!(meta(&["other", secret], &[(field, signature)], body), Ok(()), "any active secret");
    let invalid = Err(Reason::SignatureInvalid);
    assert_eq!(meta(&[secret], &[], body), Err(Reason::SignatureMissing));
    assert_eq!(meta(&["other"], &[(field, signature)], body), invalid);
    assert_eq!(meta(&[secret], &[(field, signature)], "test "), invalid, "other bytes");
    assert_eq!(meta(&[secret], &[(field, signature), (field, signature)], body), invalid, "twice");
    assert_eq!(meta(&[secret], &[(field, &signature.to_uppercase())], body), invalid, "upper case");
    assert_eq!(meta(&[secret], &[(field, signature.strip_prefix("sha256=").unwrap())], body), invalid, "no prefix");
    assert_eq!(meta(&[secret], &[(field, &signature[..signature.len() - 2])], body), invalid, "cut");
    assert_eq!(meta(&[secret], &[(field, "sha256=")], body), invalid, "empty");
}

#[test]
fn the_time_window_has_two_sides() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let fields = headers(&[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]);
    let verifier = verifier(Provider::StandardWebhooks, &[secret]);
    let at = |now| verifier.verify(&fields, br#"{"test": 2432232314}"#, now).map_err(|refusal| refusal.reason);
    assert_eq!((at(NOW - 300), at(NOW + 300)), (Ok(()), Ok(())));
    let outside = Err(Reason::TimestampOutsideWindow);
    assert_eq!((at(NOW - 301), at(NOW + 301)), (outside, outside));
}

#[test]
fn a_secret_that_is_not_as_written_breaks_the_recipe() {
    let recipe = Provider::Svix.preset().unwrap().recipe();
    let broken = |secret: &str| {
        let secrets = vec![Secret::new(secret.as_bytes())];
        Verifier::new(&VerificationIr { recipe: recipe.clone(), secrets, handshake: None }).err()
    };
    assert!(matches!(broken("whsec_%%%"), Some(RecipeError::Secret { index: 0, .. })));
    assert!(matches!(broken("whsec_"), Some(RecipeError::Secret { index: 0, .. })));
    assert_eq!(broken("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), None);
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", verifier(Provider::WhatsApp, &["hush-hush"]));
    assert!(!shown.contains("hush"), "{shown}");
}

proptest::proptest! {
    #[test]
    fn no_header_passes_without_the_secret(
        values in proptest::collection::vec("[ -~]{0,60}", 3), body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
    ) {
        for preset in Provider::ALL.into_iter().filter_map(Provider::preset) {
            let names = [Some(preset.header), preset.id_header, preset.time_header];
            let prefixed = format!("{}{}", preset.prefix, values[0]);
            let given = [prefixed.as_str(), &values[1], &values[2]];
            let fields: Vec<_> = names.into_iter().zip(given).filter_map(|(name, value)| Some((name?, value.trim()))).collect();
            let secrets = vec![Secret::new(&b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"[..])];
            let verifier = Verifier::new(&VerificationIr { recipe: preset.recipe(), secrets, handshake: None }).unwrap();
            proptest::prop_assert!(verifier.verify(&headers(&fields), &body, NOW).is_err());
        }
    }
}
