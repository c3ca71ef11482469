//! A multipart upload, whole. The first line is the boundary. Line ends are taken for CR LF in the corpus' text.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (boundary, body) = input.split_at(end);
    let Ok(boundary) = std::str::from_utf8(boundary) else {
        return;
    };
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    selvedge_api::fuzzing::parse_upload(boundary.trim_end_matches('\r'), body);
});
