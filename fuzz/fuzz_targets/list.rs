//! A list of a provider's ranges lets in somebody and not everybody, whatever is written in it.
//! Run with `cargo +nightly fuzz run list`.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use policy::ip_allow::{ProviderRangesSpec, compile_ranges};
use policy::names::{Kind, ObjectRef};
use policy::problem::Problems;

const NOW: i64 = 1_800_000_000;

fuzz_target!(|input: (String, String, Vec<String>)| {
    let (provider, date, ranges) = input;
    let spec = ProviderRangesSpec { version: 1, provider, source: "a fuzzer".to_owned(), date, ranges };
    let object = ObjectRef::new(Kind::ConfigMap, "a", "b");
    let mut found = Vec::new();
    match compile_ranges(&spec, NOW, Problems::of(&object, &mut found)) {
        Some(list) => {
            assert!(!list.ranges.is_empty() && list.date_secs <= NOW + 86_400);
            let narrow = |net: &ipnet::IpNet| match net.addr() {
                IpAddr::V4(_) => net.prefix_len() >= 8,
                IpAddr::V6(_) => net.prefix_len() >= 16,
            };
            assert!(list.ranges.iter().all(narrow));
        }
        None => assert!(!found.is_empty(), "a list that is refused is refused for a reason"),
    }
});
