//! JSON from outside: what is let through is read, within its bound of depth, and can be read again from within a record.

#![no_main]

use libfuzzer_sys::fuzz_target;
use selvedge_model::{JSON_DEPTH_MAX, check_json};
use serde::de::IgnoredAny;
use serde_json::Value;

/// More levels than any record has around what it keeps.
const RECORD_LEVELS: usize = 32;

fuzz_target!(|text: &[u8]| {
    if check_json(text).is_err() {
        return;
    }
    let Ok(value) = serde_json::from_slice::<Value>(text) else {
        return;
    };
    assert!(depth_of(&value) <= JSON_DEPTH_MAX);
    let written = value.to_string();
    assert_eq!(check_json(written.as_bytes()), Ok(()), "{written}");
    assert_eq!(serde_json::from_str::<Value>(&written).ok().as_ref(), Some(&value), "{written}");
    let record = format!("{}{written}{}", "[".repeat(RECORD_LEVELS), "]".repeat(RECORD_LEVELS));
    assert!(serde_json::from_str::<IgnoredAny>(&record).is_ok(), "{written}");
});

fn depth_of(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth_of).max().unwrap_or_default(),
        Value::Object(map) => 1 + map.values().map(depth_of).max().unwrap_or_default(),
        _ => 0,
    }
}
