//! No header and no body make a verifier panic, and none passes without the secret.
//! Run with `cargo +nightly fuzz run signature`.
#![no_main]

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use policy::secret::Secret;
use policy::webhook_source::{Provider, VerificationIr, Verifier};

fuzz_target!(|input: (Vec<Vec<u8>>, Vec<u8>)| {
    let (values, body) = input;
    for preset in Provider::ALL.into_iter().filter_map(Provider::preset) {
        let recipe = preset.recipe();
        let secrets = vec![Secret::new(&b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"[..])];
        let names = [Some(preset.header), preset.id_header, preset.time_header];
        let verifier = Verifier::new(&VerificationIr { recipe, secrets, handshake: None }).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in names.into_iter().flatten().zip(&values) {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        assert!(verifier.verify(&headers, &body, 1_614_265_330).is_err());
    }
});
