//! What goes out and what comes back.

use async_compression::tokio::bufread::GzipEncoder;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use selvedge_outbound::{FetchOptions, OutboundError, RequestBody, ResponseBodyError};
use tokio::io::AsyncReadExt;

use crate::support::{Server, admit_all, fetch, get, ok, post, text};

type Chunks = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::io::Error>>>>;

fn chunks(chunks: &[&'static str]) -> Chunks {
    let frames: Vec<_> = chunks.iter().map(|chunk| Ok(Frame::data(Bytes::from(*chunk)))).collect();
    StreamBody::new(stream::iter(frames))
}

#[tokio::test]
async fn response_comes_back_and_its_connection_is_used_again() {
    let server = Server::always(ok("hello")).await;
    let outbound = server.outbound();
    for _ in 0..3 {
        let response = fetch(&outbound, get(&server.url("/path?query"))).await.unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.url, server.url("/path?query"));
        assert_eq!(response.redirects, 0);
        assert_eq!(text(response).await, "hello");
    }
    assert_eq!(server.connections(), 1);
    assert!(server.request(0).starts_with("GET /path?query HTTP/1.1\r\n"));
}

#[tokio::test]
async fn worker_cannot_write_the_framing() {
    let server = Server::always(ok("")).await;
    let request = Request::post(server.url("/"))
        .header("host", "internal.example")
        .header("content-length", "2")
        .header("transfer-encoding", "chunked")
        .header("connection", "close, x-hop")
        .header("x-hop", "1")
        .header("upgrade", "h2c")
        .header("x-kept", "2")
        .body(RequestBody::full("hello"))
        .unwrap();
    fetch(&server.outbound(), request).await.unwrap();

    let seen = server.request(0);
    assert!(seen.contains(&format!("\r\nhost: {}\r\n", server.address)), "{seen}");
    assert!(seen.contains("\r\ncontent-length: 5\r\n"), "{seen}");
    assert!(seen.contains("\r\nx-kept: 2\r\n"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nhello"), "{seen}");
    for dropped in ["transfer-encoding", "x-hop", "upgrade", "connection:"] {
        assert!(!seen.contains(dropped), "{dropped} in {seen}");
    }
}

#[tokio::test]
async fn stream_is_chunked_and_stream_of_known_length_is_not() {
    let server = Server::always(ok("")).await;
    let outbound = server.outbound();
    let body = RequestBody::stream(chunks(&["ab", "c"]));
    fetch(&outbound, post(&server.url("/"), body)).await.unwrap();
    let seen = server.request(0);
    assert!(seen.contains("transfer-encoding: chunked"), "{seen}");
    assert!(seen.ends_with("2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"), "{seen}");

    let body = RequestBody::stream_of_length(chunks(&["ab", "c"]), 3);
    fetch(&outbound, post(&server.url("/"), body)).await.unwrap();
    let seen = server.request(1);
    assert!(seen.contains("content-length: 3"), "{seen}");
    assert!(seen.ends_with("\r\n\r\nabc"), "{seen}");
}

#[tokio::test]
async fn body_shorter_than_its_length_never_completes_a_request() {
    let server = Server::always(ok("")).await;
    let body = RequestBody::stream_of_length(chunks(&["ab", "c"]), 4);
    let error = fetch(&server.outbound(), post(&server.url("/"), body)).await.unwrap_err();
    assert!(matches!(error, OutboundError::RequestBody(_)), "{error}");
    assert!(server.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn body_longer_than_its_length_cannot_begin_another_request() {
    let server = Server::always(ok("")).await;
    let outbound = server.outbound();
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    for parts in [&["ab", smuggled][..], &["abGET /smuggled HTTP/1.1\r\n\r\n"]] {
        let body = RequestBody::stream_of_length(chunks(parts), 2);
        let _ = fetch(&outbound, post(&server.url("/"), body)).await;
        fetch(&outbound, get(&server.url("/next"))).await.unwrap();
    }
    for request in server.requests.lock().unwrap().iter() {
        assert!(!request.contains("/smuggled"), "{request}");
    }
}

#[tokio::test]
async fn failing_request_body_is_the_error() {
    let server = Server::always(ok("")).await;
    let frames = vec![Ok(Frame::data(Bytes::from("x"))), Err(std::io::Error::other("the isolate ended"))];
    let body = RequestBody::stream(StreamBody::new(stream::iter(frames)));
    let error = fetch(&server.outbound(), post(&server.url("/"), body)).await.unwrap_err();
    assert!(matches!(error, OutboundError::RequestBody(_)), "{error}");
}

async fn gzip(text: &'static str) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzipEncoder::new(text.as_bytes()).read_to_end(&mut bytes).await.unwrap();
    bytes
}

async fn gzip_server() -> (Server, Vec<u8>) {
    let body = gzip("hello, hello, hello").await;
    let mut answer =
        format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len()).into_bytes();
    answer.extend(&body);
    (Server::always(answer).await, body)
}

#[tokio::test]
async fn coded_body_is_decoded_and_its_header_kept() {
    let (server, _) = gzip_server().await;
    let response = fetch(&server.outbound(), get(&server.url("/"))).await.unwrap();
    assert!(response.decoded);
    assert_eq!(response.headers[header::CONTENT_ENCODING], "gzip");
    assert_eq!(text(response).await, "hello, hello, hello");
    assert!(server.request(0).contains("accept-encoding: gzip, deflate, br"));
}

#[tokio::test]
async fn coded_body_passes_as_it_is_when_asked() {
    let (server, body) = gzip_server().await;
    let options = FetchOptions { decode: false, ..FetchOptions::default() };
    let request = Request::get(server.url("/")).header("accept-encoding", "gzip").body(RequestBody::empty()).unwrap();
    let response = server.outbound().fetch(request, options, &admit_all).await.unwrap();
    assert!(!response.decoded);
    assert_eq!(response.body.collect().await.unwrap().to_bytes(), body);
    assert!(server.request(0).contains("accept-encoding: gzip\r\n"));
}

#[tokio::test]
async fn answer_to_head_is_not_decoded() {
    let server = Server::always("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 99\r\n\r\n").await;
    let request = Request::head(server.url("/")).body(RequestBody::empty()).unwrap();
    let response = fetch(&server.outbound(), request).await.unwrap();
    assert!(!response.decoded);
    assert_eq!(text(response).await, "");
}

#[tokio::test]
async fn truncated_body_is_an_error_and_not_an_end() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-encoding: gzip\r\ncontent-length: 10\r\n\r\n\x1f",
    ] {
        let server = Server::always(answer).await;
        let response = fetch(&server.outbound(), get(&server.url("/"))).await.unwrap();
        let error = response.body.collect().await.unwrap_err();
        assert!(matches!(error, ResponseBodyError::Transfer(_)), "{error}");
    }
}

#[tokio::test]
async fn servers_hop_by_hop_headers_end_here() {
    let server = Server::always(
        "HTTP/1.1 200 OK\r\nconnection: keep-alive, x-hop\r\nkeep-alive: timeout=5\r\nx-hop: 1\r\nx-kept: 2\r\n\
         content-length: 0\r\n\r\n",
    )
    .await;
    let response = fetch(&server.outbound(), get(&server.url("/"))).await.unwrap();
    let names: Vec<_> = response.headers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["x-kept", "content-length"]);
}

#[tokio::test]
async fn answers_that_are_not_http_are_errors() {
    for (answer, upgrade) in [
        ("hello\r\n\r\n", false),
        ("", false),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", false),
        ("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", true),
    ] {
        let server = Server::always(answer).await;
        let error = fetch(&server.outbound(), get(&server.url("/"))).await.unwrap_err();
        match error {
            OutboundError::UnexpectedUpgrade if upgrade => {}
            OutboundError::Transport(_) if !upgrade => {}
            error => panic!("{answer:?}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn interim_responses_are_passed_over() {
    let server =
        Server::always("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .await;
    let response = fetch(&server.outbound(), get(&server.url("/"))).await.unwrap();
    assert_eq!(text(response).await, "ok");
}
