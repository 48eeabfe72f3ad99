//! What Redis says is as many claims as it has values for, or none.
//! Run with `cargo +nightly fuzz run claim`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|said: (Vec<Option<i64>>, &str)| dataplane::event::fuzz::claim(&said.0, said.1));
