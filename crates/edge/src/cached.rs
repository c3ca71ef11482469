//! The Cache API's end in the edge: `caches.default` and named caches.

use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use selvedge_cache::{CacheKey, CacheRequest, QueryOptions};
use selvedge_door::Inbound;

use crate::head::{self, BadHead};
use crate::host::Ask;
use crate::relay;

/// Answers `put` (PUT), `match` (GET) and `delete` (DELETE). The head's URL is the request's; a `put` carries the
/// response's status in meta-like headers named `x-selvedge-…` and its own headers after them.
pub async fn answer(ask: &Ask, body: Inbound) {
    let namespace = ask.instance.deployed.key.to_string();
    let key = match CacheKey::from_url(&namespace, ask.meta.cache.as_deref(), ask.head.text(2)) {
        Ok(key) => key,
        Err(error) => return ask.fail(&error.to_string()),
    };
    let headers = match head::headers(&ask.head, 4) {
        Ok(headers) => headers,
        Err(error) => return ask.fail(&error.to_string()),
    };
    let options = QueryOptions { ignore_method: ask.meta.ignore_method };
    let method = match Method::from_bytes(ask.meta.method.as_deref().unwrap_or("GET").as_bytes()) {
        Ok(method) => method,
        Err(error) => return ask.fail(&error.to_string()),
    };
    match ask.head.text(1) {
        "GET" => lookup(ask, &key, &method, &headers, options),
        "DELETE" => {
            let request = CacheRequest { key: &key, method: &method, headers: &headers };
            let there = ask.edge.cache().delete(request, options, SystemTime::now());
            let status = if there { StatusCode::OK } else { StatusCode::NOT_FOUND };
            ask.respond(status, "", &HeaderMap::new(), Bytes::new());
        }
        "PUT" => put(ask, &key, &method, headers, body).await,
        other => ask.fail(&format!("the cache has no operation \"{other}\"")),
    }
}

fn lookup(ask: &Ask, key: &CacheKey, method: &Method, headers: &HeaderMap, options: QueryOptions) {
    let request = CacheRequest { key, method, headers };
    match ask.edge.cache().match_request(request, options, SystemTime::now()) {
        Some(response) => {
            let (parts, body) = response.into_parts();
            ask.respond(parts.status, r#"{"hit":true}"#, &parts.headers, body);
        }
        None => ask.respond(StatusCode::GATEWAY_TIMEOUT, r#"{"hit":false}"#, &HeaderMap::new(), Bytes::new()),
    }
}

/// Splits the request's headers from the response's, which come with a prefix.
fn split(headers: &HeaderMap) -> Result<(HeaderMap, HeaderMap), BadHead> {
    const PREFIX: &str = "x-selvedge-response-";
    let mut request = HeaderMap::new();
    let mut response = HeaderMap::new();
    for (name, value) in headers {
        match name.as_str().strip_prefix(PREFIX).map(|name| name.parse::<http::HeaderName>()) {
            Some(Ok(name)) => head::add(&mut response, name, value.clone())?,
            Some(Err(_)) => {}
            None => head::add(&mut request, name.clone(), value.clone())?,
        }
    }
    Ok((request, response))
}

async fn put(ask: &Ask, key: &CacheKey, method: &Method, headers: HeaderMap, body: Inbound) {
    let (mut request, response_headers) = match split(&headers) {
        Ok(split) => split,
        Err(error) => return ask.fail(&error.to_string()),
    };
    let status = request
        .remove("x-selvedge-status")
        .and_then(|status| StatusCode::from_bytes(status.as_bytes()).ok())
        .unwrap_or(StatusCode::OK);
    let cache = ask.edge.cache();
    if let Err(error) = cache.check_put(method, status, &response_headers) {
        return ask.fail(&error.to_string());
    }
    // A body that is too large is not stored, and that is no error: a cache may forget.
    if let Some(bytes) = relay::collect(body, cache.entry_bytes_max()).await {
        let mut response = Response::new(bytes);
        *response.status_mut() = status;
        *response.headers_mut() = response_headers;
        let request = CacheRequest { key, method, headers: &request };
        match cache.put(request, response, SystemTime::now()) {
            Ok(outcome) => tracing::trace!(?outcome, "cache put"),
            Err(error) => return ask.fail(&error.to_string()),
        }
    }
    ask.respond(StatusCode::NO_CONTENT, "", &HeaderMap::new(), Bytes::new());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_split_by_their_prefix_and_too_many_are_refused() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("accept", "1"), ("x-selvedge-response-vary", "2"), ("x-selvedge-response-vary", "3")] {
            headers.append(name, value.parse().unwrap());
        }
        let (request, response) = split(&headers).unwrap();
        assert_eq!((request.len(), &request["accept"]), (1, &headers["accept"]));
        assert_eq!(response.get_all("vary").iter().collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(response.keys_len(), 1);
        for number in 0..5_000 {
            let name: http::HeaderName = format!("x-selvedge-response-{number}").parse().unwrap();
            headers.append(name, "4".parse().unwrap());
        }
        assert_eq!(split(&headers).unwrap_err(), BadHead::TooMany);
    }
}
