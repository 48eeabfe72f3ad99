//! The public vectors, and what must not pass.

use http::{HeaderName, HeaderValue, Method};
use serde_json::Value;

use super::*;
use crate::secret::Secret;
use crate::webhook_source::{Provider, RecipeIr, SecretFormat, SignatureAlgorithm};

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

fn ready(recipe: RecipeIr, secrets: &[&str]) -> Verifier {
    let secrets = secrets.iter().map(|secret| Secret::new(secret.as_bytes())).collect();
    Verifier::new(&VerificationIr { recipe, secrets, handshake: None, url_scheme: None }).unwrap()
}

fn verifier(provider: Provider, secrets: &[&str]) -> Verifier {
    ready(provider.preset().unwrap().recipe(), secrets)
}

fn head<'h>(headers: &'h HeaderMap, query: Option<&'h str>) -> RequestHead<'h> {
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    RequestHead { method: &Method::POST, host: "h.example", path: "/p", query, headers, address }
}

fn verdict(verifier: &Verifier, headers: &HeaderMap, body: &[u8], now: i64) -> Result<(), Reason> {
    let verified = verifier.verify(&head(headers, None), UrlScheme::Https, body, now);
    verified.map(drop).map_err(|refusal| refusal.reason)
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
        public_key_prefix: None,
        signed: vec![PartIr::Body],
        timestamp: None,
    };
    let verifier = ready(recipe, &[vector["secret"].as_str().unwrap()]);
    let fields = headers(&[("x-signature", vector["headers"]["X-Signature"].as_str().unwrap())]);
    assert_eq!(verdict(&verifier, &fields, vector["body"].as_str().unwrap().as_bytes(), NOW), Ok(()));
    assert!(verdict(&verifier, &fields, b"Test Payload Body ", NOW).is_err());
}

const META: (&str, &str, &str) =
    ("secret", "test", "sha256=0329a06b62cd16b33eb6792be8c60b158d89a2ee3a876fce9a881ebb488c0914");

fn meta(secrets: &[&str], fields: &[(&str, &str)], body: &str) -> Result<(), Reason> {
    verdict(&verifier(Provider::WhatsApp, secrets), &headers(fields), body.as_bytes(), NOW)
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
    let at = |now| verdict(&verifier, &fields, br#"{"test": 2432232314}"#, now);
    assert_eq!((at(NOW - 300), at(NOW + 300)), (Ok(()), Ok(())));
    let outside = Err(Reason::TimestampOutsideWindow);
    assert_eq!((at(NOW - 301), at(NOW + 301)), (outside, outside));
}

#[test]
fn a_secret_that_is_not_as_written_breaks_the_recipe() {
    let recipe = Provider::Svix.preset().unwrap().recipe();
    let broken = |secret: &str| {
        let secrets = vec![Secret::new(secret.as_bytes())];
        Verifier::new(&VerificationIr { recipe: recipe.clone(), secrets, handshake: None, url_scheme: None }).err()
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

#[test]
fn the_fields_of_a_form_are_signed_sorted_and_once() {
    let form = headers(&[("content-type", "application/x-www-form-urlencoded")]);
    let text = |body: &str| form_text(&form, None, body);
    assert_eq!(text("b=2&a=1&b=1&b=2").as_deref(), Ok("a1b1b2"));
    assert_eq!(text("").as_deref(), Ok(""));
    assert_eq!(text("a=%C3%A4+b").as_deref(), Ok("a\u{e4} b"));
}

fn form_text(headers: &HeaderMap, query: Option<&str>, body: &str) -> Result<String, Reason> {
    form(&head(headers, query), "bodySHA256", body.as_bytes()).map_err(|refusal| refusal.reason)
}

#[test]
fn a_body_that_is_no_form_needs_its_digest_once_in_the_query() {
    let json = headers(&[("content-type", "application/json")]);
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let with = |query: &str| form_text(&json, Some(query), "{}");
    assert_eq!(with(&format!("a=1&bodySHA256={digest}")).as_deref(), Ok(""));
    let invalid = Err(Reason::SignatureInvalid);
    assert_eq!(with(&format!("bodySHA256={digest}&bodySHA256={digest}")), invalid, "twice");
    assert_eq!(with("bodySHA256=").map(drop), invalid.clone().map(drop), "empty");
    assert_eq!(with("a=1"), invalid, "not there");
    assert_eq!(form_text(&json, Some(&format!("bodySHA256={digest}")), "{} "), invalid, "of another body");
}

#[test]
fn what_the_source_says_of_its_scheme_goes_before_what_a_hop_says() {
    let none = HeaderMap::new();
    let told = |scheme| url(&head(&none, Some("a=b")), scheme, "");
    assert_eq!(told(UrlScheme::Http), "http://h.example/p?a=b");
    let signed = |scheme: Option<UrlScheme>, told| {
        let recipe = Provider::Square.preset().unwrap().recipe();
        let secrets = vec![Secret::new(&b"s"[..])];
        let verifier = Verifier::new(&VerificationIr { recipe, secrets, handshake: None, url_scheme: scheme }).unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"s");
        let tag = STANDARD.encode(ring::hmac::sign(&key, b"http://h.example/p{}"));
        let fields = headers(&[("x-square-hmacsha256-signature", &tag)]);
        verifier.verify(&head(&fields, None), told, b"{}", NOW).is_ok()
    };
    assert!(signed(None, UrlScheme::Http) && signed(Some(UrlScheme::Http), UrlScheme::Https));
    assert!(!signed(None, UrlScheme::Https) && !signed(Some(UrlScheme::Https), UrlScheme::Http));
}

#[test]
fn a_signed_url_may_name_the_port_or_not() {
    let holds = |port: Option<u16>, signed: &str| {
        let verifier = verifier(Provider::Square, &["s"]);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"s");
        let tag = STANDARD.encode(ring::hmac::sign(&key, format!("{signed}{{}}").as_bytes()));
        let fields = headers(&[("x-square-hmacsha256-signature", &tag)]);
        let called = Called { scheme: UrlScheme::Https, port };
        verifier.verify(&head(&fields, None), called, b"{}", NOW).is_ok()
    };
    for port in [None, Some(443), Some(8443)] {
        assert!(holds(port, "https://h.example/p") && holds(port, "https://h.example:443/p"), "{port:?}");
        assert_eq!(holds(port, "https://h.example:8443/p"), port == Some(8443), "{port:?}");
        assert!(!holds(port, "http://h.example/p") && !holds(port, "https://h.example:80/p"), "{port:?}");
    }
}

#[test]
fn hexadecimal_may_be_in_upper_case() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("vectors/signatures.json")).unwrap();
    let vector = vectors.iter().find(|vector| vector["provider"] == "GitHub" && vector["expect"] == "valid").unwrap();
    let signature = vector["headers"]["X-Hub-Signature-256"].as_str().unwrap();
    let upper = format!("sha256={}", signature.strip_prefix("sha256=").unwrap().to_uppercase());
    let verifier = verifier(Provider::GitHub, &[vector["secret"].as_str().unwrap()]);
    let body = vector["body"].as_str().unwrap().as_bytes();
    assert_eq!(verdict(&verifier, &headers(&[("x-hub-signature-256", &upper)]), body, NOW), Ok(()));
}

#[test]
fn a_blank_secret_is_not_a_secret() {
    let recipe = Provider::GitHub.preset().unwrap().recipe();
    let secrets = vec![Secret::new(&b" \n"[..])];
    let blank = Verifier::new(&VerificationIr { recipe, secrets, handshake: None, url_scheme: None });
    assert!(matches!(blank, Err(RecipeError::Secret { index: 0, .. })), "{blank:?}");
}

#[test]
fn a_secret_and_a_public_key_are_active_side_by_side() {
    let (secret, public) =
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
    let vectors: Vec<Value> = serde_json::from_str(include_str!("vectors/signatures.json")).unwrap();
    let own = vectors.iter().filter(|vector| vector["provider"] == "Svix");
    let signatures: Vec<&str> = own.filter_map(|vector| vector["headers"]["svix-signature"].as_str()).collect();
    for signature in &signatures {
        let fields = headers(&[
            ("svix-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("svix-timestamp", "1614265330"),
            ("svix-signature", signature),
        ]);
        let both = verifier(Provider::Svix, &[public, secret]);
        assert_eq!(verdict(&both, &fields, br#"{"test": 2432232314}"#, NOW), Ok(()), "{signature}");
    }
    assert!(
        signatures.iter().any(|one| one.starts_with("v1,")) && signatures.iter().any(|one| one.starts_with("v1a,"))
    );
}
