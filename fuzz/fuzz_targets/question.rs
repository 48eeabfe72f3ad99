//! A question to a shard is refused, or says the same when it is written again.
//! Run with `cargo +nightly fuzz run question`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dataplane::event::fuzz::question(bytes));
