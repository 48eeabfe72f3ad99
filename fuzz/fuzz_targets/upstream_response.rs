//! An answer is read alike however its bytes come, and no bytes make the reader panic.
//! Run with `cargo +nightly fuzz run upstream_response`.
#![no_main]

use dataplane::upstream::http1::decode::decode_answer;
use http::Method;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for method in [Method::GET, Method::HEAD] {
        let read = |piece| {
            decode_answer(&method, bytes, piece)
                .ok()
                .map(|answer| (answer.head.status, answer.head.headers, answer.body))
        };
        let whole = read(usize::MAX);
        assert_eq!(whole, read(1));
        assert_eq!(whole, read(7));
    }
});
