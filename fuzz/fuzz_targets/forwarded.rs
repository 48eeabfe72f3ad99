//! What a caller writes into X-Forwarded-For, x-request-id and traceparent is not believed, and goes on well formed.
//! Run with `cargo +nightly fuzz run forwarded`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dataplane::http::fuzz::forwarded(bytes));
