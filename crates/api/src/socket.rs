//! The WebSocket of a tail.
//!
//! Wrangler sends its first frame without a mask, against the protocol: it is taken all the same.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use selvedge_telemetry::TailMessages;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::error::{ApiError, code};
use crate::state::ApiState;

/// The subprotocol of tails.
const PROTOCOL: &str = "trace-v1";
/// The largest message that a client may send, in bytes: 64 KiB. What they send is not looked at.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take to take a message, or to say goodbye.
const SEND_TIME_MAX: Duration = Duration::from_secs(30);
/// How often a client is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long a client may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(90);

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Turns a request into the WebSocket of a tail.
pub fn connect(state: &Arc<ApiState>, id: &str, mut request: Request) -> Result<Response, ApiError> {
    let accept = handshake(request.method(), request.headers())?;
    let protocol = offers_protocol(request.headers());
    if request.version() != http::Version::HTTP_11 || request.extensions().get::<OnUpgrade>().is_none() {
        return Err(ApiError::bad_body("a tail's WebSocket begins with a request of HTTP/1.1"));
    }
    let messages = state.tails.connect(id).ok_or_else(|| {
        let message = "there is no such tail: it is over, or somebody is connected to it already; open another";
        ApiError::new(StatusCode::NOT_FOUND, code::NO_ROUTE, message)
    })?;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(serve(upgrade, messages, state.draining()));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL));
    }
    Ok(response)
}

/// Checks that a WebSocket is asked for, and gives what answers its key.
fn handshake(method: &Method, headers: &HeaderMap) -> Result<HeaderValue, ApiError> {
    let has = |name: header::HeaderName, token: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(token))
    };
    if *method != Method::GET || !has(header::CONNECTION, "upgrade") || !has(header::UPGRADE, "websocket") {
        let message = "this is the WebSocket of a tail: connect to it with one";
        return Err(ApiError::new(StatusCode::UPGRADE_REQUIRED, code::BAD_BODY, message));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(ApiError::bad_body("Sec-WebSocket-Version is not 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let key = key.ok_or_else(|| ApiError::bad_body("the request has no Sec-WebSocket-Key"))?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| ApiError::bad_body("Sec-WebSocket-Key cannot be answered"))
}

fn offers_protocol(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|value| value.split(',')).any(|protocol| protocol.trim() == PROTOCOL)
}

async fn serve(upgrade: OnUpgrade, messages: TailMessages, draining: watch::Receiver<bool>) {
    let upgraded = match timeout(SEND_TIME_MAX, upgrade).await {
        Ok(Ok(upgraded)) => upgraded,
        Ok(Err(error)) => return tracing::debug!(%error, "a tail's client was gone before it was connected"),
        Err(_) => return tracing::debug!("a tail's client did not take its WebSocket"),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX))
        .accept_unmasked_frames(true);
    let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    if let Err(error) = relay(&mut socket, messages, draining).await {
        tracing::debug!(%error, "a tail's client is gone");
    }
}

/// Sends what happens, until either side has enough.
async fn relay(
    socket: &mut Socket,
    mut messages: TailMessages,
    mut draining: watch::Receiver<bool>,
) -> Result<(), Error> {
    let mut heard = Instant::now();
    let mut pings = tokio::time::interval_at(heard + PING_INTERVAL, PING_INTERVAL);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(text) => send(socket, Message::text(&*text)).await?,
                None => return close(socket, CloseCode::Normal, "the tail is closed").await,
            },
            frame = socket.next() => match frame {
                // Pings are answered, and a close is, when the socket is read or written next.
                Some(Ok(_)) => heard = Instant::now(),
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            now = pings.tick() => {
                if now.duration_since(heard) > SILENCE_MAX {
                    return close(socket, CloseCode::Away, "the client is silent").await;
                }
                send(socket, Message::Ping(Default::default())).await?;
            },
            () = drained(&mut draining) => {
                return close(socket, CloseCode::Restart, "the platform stops").await;
            },
        }
        // What answers a ping is written with the next message: that may be long away.
        timeout(SEND_TIME_MAX, socket.flush()).await.map_err(|_| late())??;
    }
}

async fn drained(draining: &mut watch::Receiver<bool>) {
    // A server that is gone drains no more.
    let _ = draining.wait_for(|draining| *draining).await;
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), Error> {
    timeout(SEND_TIME_MAX, socket.send(message)).await.map_err(|_| late())?
}

/// Says goodbye, and waits for the client's.
async fn close(socket: &mut Socket, code: CloseCode, reason: &'static str) -> Result<(), Error> {
    let goodbye = async {
        socket.close(Some(CloseFrame { code, reason: reason.into() })).await?;
        while let Some(frame) = socket.next().await {
            frame?;
        }
        Ok(())
    };
    match timeout(SEND_TIME_MAX, goodbye).await.map_err(|_| late())? {
        // It is gone: that is what was asked for.
        Err(Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_)) | Ok(()) => Ok(()),
        Err(error) => Err(error),
    }
}

fn late() -> Error {
    Error::Io(std::io::ErrorKind::TimedOut.into())
}
