//! The cache through its public face, against the documented behaviour of the Workers Cache API, in virtual time.
// A helper that cannot do its work ends the test.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use selvedge_cache::{
    CacheKey, CacheLimits, CacheRequest, HttpCache, NotStored, PutError, QueryOptions, StoreOutcome, VARIANTS_MAX,
};

const KIB: usize = 1024;
const URL: &str = "https://example.com/";

/// A cache and a clock that only the test moves.
struct Fixture {
    cache: HttpCache,
    now: SystemTime,
}

impl Fixture {
    fn new() -> Self {
        Self::with(CacheLimits::default())
    }

    fn with(limits: CacheLimits) -> Self {
        Self { cache: HttpCache::new(limits), now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) }
    }

    fn advance(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn put(&self, url: &str, request: &[(&str, &str)], response: Response<Bytes>) -> StoreOutcome {
        self.try_put(&key(url), &Method::GET, request, response).unwrap()
    }

    fn try_put(
        &self,
        key: &CacheKey,
        method: &Method,
        request: &[(&str, &str)],
        response: Response<Bytes>,
    ) -> Result<StoreOutcome, PutError> {
        let headers = &headers(request);
        self.cache.put(CacheRequest { key, method, headers }, response, self.now)
    }

    fn get(&self, url: &str, request: &[(&str, &str)]) -> Option<Response<Bytes>> {
        self.get_key(&key(url), &Method::GET, request, QueryOptions::default())
    }

    fn get_key(
        &self,
        key: &CacheKey,
        method: &Method,
        request: &[(&str, &str)],
        options: QueryOptions,
    ) -> Option<Response<Bytes>> {
        let headers = &headers(request);
        self.cache.match_request(CacheRequest { key, method, headers }, options, self.now)
    }

    fn delete(&self, url: &str, method: &Method, options: QueryOptions) -> bool {
        let (key, headers) = (&key(url), &HeaderMap::new());
        self.cache.delete(CacheRequest { key, method, headers }, options, self.now)
    }
}

fn key(url: &str) -> CacheKey {
    CacheKey::from_url("account", None, url).unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn response(body: impl Into<Bytes>, pairs: &[(&str, &str)]) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.headers_mut() = headers(pairs);
    response
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

fn body(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

#[test]
fn a_stored_response_comes_back_whole_and_marked() {
    let mut fixture = Fixture::new();
    let stored = response("body", &[("cache-control", "max-age=3600"), ("x-key", "value")]);
    assert_eq!(fixture.put(URL, &[], stored), StoreOutcome::Stored);
    fixture.advance(5);

    let hit = fixture.get(URL, &[]).unwrap();
    assert_eq!((hit.status(), body(&hit)), (StatusCode::OK, "body"));
    for (name, value) in [
        ("cache-control", "max-age=3600"),
        ("x-key", "value"),
        ("cf-cache-status", "HIT"),
        ("age", "5"),
        ("content-length", "4"),
    ] {
        assert_eq!(header(&hit, name), Some(value), "{name}");
    }
    assert!(fixture.get("https://example.com/other", &[]).is_none());
}

#[test]
fn statuses_and_repeated_headers_survive() {
    let fixture = Fixture::new();
    let mut stored = response("gone", &[("cache-control", "max-age=60"), ("link", "<a>"), ("link", "<b>")]);
    stored.headers_mut().append("link", HeaderValue::from_static("<c>"));
    *stored.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    fixture.put(URL, &[], stored);
    let hit = fixture.get(URL, &[]).unwrap();
    assert_eq!(hit.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(hit.headers().get_all("link").iter().count(), 3);
}

#[test]
fn an_entry_is_gone_the_moment_its_lifetime_ends() {
    for (control, lifetime_s) in [("max-age=10", 10), ("s-maxage=4, max-age=10", 4)] {
        let mut fixture = Fixture::new();
        fixture.put(URL, &[], response("body", &[("cache-control", control)]));
        fixture.advance(lifetime_s - 1);
        assert!(fixture.get(URL, &[]).is_some(), "{control}");
        fixture.advance(1);
        assert!(fixture.get(URL, &[]).is_none(), "{control}");
        assert_eq!(fixture.cache.usage().bytes, 0, "a stale entry is freed when it is found");
    }
}

#[test]
fn expires_is_an_instant() {
    let mut fixture = Fixture::new();
    let expires = httpdate::fmt_http_date(fixture.now + Duration::from_secs(2));
    fixture.put(URL, &[], response("body", &[("expires", &expires)]));
    fixture.advance(1);
    assert!(fixture.get(URL, &[]).is_some());
    fixture.advance(1);
    assert!(fixture.get(URL, &[]).is_none());
}

#[test]
fn age_counts_from_the_age_on_arrival() {
    let mut fixture = Fixture::new();
    fixture.put(URL, &[], response("body", &[("cache-control", "max-age=60"), ("age", "20")]));
    fixture.advance(39);
    assert_eq!(header(&fixture.get(URL, &[]).unwrap(), "age"), Some("59"));
    fixture.advance(1);
    assert!(fixture.get(URL, &[]).is_none());
}

#[test]
fn a_clock_that_steps_back_does_no_harm() {
    let mut fixture = Fixture::new();
    fixture.put(URL, &[], response("body", &[("cache-control", "max-age=60")]));
    fixture.now -= Duration::from_secs(1000);
    assert_eq!(header(&fixture.get(URL, &[]).unwrap(), "age"), Some("0"));
}

#[test]
fn a_put_that_is_not_stored_leaves_the_old_response() {
    let fixture = Fixture::new();
    fixture.put(URL, &[], response("old", &[("cache-control", "max-age=60")]));
    let outcome = fixture.put(URL, &[], response("new", &[("cache-control", "no-store")]));
    assert_eq!(outcome, StoreOutcome::NotStored(NotStored::NoStore));
    assert_eq!(body(&fixture.get(URL, &[]).unwrap()), "old");
    fixture.put(URL, &[], response("new", &[("cache-control", "max-age=60")]));
    assert_eq!(body(&fixture.get(URL, &[]).unwrap()), "new");
}

#[test]
fn a_put_that_throws_says_what_the_platform_says() {
    let fixture = Fixture::new();
    let partial = |mut response: Response<Bytes>| {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response
    };
    for (method, stored, message) in [
        (Method::POST, response("", &[]), "Cannot cache response to non-GET request."),
        (Method::GET, partial(response("", &[])), "Cannot cache response to a range request (206 Partial Content)."),
        (Method::GET, response("", &[("vary", "*")]), "Cannot cache response with 'Vary: *' header."),
    ] {
        let error = fixture.try_put(&key(URL), &method, &[], stored).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn only_get_matches_unless_the_method_is_ignored() {
    let fixture = Fixture::new();
    fixture.put(URL, &[], response("body", &[]));
    let ignore = QueryOptions { ignore_method: true };
    for method in [Method::POST, Method::HEAD] {
        let get = |options| fixture.get_key(&key(URL), &method, &[], options);
        assert!(get(QueryOptions::default()).is_none());
        assert!(get(ignore).is_some());
    }
    assert!(!fixture.delete(URL, &Method::POST, QueryOptions::default()));
    assert!(fixture.delete(URL, &Method::POST, ignore));
    assert!(!fixture.delete(URL, &Method::GET, QueryOptions::default()));
}

#[test]
fn delete_says_whether_something_fresh_was_there() {
    let mut fixture = Fixture::new();
    fixture.put(URL, &[], response("body", &[("cache-control", "max-age=5")]));
    assert!(fixture.delete(URL, &Method::GET, QueryOptions::default()));
    assert!(fixture.get(URL, &[]).is_none());
    fixture.put(URL, &[], response("body", &[("cache-control", "max-age=5")]));
    fixture.advance(5);
    assert!(!fixture.delete(URL, &Method::GET, QueryOptions::default()));
}

#[test]
fn namespaces_cache_names_and_custom_keys_are_disjoint() {
    let fixture = Fixture::new();
    let keys = [
        CacheKey::from_url("a", None, URL).unwrap(),
        CacheKey::from_url("b", None, URL).unwrap(),
        CacheKey::from_url("a", Some(""), URL).unwrap(),
        CacheKey::from_url("a", Some("default"), URL).unwrap(),
        CacheKey::from_url("a", Some("1"), URL).unwrap(),
        CacheKey::custom("a", None, URL).unwrap(),
    ];
    for (index, key) in keys.iter().enumerate() {
        fixture.try_put(key, &Method::GET, &[], response(index.to_string(), &[])).unwrap();
    }
    for (index, key) in keys.iter().enumerate() {
        let hit = fixture.get_key(key, &Method::GET, &[], QueryOptions::default()).unwrap();
        assert_eq!(body(&hit), index.to_string());
    }
}

#[test]
fn variants_answer_the_requests_they_were_stored_for() {
    let fixture = Fixture::new();
    for language in ["en", "de"] {
        let stored = response(language, &[("vary", "Accept-Language")]);
        fixture.put(URL, &[("accept-language", language)], stored);
    }
    fixture.put(URL, &[], response("none", &[("vary", "accept-language")]));

    for (request, expected) in [
        (&[("accept-language", "en")][..], Some("en")),
        (&[("accept-language", "de"), ("x-other", "1")], Some("de")),
        (&[], Some("none")),
        (&[("accept-language", "fr")], None),
    ] {
        let hit = fixture.get(URL, request);
        assert_eq!(hit.as_ref().map(body), expected, "{request:?}");
    }

    // A response that no longer varies answers everyone it can; others keep their own.
    fixture.put(URL, &[("accept-language", "en")], response("all", &[]));
    assert_eq!(body(&fixture.get(URL, &[("accept-language", "fr")]).unwrap()), "all");
    assert!(fixture.delete(URL, &Method::GET, QueryOptions::default()));
    assert!(fixture.get(URL, &[("accept-language", "de")]).is_none());
}

#[test]
fn an_unencoded_body_answers_any_accept_encoding() {
    let fixture = Fixture::new();
    fixture.put(URL, &[], response("plain", &[("vary", "accept-encoding")]));
    assert!(fixture.get(URL, &[("accept-encoding", "gzip, br")]).is_some());

    let encoded = response("zipped", &[("vary", "accept-encoding"), ("content-encoding", "gzip")]);
    let url = "https://example.com/encoded";
    fixture.put(url, &[("accept-encoding", "gzip")], encoded);
    assert!(fixture.get(url, &[("accept-encoding", "gzip")]).is_some());
    assert!(fixture.get(url, &[]).is_none());
}

#[test]
fn if_none_match_compares_weakly_and_takes_lists_and_stars() {
    let fixture = Fixture::new();
    fixture.put(
        URL,
        &[],
        response("body", &[("etag", "\"thing\""), ("last-modified", "Tue, 13 Sep 2022 12:00:00 GMT")]),
    );
    for (value, status) in [
        ("\"thing\"", 304),
        ("   W/\"thing\"      ", 304),
        ("\"not the thing\"", 200),
        ("\"not the thing\",    \"thing\"    , W/\"still not the thing\"", 304),
        ("*", 304),
        ("not quoted", 200),
        ("\"a, \"thing\"", 200),
    ] {
        let hit = fixture.get(URL, &[("if-none-match", value.trim())]).unwrap();
        assert_eq!(hit.status().as_u16(), status, "{value}");
        assert_eq!(hit.body().is_empty(), status == 304);
        assert_eq!(header(&hit, "cf-cache-status"), Some("HIT"));
    }
    // The entity tag outranks the date.
    let both = [("if-none-match", "\"other\""), ("if-modified-since", "Tue, 13 Sep 2022 13:00:00 GMT")];
    assert_eq!(fixture.get(URL, &both).unwrap().status(), StatusCode::OK);
}

#[test]
fn if_modified_since_compares_dates() {
    let fixture = Fixture::new();
    fixture.put(URL, &[], response("body", &[("last-modified", "Tue, 13 Sep 2022 12:00:00 GMT")]));
    for (value, status) in [
        ("Tue, 13 Sep 2022 11:00:00 GMT", 200),
        ("Tue, 13 Sep 2022 12:00:00 GMT", 304),
        ("Tue, 13 Sep 2022 13:00:00 GMT", 304),
        ("13 Sep 2022 13:00:00 GMT", 200),
    ] {
        let hit = fixture.get(URL, &[("if-modified-since", value)]).unwrap();
        assert_eq!(hit.status().as_u16(), status, "{value}");
    }
}

#[test]
fn one_range_gives_that_part() {
    let fixture = Fixture::new();
    fixture.put(URL, &[], response("0123456789", &[("content-type", "text/plain"), ("etag", "\"a\"")]));
    for (request, status, text, content_range) in [
        (&[("range", "bytes=2-4")][..], 206, "234", Some("bytes 2-4/10")),
        (&[("range", "bytes=7-")], 206, "789", Some("bytes 7-9/10")),
        (&[("range", "bytes=-3")], 206, "789", Some("bytes 7-9/10")),
        (&[("range", "bytes=-99")], 206, "0123456789", Some("bytes 0-9/10")),
        (&[("range", "bytes=5-99")], 206, "56789", Some("bytes 5-9/10")),
        (&[("range", "bytes=15-")], 416, "", Some("bytes */10")),
        (&[("range", "bytes=-0")], 416, "", Some("bytes */10")),
        (&[("range", "bytes=4-2")], 200, "0123456789", None),
        (&[("range", "lines=1-2")], 200, "0123456789", None),
        (&[("range", "bytes=0-,0-,0-,0-")], 200, "0123456789", None),
        (&[("range", "bytes=2-4"), ("if-range", "\"a\"")], 206, "234", Some("bytes 2-4/10")),
        (&[("range", "bytes=2-4"), ("if-range", "\"b\"")], 200, "0123456789", None),
        (&[("range", "bytes=2-4"), ("if-range", "?")], 200, "0123456789", None),
        (&[("range", "bytes=2-4"), ("if-none-match", "\"a\"")], 304, "", None),
    ] {
        let hit = fixture.get(URL, request).unwrap();
        assert_eq!((hit.status().as_u16(), body(&hit)), (status, text), "{request:?}");
        assert_eq!(header(&hit, "content-range"), content_range, "{request:?}");
    }
}

#[test]
fn several_ranges_give_a_multipart_body() {
    let fixture = Fixture::new();
    fixture.put(URL, &[], response("0123456789", &[("content-type", "text/plain")]));
    let hit = fixture.get(URL, &[("range", "bytes=1-3,5-6")]).unwrap();
    assert_eq!(hit.status(), StatusCode::PARTIAL_CONTENT);
    let (media_type, boundary) = header(&hit, "content-type").unwrap().split_once('=').unwrap();
    assert_eq!(media_type, "multipart/byteranges; boundary");
    let part = |range, text| {
        format!("--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes {range}/10\r\n\r\n{text}\r\n")
    };
    let expected = format!("{}{}--{boundary}--", part("1-3", "123"), part("5-6", "56"));
    assert_eq!(body(&hit), expected);
}

#[test]
fn only_200_answers_ranges() {
    let fixture = Fixture::new();
    let mut stored = response("missing", &[]);
    *stored.status_mut() = StatusCode::NOT_FOUND;
    fixture.put(URL, &[], stored);
    assert_eq!(fixture.get(URL, &[("range", "bytes=0-1")]).unwrap().status(), StatusCode::NOT_FOUND);
}

fn small() -> CacheLimits {
    CacheLimits { cache_bytes_max: 64 * KIB, entry_bytes_max: 16 * KIB, entries_max: 100 }
}

#[test]
fn the_least_recently_used_url_leaves_first() {
    let fixture = Fixture::with(small());
    let url = |n: usize| format!("https://example.com/{n}");
    let big = || response(vec![b'x'; 12 * KIB], &[]);
    // Five of these fit.
    for n in 0..5 {
        fixture.put(&url(n), &[], big());
    }
    assert!(fixture.get(&url(0), &[]).is_some());
    fixture.put(&url(5), &[], big());

    let held = (0..6).filter(|n| fixture.get(&url(*n), &[]).is_some()).collect::<Vec<_>>();
    assert_eq!(held, [0, 2, 3, 4, 5]);
    assert!(fixture.cache.usage().bytes <= 64 * KIB);
}

#[test]
fn an_entry_over_the_limit_is_not_stored() {
    let fixture = Fixture::with(small());
    let outcome = fixture.put(URL, &[], response(vec![0; 16 * KIB], &[]));
    assert!(matches!(outcome, StoreOutcome::NotStored(NotStored::TooLarge { bytes_max, .. }) if bytes_max == 16 * KIB));
    let outcome = fixture.put(URL, &[], response("", &[("x-large", &"x".repeat(16 * KIB))]));
    assert!(matches!(outcome, StoreOutcome::NotStored(NotStored::TooLarge { .. })));
    assert_eq!(fixture.cache.usage().entries, 0);
}

#[test]
fn urls_and_variants_are_counted_too() {
    let fixture = Fixture::with(CacheLimits { entries_max: 3, ..CacheLimits::default() });
    for n in 0..10 {
        fixture.put(&format!("https://example.com/{n}"), &[], response("", &[]));
    }
    assert_eq!(fixture.cache.usage().entries, 3);

    let fixture = Fixture::new();
    for n in 0..=VARIANTS_MAX {
        fixture.put(URL, &[("x-n", &n.to_string())], response("", &[("vary", "x-n")]));
    }
    assert!(fixture.get(URL, &[("x-n", "0")]).is_none());
    assert!(fixture.get(URL, &[("x-n", "1")]).is_some());
}

#[test]
fn the_variants_of_one_url_stay_inside_the_cache() {
    let fixture = Fixture::with(small());
    for n in 0..20 {
        let stored = response(vec![b'x'; 12 * KIB], &[("vary", "x-n")]);
        assert_eq!(fixture.put(URL, &[("x-n", &n.to_string())], stored), StoreOutcome::Stored);
        assert!(fixture.cache.usage().bytes <= 64 * KIB);
    }
    assert!(fixture.get(URL, &[("x-n", "19")]).is_some());
    assert!(fixture.get(URL, &[("x-n", "0")]).is_none());
}

#[test]
fn a_cache_of_no_bytes_stores_nothing() {
    let fixture = Fixture::with(CacheLimits { cache_bytes_max: 0, entry_bytes_max: 0, entries_max: 0 });
    assert!(matches!(fixture.put(URL, &[], response("x", &[])), StoreOutcome::NotStored(NotStored::TooLarge { .. })));
}

#[test]
fn a_stored_body_does_not_keep_its_buffer_alive() {
    let fixture = Fixture::new();
    let buffer = Bytes::from(vec![b'x'; 1024 * KIB]);
    fixture.put(URL, &[], response(buffer.slice(..10), &[]));
    assert!(buffer.is_unique());
}
