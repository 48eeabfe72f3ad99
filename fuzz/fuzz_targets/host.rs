//! A canonical host is its own canonical host.
//! Run with `cargo +nightly fuzz run host`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dataplane::http::fuzz::host(bytes));
