//! No header, no query and no body make a verifier panic, and none passes without the secret: neither a request with a
//! signature, nor one that asks with a token.
//! Run with `cargo +nightly fuzz run signature`.
#![no_main]

use std::net::Ipv4Addr;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use policy::request::RequestHead;
use policy::secret::Secret;
use policy::webhook_source::handshake::asked;
use policy::webhook_source::{Provider, SecretFormat, UrlScheme, VerificationIr, Verifier};

/// A secret that nobody knows, as it is written.
fn secret(format: SecretFormat) -> &'static str {
    match format {
        SecretFormat::Text => "a secret that the fuzzer does not guess",
        SecretFormat::Hex => "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        SecretFormat::Whsec => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        SecretFormat::P256 => {
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
        }
    }
}

fuzz_target!(|input: (Vec<Vec<u8>>, String, bool, Vec<u8>)| {
    let (values, query, form, body) = input;
    for provider in Provider::ALL.iter().copied() {
        let Some(preset) = provider.preset() else { continue };
        let recipe = preset.recipe();
        let mut headers = HeaderMap::new();
        if form {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        for (name, value) in recipe.headers().zip(&values) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        let secrets = vec![Secret::new(secret(recipe.secret).as_bytes())];
        let verifier = Verifier::new(&VerificationIr { recipe, secrets, handshake: None, url_scheme: None }).unwrap();
        let (method, address) = (&Method::POST, Ipv4Addr::LOCALHOST.into());
        let head = RequestHead { method, host: "h", path: "/", query: Some(&query), headers: &headers, address };
        assert!(verifier.verify(&head, UrlScheme::Https, &body, 1_614_265_330).is_err());
        let token = Secret::new(b"a token that the fuzzer does not guess".as_slice());
        let answer = asked(provider, &RequestHead { method: &Method::GET, ..head }, Some(&token));
        let by_token = matches!(provider, Provider::WhatsApp | Provider::Meta);
        assert!(!by_token || answer.is_err());
    }
});
