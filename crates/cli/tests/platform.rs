//! What a worker finds inside: asked of it, and held against what workerd answers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use serde_json::Value;

mod support;

use support::Dev;

#[test]
fn the_platform_answers_as_workerd_does() {
    let (dev, _folder) = Dev::script(include_str!("workers/platform.js"));
    // Differences that are meant: the clock does not move while code runs (`frozen`), an exception in a timer is an error
    // event (`timer throws`), and the cache is there (`cache`: workerd alone has none).
    let expected: Value = serde_json::from_str(include_str!("workers/platform.json")).unwrap();
    let answered = dev.get("/").json();
    let (expected, answered) = (expected.as_object().unwrap(), answered.as_object().unwrap());
    let wrong: Vec<String> = expected
        .iter()
        .filter(|(name, value)| answered.get(*name) != Some(value))
        .map(|(name, value)| format!("{name}: expected {value}, got {:?}", answered.get(name)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(answered.len(), expected.len());
}

#[test]
fn a_cache_keeps_what_it_may_and_says_why_not_otherwise() {
    let (dev, _folder) = Dev::script(include_str!("workers/caches.js"));
    assert_eq!(
        dev.get("/").json(),
        serde_json::json!({
            "206": "Cannot cache response to a range request (206 Partial Content).",
            "vary": "Cannot cache response with 'Vary: *' header.",
            "post": "Cannot cache response to non-GET request.",
            "error": "Cache is unable to store an error response",
            "match post": "undefined",
            "ignoreMethod": "200",
            "another cache": "undefined",
            "no-store": "undefined",
            "coded by hand": "plain",
            "large": "2000000",
            "range": "206 234 bytes 2-4/10",
            "etag": "304",
        })
    );
    let first = dev.get("/page");
    assert_eq!(first.header("cf-cache-status"), None);
    let second =
        support::eventually("a hit", || Some(dev.get("/page")).filter(|answer| answer.header("age").is_some()));
    assert_eq!((second.header("cf-cache-status"), second.text()), (Some("HIT"), first.text()));
}
