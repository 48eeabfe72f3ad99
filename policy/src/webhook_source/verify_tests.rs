use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::*;
use crate::webhook_source::presets;

fn recipe(provider: &str) -> Option<Recipe> {
    Some(match provider {
        "meta_whatsapp" => presets::whatsapp(),
        "genesys_open_messaging" => presets::genesys_open_messaging(),
        "github" => presets::github(),
        "shopify" => presets::shopify(),
        "standard_webhooks" => presets::standard_webhooks(),
        "svix" => presets::svix(),
        "slack" => presets::slack(),
        "discord" => presets::discord(),
        "telegram" => presets::telegram(),
        _ => return None,
    })
}

fn vectors() -> Vec<(Value, HeaderMap)> {
    let all: Vec<Value> = serde_json::from_str(include_str!("golden/signatures.json")).unwrap();
    let headers = |vector: &Value| {
        let pairs = vector["headers"].as_object().unwrap().iter();
        pairs.map(|(n, v)| (n.parse::<HeaderName>().unwrap(), v.as_str().unwrap().parse().unwrap())).collect()
    };
    all.into_iter().map(|vector| (vector.clone(), headers(&vector))).collect()
}

fn secret(vector: &Value) -> Secret {
    let text = vector.get("secret").or(vector.get("public_key_hex")).unwrap().as_str().unwrap();
    Secret::new(text.as_bytes())
}

fn verifier(vector: &Value) -> Verifier {
    Verifier::new(recipe(vector["provider"].as_str().unwrap()).unwrap(), &[secret(vector)]).unwrap()
}

fn now(vector: &Value) -> u64 {
    vector.get("now").and_then(Value::as_u64).unwrap_or(1_700_000_000)
}

fn valid() -> impl Iterator<Item = (Value, HeaderMap)> {
    vectors().into_iter().filter(|(v, _)| v["expect"].as_str().unwrap().starts_with("valid"))
}

#[test]
fn every_vector_is_judged_as_it_says() {
    for (vector, headers) in vectors() {
        let body = vector["body"].as_str().unwrap().as_bytes();
        let taken = verifier(&vector).verify(&headers, body, now(&vector)).is_ok();
        assert_eq!(taken, vector["expect"].as_str().unwrap().starts_with("valid"), "{vector}");
    }
}

#[test]
fn another_body_is_refused_unless_the_header_is_only_a_token() {
    for (vector, headers) in valid().filter(|(v, _)| v["provider"] != "telegram") {
        let body = format!("{} ", vector["body"].as_str().unwrap());
        let refusal = verifier(&vector).verify(&headers, body.as_bytes(), now(&vector)).unwrap_err();
        assert_eq!(refusal.reason, Reason::SignatureInvalid, "{vector}");
    }
}

#[test]
fn a_missing_or_doubled_signature_header_is_refused() {
    for (vector, mut headers) in valid() {
        let verifier = verifier(&vector);
        let body = vector["body"].as_str().unwrap().as_bytes();
        let name: HeaderName = verifier.recipe.header.parse().unwrap();
        let value: HeaderValue = headers[&name].clone();
        headers.append(&name, value);
        assert_eq!(verifier.verify(&headers, body, now(&vector)).unwrap_err().reason, Reason::SignatureInvalid);
        headers.remove(&name);
        assert_eq!(verifier.verify(&headers, body, now(&vector)).unwrap_err().reason, Reason::SignatureMissing);
    }
}

#[test]
fn a_signed_time_is_refused_on_both_sides_of_its_window() {
    for (vector, headers) in valid().filter(|(v, _)| v.get("now").is_some()) {
        let body = vector["body"].as_str().unwrap().as_bytes();
        let verify = |at| verifier(&vector).verify(&headers, body, at).map_err(|refusal| refusal.reason);
        assert_eq!(verify(now(&vector) + 300), Ok(()));
        assert_eq!(verify(now(&vector) - 300), Ok(()));
        assert_eq!(verify(now(&vector) + 301), Err(Reason::TimestampOutsideWindow));
        assert_eq!(verify(now(&vector) - 301), Err(Reason::TimestampOutsideWindow));
    }
}

#[test]
fn any_active_secret_takes_and_a_wrong_one_alone_refuses() {
    let (vector, headers) = valid().find(|(v, _)| v["provider"] == "meta_whatsapp").unwrap();
    let body = vector["body"].as_str().unwrap().as_bytes();
    let other = Secret::new(b"another".as_slice());
    let both = Verifier::new(presets::whatsapp(), &[other.clone(), secret(&vector)]).unwrap();
    assert!(both.verify(&headers, body, 0).is_ok());
    let wrong = Verifier::new(presets::whatsapp(), &[other]).unwrap();
    assert_eq!(wrong.verify(&headers, body, 0).unwrap_err().reason, Reason::SignatureInvalid);
}

#[test]
fn what_cannot_protect_is_not_built() {
    let empty = Secret::new(b"".as_slice());
    assert_eq!(Verifier::new(presets::whatsapp(), &[]).unwrap_err(), RecipeProblem::NoSecret);
    assert_eq!(Verifier::new(presets::whatsapp(), &[empty]).unwrap_err(), RecipeProblem::Secret(0));
    let some = [Secret::new(b"s".as_slice())];
    let unsigned = Recipe { signed: Vec::new(), ..presets::whatsapp() };
    assert_eq!(Verifier::new(unsigned, &some).unwrap_err(), RecipeProblem::BodyUnsigned);
    let untimed = Recipe { signed: vec![Part::Body], ..presets::slack() };
    assert_eq!(Verifier::new(untimed, &some).unwrap_err(), RecipeProblem::TimestampUnsigned);
}
