//! No text is a token unless it was signed.
//! Run with `cargo +nightly fuzz run token`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use policy::jwt::{Algorithm, JwtIr, JwtKeyIr, JwtMethod, KeyMaterial};
use policy::names::TenantName;
use policy::secret::Secret;

static METHOD: LazyLock<JwtMethod> = LazyLock::new(|| {
    let material = KeyMaterial::Hmac(Secret::new(b"a secret that the fuzzer does not guess".as_slice()));
    let ir = JwtIr {
        name: "fuzzed".into(),
        issuer: "https://auth.example".into(),
        audiences: vec!["postern".into()],
        keys: vec![JwtKeyIr { kid: None, algorithms: vec![Algorithm::HS256], material }],
        clock_skew_secs: 30,
        tenant_claim: None,
        roles_from: Vec::new(),
        forward: Vec::new(),
    };
    JwtMethod::new(&TenantName::parse("acme").unwrap(), &ir).unwrap()
});

fuzz_target!(|text: &str| assert!(METHOD.verify(text, 1_800_000_000).is_err()));
