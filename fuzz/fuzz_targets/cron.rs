//! Cron expressions: what is understood is due when it says that it is next due, and not before.

#![no_main]

use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, &str)| {
    let (minutes, text) = input;
    let Ok(expression) = selvedge_cron::parse(text) else {
        return;
    };
    // From 1970 to 2100 or so.
    let after = Timestamp::from_second(i64::from(minutes % 68_000_000) * 60).expect("a time that there is");
    let Some(next) = expression.next_after(after) else {
        return;
    };
    assert!(next > after, "{text}: {next} is not after {after}");
    assert!(expression.is_due(next), "{text} is not due at {next}");
    let before = next - SignedDuration::from_mins(1);
    assert!(
        before <= after || !expression.is_due(before),
        "{text} was due at {before}, after {after} and before {next}"
    );
});
