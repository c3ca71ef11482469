//! WebSockets to the world.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Uri};
use selvedge_outbound::{
    Config, Outbound, OutboundError, WEBSOCKET_MESSAGE_BYTES_MAX_DEFAULT,
    tungstenite::{
        Error, Message,
        handshake::server::{Request, Response},
    },
};
use tokio::net::TcpListener;

use crate::support::{Server, admit_all, config, outbound};

/// Echoes messages; takes the last protocol offered, and tells which headers arrived.
async fn start() -> (Uri, Outbound) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                #[allow(clippy::result_large_err, reason = "the library's signature")]
                let answer = |request: &Request, mut response: Response| {
                    if let Some(offered) = request.headers().get("sec-websocket-protocol") {
                        let last = offered.to_str().unwrap().rsplit(", ").next().unwrap();
                        let last = HeaderValue::from_str(last).unwrap();
                        response.headers_mut().insert("sec-websocket-protocol", last);
                    }
                    let names: Vec<_> = request.headers().keys().map(|name| name.as_str()).collect();
                    let names = HeaderValue::from_str(&names.join(" ")).unwrap();
                    response.headers_mut().insert("x-names", names);
                    Ok(response)
                };
                let mut socket = tokio_tungstenite::accept_hdr_async(stream, answer).await.unwrap();
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_close() || socket.send(message).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let url = format!("ws://{address}/chat?room=1").parse().unwrap();
    (url, outbound(&[&address.to_string()]))
}

#[tokio::test]
async fn messages_go_both_ways() {
    let (url, outbound) = start().await;
    let protocols = ["soap".to_owned(), "chat".to_owned()];
    let mut dial = outbound.dial_websocket(&url, HeaderMap::new(), &protocols, &admit_all).await.unwrap();
    assert_eq!(dial.head.status, 101);
    assert_eq!(dial.head.headers["sec-websocket-protocol"], "chat");
    for message in [Message::text("hello"), Message::binary(vec![0, 1, 2])] {
        dial.socket.send(message.clone()).await.unwrap();
        assert_eq!(dial.socket.next().await.unwrap().unwrap(), message);
    }
}

#[tokio::test]
async fn worker_cannot_write_the_handshake() {
    let (url, outbound) = start().await;
    let headers: HeaderMap = [
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-key", "AAAA"),
        ("sec-websocket-version", "8"),
        ("host", "internal.example"),
        ("content-length", "5"),
        ("authorization", "token"),
    ]
    .into_iter()
    .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
    .collect();
    let dial = outbound.dial_websocket(&url, headers, &[], &admit_all).await.unwrap();
    let names = dial.head.headers["x-names"].to_str().unwrap();
    assert!(names.contains("authorization"), "{names}");
    assert!(!names.contains("extensions"), "{names}");
    assert!(!names.contains("content-length"), "{names}");
}

#[tokio::test]
async fn message_larger_than_allowed_ends_the_socket() {
    let (url, outbound) = start().await;
    let mut dial = outbound.dial_websocket(&url, HeaderMap::new(), &[], &admit_all).await.unwrap();
    let size = WEBSOCKET_MESSAGE_BYTES_MAX_DEFAULT;
    dial.socket.send(Message::binary(vec![0; size])).await.unwrap();
    assert_eq!(dial.socket.next().await.unwrap().unwrap().len(), size);
    dial.socket.send(Message::binary(vec![0; size + 1])).await.unwrap();
    assert!(matches!(dial.socket.next().await, Some(Err(Error::Capacity(_)))));
}

#[tokio::test]
async fn other_answer_than_a_websocket_is_handed_back() {
    let server = Server::always("HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nnope").await;
    let url = format!("ws://{}/", server.address).parse().unwrap();
    let error = server.outbound().dial_websocket(&url, HeaderMap::new(), &[], &admit_all).await.unwrap_err();
    match error {
        OutboundError::WebSocketRefused { response } => assert_eq!(response.status(), 403),
        error => panic!("{error}"),
    }
}

#[tokio::test]
async fn server_that_does_not_shake_hands_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = Config { response_headers_timeout: Duration::from_millis(100), ..config(&[&address.to_string()]) };
    let outbound = Outbound::new(config).unwrap();
    let url: Uri = format!("ws://{address}/").parse().unwrap();
    let dialling = tokio::spawn(async move { outbound.dial_websocket(&url, HeaderMap::new(), &[], &admit_all).await });
    let _connection = listener.accept().await.unwrap();
    let error = dialling.await.unwrap().unwrap_err();
    assert!(matches!(error, OutboundError::HeadersTimeout { .. }), "{error}");
}
