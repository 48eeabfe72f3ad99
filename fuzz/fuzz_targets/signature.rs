//! No header and no body make a verifier panic, and none passes without the secret.
//! Run with `cargo +nightly fuzz run signature`.
#![no_main]

use std::net::Ipv4Addr;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use policy::request::RequestHead;
use policy::secret::Secret;
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

fuzz_target!(|input: (Vec<Vec<u8>>, Vec<u8>)| {
    let (values, body) = input;
    for preset in Provider::ALL.iter().filter_map(|provider| provider.preset()) {
        let recipe = preset.recipe();
        let mut headers = HeaderMap::new();
        for (name, value) in recipe.headers().zip(&values) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        let secrets = vec![Secret::new(secret(recipe.secret).as_bytes())];
        let verifier = Verifier::new(&VerificationIr { recipe, secrets, handshake: None, url_scheme: None }).unwrap();
        let (method, address) = (&Method::POST, Ipv4Addr::LOCALHOST.into());
        let head = RequestHead { method, host: "h", path: "/", query: None, headers: &headers, address };
        assert!(verifier.verify(&head, UrlScheme::Https, &body, 1_614_265_330).is_err());
    }
});
