//! A canonical path is its own canonical path, and nobody can read another one in it.
//! Run with `cargo +nightly fuzz run path`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dataplane::http::fuzz::path(bytes));
