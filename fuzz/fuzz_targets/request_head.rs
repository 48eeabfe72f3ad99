//! However the bytes of a connection are cut, the gate passes the same ones; and no bytes make it panic.
//! Run with `cargo +nightly fuzz run request_head`.
#![no_main]

use dataplane::http::Gate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = Gate::passed_of(bytes, usize::MAX);
    assert_eq!(whole, Gate::passed_of(bytes, 1));
    assert_eq!(whole, Gate::passed_of(bytes, 7));
});
