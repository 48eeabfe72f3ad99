//! No body, JSON or a form, makes a provider's splitter or the sanitiser panic, and every event of it has an id
//! and a type; times are read from it too.
//! Run with `cargo +nightly fuzz run payload`.
#![no_main]

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use policy::webhook_source::{Preset, Provider, SanitiseIr, sanitise, split};

fuzz_target!(|body: &[u8]| {
    for provider in Provider::ALL.iter().copied() {
        let extraction = provider.preset().map(Preset::extraction).unwrap_or_default();
        let form = (CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        for headers in [HeaderMap::new(), HeaderMap::from_iter([form])] {
            for mut entry in split(provider, &extraction, &headers, body).into_iter().flatten() {
                assert!(!entry.id.is_empty() && !entry.kind.is_empty());
                let _ = sanitise(&SanitiseIr::default(), &mut entry);
            }
        }
    }
});
