//! A tenant's file on the volume is refused, or says the same when it is written again.
//! Run with `cargo +nightly fuzz run snapshot`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use policy::snapshot::{Blob, TenantSnapshot};

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = Blob::from_bytes(bytes.to_vec()).decode::<TenantSnapshot>() else { return };
    let written = Blob::encode(&read).unwrap();
    assert_eq!(written.decode::<TenantSnapshot>().unwrap(), read);
});
