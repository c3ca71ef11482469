//! Whether a response is stored, which of its headers are, and for how long. Pure.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use thiserror::Error;

use crate::cache_control::{CacheControl, Scope};
use crate::vary::varied_names;

/// Most header names one response may vary by.
pub const VARY_NAMES_MAX: usize = 32;

/// Lifetimes of responses that state none.
/// Source: <https://developers.cloudflare.com/cache/how-to/configure-cache-status-code/>.
const DEFAULT_LIFETIMES: &[(StatusCode, Duration)] = &[
    (StatusCode::OK, Duration::from_secs(120 * 60)),
    (StatusCode::MOVED_PERMANENTLY, Duration::from_secs(120 * 60)),
    (StatusCode::FOUND, Duration::from_secs(20 * 60)),
    (StatusCode::SEE_OTHER, Duration::from_secs(20 * 60)),
    (StatusCode::NOT_FOUND, Duration::from_secs(3 * 60)),
    (StatusCode::GONE, Duration::from_secs(3 * 60)),
];

/// Headers that belong to one connection or one delivery and are not stored.
const NOT_STORED_HEADERS: &[&str] = &[
    "age",
    "cf-cache-status",
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A `put` that throws. The text is the `TypeError` message the platform gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PutError {
    #[error("Cannot cache response to non-GET request.")]
    NotGet,
    #[error("Cannot cache response to a range request (206 Partial Content).")]
    PartialContent,
    #[error("Cannot cache response with 'Vary: *' header.")]
    VaryStar,
    #[error("Cannot cache WebSocket upgrade response.")]
    Upgrade,
}

/// Why a valid `put` stored nothing. The worker sees success; the text is for logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotStored {
    #[error("the response is 304 Not Modified")]
    NotModified,
    #[error("Cache-Control: no-store")]
    NoStore,
    #[error("Cache-Control: private")]
    Private,
    #[error("Cache-Control: no-cache, and the Cache API cannot revalidate")]
    NoCache,
    #[error("the response sets a cookie; remove it, or set Cache-Control: private=Set-Cookie")]
    SetCookie,
    #[error("the request has Authorization and the response is not public")]
    Authorization,
    #[error("the response is already stale")]
    Stale,
    #[error("status {0} states no lifetime and has none by default")]
    NoLifetime(StatusCode),
    #[error("the response varies by {names} headers; the limit is {VARY_NAMES_MAX}")]
    TooManyVaryNames { names: usize },
    #[error("the entry has {bytes} bytes; the limit is {bytes_max}")]
    TooLarge { bytes: usize, bytes_max: usize },
}

/// How a storable response is kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// Age on arrival.
    pub(crate) initial_age: Duration,
    /// From arrival until stale; never zero.
    pub(crate) remaining: Duration,
    pub(crate) vary: Vec<HeaderName>,
}

/// Refuses what the platform refuses with an exception, before any body is read.
pub(crate) fn check(method: &Method, status: StatusCode, response: &HeaderMap) -> Result<(), PutError> {
    if method != Method::GET {
        return Err(PutError::NotGet);
    }
    match status {
        StatusCode::PARTIAL_CONTENT => Err(PutError::PartialContent),
        StatusCode::SWITCHING_PROTOCOLS => Err(PutError::Upgrade),
        _ if varied_names(response).is_none() => Err(PutError::VaryStar),
        _ => Ok(()),
    }
}

/// Decides the terms and removes the headers that must not be stored.
pub(crate) fn terms(
    request: &HeaderMap,
    status: StatusCode,
    response: &mut HeaderMap,
    now: SystemTime,
) -> Result<Terms, NotStored> {
    if status == StatusCode::NOT_MODIFIED {
        return Err(NotStored::NotModified);
    }
    let control = CacheControl::of(response);
    check_control(&control)?;
    if request.contains_key(header::AUTHORIZATION) && !allows_authorized(&control) {
        return Err(NotStored::Authorization);
    }
    let vary = varied_names(response).unwrap_or_default();
    if vary.len() > VARY_NAMES_MAX {
        return Err(NotStored::TooManyVaryNames { names: vary.len() });
    }
    let lifetime = lifetime(&control, status, response, now)?;
    let initial_age = age(response);
    let remaining = lifetime.saturating_sub(initial_age);
    if remaining.is_zero() {
        return Err(NotStored::Stale);
    }

    strip(response, &control);
    if response.contains_key(header::SET_COOKIE) {
        return Err(NotStored::SetCookie);
    }
    Ok(Terms { initial_age, remaining, vary })
}

fn check_control(control: &CacheControl) -> Result<(), NotStored> {
    if control.no_store {
        return Err(NotStored::NoStore);
    }
    if control.private == Scope::Whole {
        return Err(NotStored::Private);
    }
    if control.no_cache == Scope::Whole {
        return Err(NotStored::NoCache);
    }
    Ok(())
}

/// RFC 9111 §3.5.
fn allows_authorized(control: &CacheControl) -> bool {
    control.public || control.must_revalidate || control.s_maxage_s.is_some()
}

fn lifetime(
    control: &CacheControl,
    status: StatusCode,
    response: &HeaderMap,
    now: SystemTime,
) -> Result<Duration, NotStored> {
    if let Some(seconds) = control.s_maxage_s.or(control.max_age_s) {
        return Ok(Duration::from_secs(seconds));
    }
    if let Some(expires) = response.get(header::EXPIRES) {
        // A date that cannot be read, "0" above all, is in the past (RFC 9111 §5.3).
        let expires = expires.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
        let lifetime = expires.and_then(|expires| expires.duration_since(now).ok());
        return lifetime.ok_or(NotStored::Stale);
    }
    DEFAULT_LIFETIMES
        .iter()
        .find(|(known, _)| *known == status)
        .map(|(_, lifetime)| *lifetime)
        .ok_or(NotStored::NoLifetime(status))
}

fn age(response: &HeaderMap) -> Duration {
    let seconds =
        response.get(header::AGE).and_then(|value| value.to_str().ok()).and_then(|text| text.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

fn strip(response: &mut HeaderMap, control: &CacheControl) {
    let named_by_connection = response
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .filter_map(|name| name.trim().parse::<HeaderName>().ok())
        .collect::<Vec<_>>();
    for name in named_by_connection {
        response.remove(name);
    }
    for name in NOT_STORED_HEADERS {
        response.remove(*name);
    }
    for scope in [&control.private, &control.no_cache] {
        if let Scope::Headers(names) = scope {
            for name in names {
                response.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_700_000_000; // Tue, 14 Nov 2023 22:13:20 GMT

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
    }

    fn decide(status: u16, response: &[(&str, &str)]) -> Result<u64, NotStored> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_S);
        let status = StatusCode::from_u16(status).unwrap();
        terms(&HeaderMap::new(), status, &mut headers(response), now).map(|terms| terms.remaining.as_secs())
    }

    #[test]
    fn lifetimes_come_from_the_most_specific_statement() {
        let expires = ("expires", "Tue, 14 Nov 2023 22:13:25 GMT");
        for (response, seconds) in [
            (&[("cache-control", "max-age=60")][..], 60),
            (&[("cache-control", "s-maxage=10, max-age=60")], 10),
            (&[("cache-control", "max-age=60"), expires], 60),
            (&[expires], 5),
            (&[("cache-control", "public"), expires], 5),
            (&[("cache-control", "max-age=60"), ("age", "20")], 40),
            (&[("cache-control", "public")], 7200),
            (&[], 7200),
        ] {
            assert_eq!(decide(200, response), Ok(seconds), "{response:?}");
        }
    }

    #[test]
    fn statuses_without_a_lifetime_have_the_documented_default() {
        for (status, seconds) in [(200, 7200), (301, 7200), (302, 1200), (303, 1200), (404, 180), (410, 180)] {
            assert_eq!(decide(status, &[]), Ok(seconds), "{status}");
        }
        for status in [201, 204, 300, 307, 308, 400, 403, 500, 503] {
            let status_code = StatusCode::from_u16(status).unwrap();
            assert_eq!(decide(status, &[]), Err(NotStored::NoLifetime(status_code)), "{status}");
        }
    }

    #[test]
    fn any_status_may_state_a_lifetime() {
        for status in [200, 201, 204, 307, 400, 403, 500, 503] {
            assert_eq!(decide(status, &[("cache-control", "max-age=7")]), Ok(7), "{status}");
        }
    }

    #[test]
    fn directives_and_dates_that_forbid_storing() {
        for (response, reason) in [
            (&[("cache-control", "no-store")][..], NotStored::NoStore),
            (&[("cache-control", "private, max-age=60")], NotStored::Private),
            (&[("cache-control", "no-cache, max-age=60")], NotStored::NoCache),
            (&[("cache-control", "max-age=0")], NotStored::Stale),
            (&[("cache-control", "max-age=60"), ("age", "60")], NotStored::Stale),
            (&[("cache-control", "s-maxage=0, max-age=60")], NotStored::Stale),
            (&[("expires", "0")], NotStored::Stale),
            (&[("expires", "Tue, 14 Nov 2023 22:13:20 GMT")], NotStored::Stale),
            (&[("expires", "Tue, 14 Nov 2000 22:13:20 GMT")], NotStored::Stale),
            (&[("set-cookie", "a=b")], NotStored::SetCookie),
            (&[("set-cookie", "a=b"), ("cache-control", "public, max-age=9")], NotStored::SetCookie),
            (&[("set-cookie", "a=b"), ("cache-control", "private=x-user")], NotStored::SetCookie),
        ] {
            assert_eq!(decide(200, response), Err(reason), "{response:?}");
        }
        assert_eq!(decide(304, &[("cache-control", "max-age=9")]), Err(NotStored::NotModified));
    }

    #[test]
    fn private_set_cookie_stores_the_response_without_the_cookie() {
        let mut response =
            headers(&[("cache-control", "private=Set-Cookie, max-age=60"), ("set-cookie", "a=b"), ("x-kept", "1")]);
        let now = SystemTime::UNIX_EPOCH;
        assert!(terms(&HeaderMap::new(), StatusCode::OK, &mut response, now).is_ok());
        assert!(!response.contains_key("set-cookie"));
        assert!(response.contains_key("x-kept"));
    }

    #[test]
    fn connection_headers_are_not_stored() {
        let mut response = headers(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "timeout=5"),
            ("content-length", "5"),
            ("cf-cache-status", "MISS"),
            ("etag", "\"a\""),
        ]);
        let now = SystemTime::UNIX_EPOCH;
        assert!(terms(&HeaderMap::new(), StatusCode::OK, &mut response, now).is_ok());
        assert_eq!(response, headers(&[("etag", "\"a\"")]));
    }

    #[test]
    fn authorized_requests_need_an_explicit_permission() {
        let request = headers(&[("authorization", "Bearer x")]);
        let now = SystemTime::UNIX_EPOCH;
        for (control, stored) in [
            ("max-age=60", false),
            ("public, max-age=60", true),
            ("s-maxage=60", true),
            ("must-revalidate, max-age=60", true),
        ] {
            let outcome = terms(&request, StatusCode::OK, &mut headers(&[("cache-control", control)]), now);
            assert_eq!(outcome.is_ok(), stored, "{control}");
        }
    }

    #[test]
    fn what_the_platform_throws_for() {
        let none = HeaderMap::new();
        let star = headers(&[("vary", "accept, *")]);
        for (method, status, response, error) in [
            (Method::POST, 200, &none, PutError::NotGet),
            (Method::HEAD, 200, &none, PutError::NotGet),
            (Method::GET, 206, &none, PutError::PartialContent),
            (Method::GET, 101, &none, PutError::Upgrade),
            (Method::GET, 200, &star, PutError::VaryStar),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(check(&method, status, response), Err(error));
        }
        assert_eq!(check(&Method::GET, StatusCode::OK, &none), Ok(()));
    }

    #[test]
    fn a_response_that_varies_by_too_much_is_not_stored() {
        let names = (0..=VARY_NAMES_MAX).map(|n| format!("x-{n}")).collect::<Vec<_>>().join(",");
        let reason = NotStored::TooManyVaryNames { names: VARY_NAMES_MAX + 1 };
        assert_eq!(decide(200, &[("vary", &names)]), Err(reason));
    }
}
