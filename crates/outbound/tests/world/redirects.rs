//! Redirects, hop by hop.

use std::sync::Mutex;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Uri};
use http_body::Frame;
use http_body_util::StreamBody;
use selvedge_outbound::{Denied, FetchOptions, OutboundError, REDIRECTS_MAX, RedirectMode, RequestBody};

use crate::support::{Server, admit_all, fetch, get, ok, outbound, post, redirect, text};

/// Redirects everything with `status` to `/end`, which answers.
async fn redirecting(status: u16) -> Server {
    Server::start(move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        if path == "/end" { ok("end") } else { redirect(status, "/end") }
    })
    .await
}

fn with_mode(redirect: RedirectMode) -> FetchOptions {
    FetchOptions { redirect, ..FetchOptions::default() }
}

#[tokio::test]
async fn redirect_is_followed_on_the_same_connection() {
    let server = redirecting(302).await;
    let request = post(&server.url("/"), RequestBody::full("body"));
    let response = fetch(&server.outbound(), request).await.unwrap();
    assert_eq!(response.url, server.url("/end"));
    assert_eq!(response.redirects, 1);
    assert_eq!(text(response).await, "end");
    assert_eq!(server.connections(), 1);
    let second = server.request(1);
    assert!(second.starts_with("GET /end "), "{second}");
    assert!(!second.contains("content-length"), "{second}");
}

#[tokio::test]
async fn bytes_are_sent_again_where_the_method_stays() {
    let server = redirecting(307).await;
    let request = post(&server.url("/"), RequestBody::full("body"));
    fetch(&server.outbound(), request).await.unwrap();
    let second = server.request(1);
    assert!(second.starts_with("POST /end "), "{second}");
    assert!(second.ends_with("\r\n\r\nbody"), "{second}");
}

#[tokio::test]
async fn stream_cannot_be_sent_again() {
    let server = redirecting(308).await;
    let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from("x")))];
    let body = RequestBody::stream(StreamBody::new(stream::iter(frames)));
    let error = fetch(&server.outbound(), post(&server.url("/"), body)).await.unwrap_err();
    assert!(matches!(error, OutboundError::RedirectBody { .. }), "{error}");
}

#[tokio::test]
async fn each_hop_is_admitted() {
    let server = redirecting(302).await;
    let hops = Mutex::new(Vec::new());
    let admit = |uri: &Uri| {
        hops.lock().unwrap().push(uri.path().to_owned());
        Ok(())
    };
    server.outbound().fetch(get(&server.url("/start")), FetchOptions::default(), &admit).await.unwrap();
    assert_eq!(*hops.lock().unwrap(), ["/start", "/end"]);
}

#[tokio::test]
async fn hop_that_is_not_admitted_does_not_leave() {
    let server = redirecting(302).await;
    let admit = |uri: &Uri| {
        if uri.path() == "/end" { Err(Denied) } else { Ok(()) }
    };
    let error = server.outbound().fetch(get(&server.url("/start")), FetchOptions::default(), &admit).await.unwrap_err();
    assert!(matches!(error, OutboundError::Denied(Denied)), "{error}");
    assert_eq!(server.requests.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn endless_redirects_end_where_the_standard_ends_them() {
    let server = Server::always(redirect(302, "/again")).await;
    let error = fetch(&server.outbound(), get(&server.url("/"))).await.unwrap_err();
    assert!(matches!(error, OutboundError::TooManyRedirects { allowed: REDIRECTS_MAX }));
    assert_eq!(server.requests.lock().unwrap().len(), REDIRECTS_MAX + 1);
}

#[tokio::test]
async fn manual_gives_the_redirect_and_error_makes_it_one() {
    let server = redirecting(301).await;
    let outbound = server.outbound();
    let response = outbound.fetch(get(&server.url("/")), with_mode(RedirectMode::Manual), &admit_all).await.unwrap();
    assert_eq!(response.status, 301);
    assert_eq!(response.headers["location"], "/end");
    let error = outbound.fetch(get(&server.url("/")), with_mode(RedirectMode::Error), &admit_all).await.unwrap_err();
    assert!(matches!(error, OutboundError::Redirected { .. }), "{error}");
}

#[tokio::test]
async fn redirect_without_a_location_is_the_response() {
    let server = Server::always("HTTP/1.1 302 Found\r\ncontent-length: 4\r\n\r\nhere").await;
    let response = fetch(&server.outbound(), get(&server.url("/"))).await.unwrap();
    assert_eq!(response.status, 302);
    assert_eq!(text(response).await, "here");
}

#[tokio::test]
async fn credentials_do_not_reach_another_origin() {
    let other = Server::always(ok("other")).await;
    let first = Server::always(redirect(302, &other.url("/"))).await;
    let outbound = outbound(&[&first.address.to_string(), &other.address.to_string()]);
    let request = Request::get(first.url("/"))
        .header("authorization", "secret")
        .header("cookie", "secret")
        .header("x-api", "kept")
        .body(RequestBody::empty())
        .unwrap();
    fetch(&outbound, request).await.unwrap();
    assert!(first.request(0).contains("secret"));
    assert!(!other.request(0).contains("secret"));
    assert!(other.request(0).contains("x-api: kept"));
}

#[tokio::test]
async fn large_body_of_a_redirect_is_not_waited_for() {
    let server = Server::start(|request| {
        if request.starts_with("GET /end") {
            ok("end")
        } else {
            b"HTTP/1.1 302 Found\r\nlocation: /end\r\ncontent-length: 999999999\r\n\r\nx".to_vec()
        }
    })
    .await;
    let response = fetch(&server.outbound(), get(&server.url("/"))).await.unwrap();
    assert_eq!(text(response).await, "end");
}
