//! The `metadata` of an upload.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    selvedge_api::fuzzing::parse_metadata(text);
});
