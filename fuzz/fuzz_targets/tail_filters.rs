//! The filters of a tail.

#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use selvedge_telemetry::Filters;

fuzz_target!(|text: &[u8]| {
    if let Ok(filters) = serde_json::from_slice(text) {
        // What is refused is refused with a reason.
        if let Err(error) = Filters::parse(&filters, IpAddr::V4(Ipv4Addr::LOCALHOST)) {
            assert!(!error.to_string().is_empty());
        }
    }
});
