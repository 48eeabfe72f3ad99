//! A row of the store is an event or damaged, and never the end of reading.
//! Run with `cargo +nightly fuzz run row`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|parts: (&[u8], &[u8])| dataplane::event::fuzz::row(parts.0, parts.1));
