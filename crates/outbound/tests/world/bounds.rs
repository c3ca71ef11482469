//! Every wait and every buffer ends.
//!
//! The waits are real ones, made short by the configuration: tokio's virtual time is a feature of the whole build, and
//! tests share their build with the program.

use std::{sync::Arc, time::Duration};

use selvedge_outbound::{
    Config, ConnectError, Outbound, OutboundError, RESPONSE_HEADERS_BYTES_MAX_DEFAULT, Resolve, Resolving,
};
use tokio::{net::TcpListener, time::Instant};

use crate::support::{Server, config, fetch, get, read_request, text};

const SHORT: Duration = Duration::from_millis(100);

struct Silent;

impl Resolve for Silent {
    fn resolve(&self, _: &str) -> Resolving {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn resolver_that_does_not_answer_is_given_up() {
    let outbound =
        Outbound::with_resolver(Config { connect_timeout: SHORT, ..Config::default() }, Arc::new(Silent)).unwrap();
    let started = Instant::now();
    let error = fetch(&outbound, get("http://slow.test/")).await.unwrap_err();
    assert!(matches!(error, OutboundError::Connect(ConnectError::Timeout { .. })), "{error}");
    assert!(started.elapsed() >= SHORT);
}

/// A server that takes one request, tells, and says nothing.
async fn silent_server() -> (String, tokio::sync::oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (taken, was_taken) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.unwrap();
        taken.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    (address, was_taken)
}

#[tokio::test]
async fn server_that_does_not_answer_is_given_up() {
    let (address, was_taken) = silent_server().await;
    let config = Config { response_headers_timeout: SHORT, ..config(&[&address]) };
    let outbound = Outbound::new(config).unwrap();
    let fetching = tokio::spawn(async move { fetch(&outbound, get(&format!("http://{address}/"))).await });
    was_taken.await.unwrap();
    let error = fetching.await.unwrap().unwrap_err();
    assert!(matches!(error, OutboundError::HeadersTimeout { allowed: SHORT }), "{error}");
}

#[tokio::test]
async fn tls_server_that_does_not_speak_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let outbound = Outbound::new(Config { connect_timeout: Duration::from_secs(1), ..config(&[&address]) }).unwrap();
    let fetching = tokio::spawn(async move { fetch(&outbound, get(&format!("https://{address}/"))).await });
    let _connection = listener.accept().await.unwrap();
    let error = fetching.await.unwrap().unwrap_err();
    assert!(matches!(error, OutboundError::Connect(ConnectError::Timeout { .. })), "{error}");
}

#[tokio::test]
async fn head_larger_than_allowed_is_an_error() {
    let many = "x-y: z\r\n".repeat(300);
    let large = format!("x-large: {}\r\n", "x".repeat(RESPONSE_HEADERS_BYTES_MAX_DEFAULT));
    for headers in [many, large] {
        let server = Server::always(format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n")).await;
        let error = fetch(&server.outbound(), get(&server.url("/"))).await.unwrap_err();
        assert!(matches!(error, OutboundError::HeadersTooLarge { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn head_within_the_bound_passes() {
    let value = "x".repeat(RESPONSE_HEADERS_BYTES_MAX_DEFAULT / 2);
    let server = Server::always(format!("HTTP/1.1 200 OK\r\nx-large: {value}\r\ncontent-length: 0\r\n\r\n")).await;
    let response = fetch(&server.outbound(), get(&server.url("/"))).await.unwrap();
    assert_eq!(response.headers["x-large"], value);
}

#[tokio::test]
async fn connections_to_one_host_are_bounded() {
    // The first answer never ends, so its connection never comes back.
    let server = Server::always("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
    let other = Server::always("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let outbound = Outbound::new(Config {
        connections_per_host_max: 1,
        connect_timeout: Duration::from_secs(1),
        ..config(&[&server.address.to_string(), &other.address.to_string()])
    })
    .unwrap();
    let first = fetch(&outbound, get(&server.url("/"))).await.unwrap();
    let third = fetch(&outbound, get(&other.url("/"))).await.unwrap();
    assert_eq!(text(third).await, "ok");

    let error = fetch(&outbound, get(&server.url("/"))).await.unwrap_err();
    assert!(matches!(error, OutboundError::Connect(ConnectError::HostBusy { allowed: 1, .. })), "{error}");
    assert_eq!(server.connections(), 1);
    drop(first);
}
