//! Whatever the document and the body, there is a verdict: a document is used or refused, and a body too.
//! Run with `cargo +nightly fuzz run schema`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::schema::{Schema, SchemaIr};

fuzz_target!(|input: (&str, &[u8])| {
    let (document, body) = input;
    if let Ok(schema) = Schema::new(&SchemaIr { document: document.into() }) {
        let _ = schema.check_body(body);
    }
});
