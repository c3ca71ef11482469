//! Route patterns: what is understood is written back as it was meant, and has one order.

#![no_main]

use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;
use selvedge_model::RoutePattern;

fuzz_target!(|text: &str| {
    let mut lines = text.split('\n');
    let (Some(one), Some(other)) = (lines.next(), lines.next()) else {
        return;
    };
    let Ok(one) = one.parse::<RoutePattern>() else {
        return;
    };
    let written = one.to_string();
    assert_eq!(written.parse::<RoutePattern>(), Ok(one.clone()), "{written}");
    if let (Some(host), Some(path)) = (lines.next(), lines.next())
        && one.matches(host, path)
    {
        assert!(host.ends_with(one.host()) && path.starts_with(one.path()), "{written} matches {host}{path}");
    }
    if let Ok(other) = other.parse::<RoutePattern>() {
        let order = RoutePattern::by_specificity(&one, &other);
        assert_eq!(order, RoutePattern::by_specificity(&other, &one).reverse());
        assert_eq!(order == Ordering::Equal, one == other, "{one} and {other}");
    }
});
