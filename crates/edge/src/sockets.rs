//! WebSockets: the edge speaks the protocol, isolates see messages.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use selvedge_door::{Chunk, Inbound, MESSAGE_BYTES_MAX, Outbound, Reset, ResetCode};
use selvedge_outbound::OutboundError;
use sha1::{Digest, Sha1};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::admit;
use crate::body::EdgeBody;
use crate::dispatch::Answered;
use crate::head;
use crate::host::Ask;
use crate::late::Late;
use crate::requests::Inquiry;

/// How long a peer may take to answer a close.
const CLOSE_WAIT: Duration = Duration::from_secs(10);
/// The connection ended without a close frame (RFC 6455, section 7.4.1).
const ABNORMAL: u16 = 1006;
/// A close frame without a code.
const NO_STATUS: u16 = 1005;
/// From RFC 6455, section 1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Whether a request asks for a WebSocket.
fn is_upgrade(headers: &HeaderMap) -> bool {
    let has = |name: HeaderName, value: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|text| text.to_str().ok())
            .any(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(value)))
    };
    has(header::UPGRADE, "websocket")
        && has(header::CONNECTION, "upgrade")
        && headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

/// A client's connection that becomes a WebSocket if the worker says so.
pub struct Upgrade(OnUpgrade);

/// Takes the connection, where the request asks for a WebSocket.
pub fn take_upgrade(inquiry: &mut Inquiry) -> Option<Upgrade> {
    if !is_upgrade(&inquiry.parts.headers) {
        return None;
    }
    inquiry.upgrade.take().map(Upgrade)
}

impl Upgrade {
    /// The worker accepted: the response for the client, and the messages from then on.
    pub fn accept(
        self,
        request: &HeaderMap,
        mut headers: HeaderMap,
        answered: Answered,
        late: Late,
    ) -> Response<EdgeBody> {
        let key = request.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        let digest = Sha1::new().chain_update(key).chain_update(ACCEPT_GUID).finalize();
        let accept = base64::engine::general_purpose::STANDARD.encode(digest);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&accept) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        let outbound = Outbound::new(Arc::clone(&answered.instance.mux), answered.reply.stream);
        tokio::spawn(serve(self.0, answered.reply.body, outbound, late));
        let mut response = Response::new(EdgeBody::Full(None));
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = headers;
        response
    }
}

async fn serve(upgrade: OnUpgrade, inbound: Inbound, outbound: Outbound, late: Late) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => return outbound.fail(&Reset::new(ResetCode::Cancelled, error.to_string())),
    };
    let config =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
    let (sink, stream) = socket.split();
    exchange(sink, stream, inbound, outbound, |reset| late.ended(reset)).await;
}

/// Messages both ways until either side closes.
///
/// `explain` makes a close reason of what ended the isolate's side.
async fn exchange<S, T>(sink: S, stream: T, inbound: Inbound, outbound: Outbound, explain: impl Fn(&Reset) -> String)
where
    S: Sink<Message, Error = Error> + Unpin,
    T: Stream<Item = Result<Message, Error>> + Unpin,
{
    let mut writing = pin!(from_isolate(sink, inbound, explain));
    let mut reading = pin!(to_isolate(stream, outbound));
    // A side that closed waits for the other's close, but not for ever: what is dropped then ends the stream.
    let _elapsed = tokio::select! {
        () = &mut writing => tokio::time::timeout(CLOSE_WAIT, reading).await,
        () = &mut reading => tokio::time::timeout(CLOSE_WAIT, writing).await,
    };
}

async fn from_isolate<S>(mut sink: S, mut inbound: Inbound, explain: impl Fn(&Reset) -> String)
where
    S: Sink<Message, Error = Error> + Unpin,
{
    while let Some(chunk) = inbound.chunk().await {
        let message = match chunk {
            Ok(Chunk::Data(data)) => Message::Binary(data),
            Ok(Chunk::Message { text: false, data }) => Message::Binary(data),
            Ok(Chunk::Message { text: true, data }) => match Utf8Bytes::try_from(data) {
                Ok(text) => Message::Text(text),
                Err(_) => continue,
            },
            // Passed on as it was: without a frame.
            Ok(Chunk::Close { code: ABNORMAL, .. }) => return,
            Ok(Chunk::Close { code, reason }) => {
                let frame = (code != NO_STATUS).then(|| CloseFrame { code: code.into(), reason: reason.into() });
                Message::Close(frame)
            }
            Err(reset) => {
                let frame = CloseFrame { code: 1011.into(), reason: close_reason(explain(&reset)).into() };
                Message::Close(Some(frame))
            }
        };
        let last = matches!(message, Message::Close(_));
        if sink.send(message).await.is_err() || last {
            break;
        }
    }
    // A peer that is gone needs no close.
    let _ = sink.close().await;
}

/// A close reason may have 123 bytes.
fn close_reason(mut reason: String) -> String {
    while reason.len() > 123 {
        reason.pop();
    }
    reason
}

async fn to_isolate<T: Stream<Item = Result<Message, Error>> + Unpin>(mut stream: T, mut outbound: Outbound) {
    while let Some(message) = stream.next().await {
        let chunk = match message {
            Ok(Message::Text(text)) => Chunk::Message { text: true, data: Bytes::from(text) },
            Ok(Message::Binary(data)) => Chunk::Message { text: false, data },
            Ok(Message::Close(frame)) => match frame {
                Some(frame) => Chunk::Close { code: frame.code.into(), reason: frame.reason.to_string() },
                None => Chunk::Close { code: NO_STATUS, reason: String::new() },
            },
            Ok(_) => continue,
            Err(error) => {
                tracing::debug!(%error, "a WebSocket broke");
                Chunk::Close { code: ABNORMAL, reason: String::new() }
            }
        };
        let last = matches!(chunk, Chunk::Close { .. });
        if outbound.send(chunk).await.is_err() || last {
            break;
        }
    }
    outbound.finish();
}

/// A worker dials out.
pub async fn dial(ask: &Ask, inbound: Inbound) {
    let (Ok(uri), Ok(mut headers)) = (ask.head.text(2).parse(), head::headers(&ask.head, 4)) else {
        return ask.fail("the WebSocket's URL or headers are not valid");
    };
    headers.remove(header::UPGRADE);
    let Some(permit) = admit::connection(&ask.instance, ask.meta.event).await else {
        return ask.fail("the worker ended");
    };
    let dialled = ask.edge.outbound().dial_websocket(&uri, headers, &[], &|_: &http::Uri| Ok(())).await;
    drop(permit);
    match dialled {
        // An answer, if not the one that was hoped for.
        Err(OutboundError::WebSocketRefused { response }) => {
            let (parts, body) = response.into_parts();
            ask.respond(parts.status, "", &parts.headers, body);
        }
        Err(error) => ask.fail(&crate::host::outbound_error(&error)),
        Ok(dial) => {
            if let Some(outbound) = ask.start(StatusCode::SWITCHING_PROTOCOLS, "", &dial.head.headers) {
                let (sink, stream) = dial.socket.split();
                exchange(sink, stream, inbound, outbound, |reset| reset.text.clone()).await;
            }
        }
    }
}
