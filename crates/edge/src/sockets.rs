//! WebSockets: the edge speaks the protocol, isolates see messages.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use selvedge_door::{Chunk, Inbound, MESSAGE_BYTES_MAX, Outbound, Reset, ResetCode};
use selvedge_outbound::OutboundError;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::admit;
use crate::body::EdgeBody;
use crate::connection::Shared;
use crate::dispatch::Answered;
use crate::head;
use crate::host::Ask;
use crate::late::Late;
use crate::pages;
use crate::requests::Inquiry;

/// How long a peer may take to answer a close.
const CLOSE_WAIT: Duration = Duration::from_secs(10);
/// The connection ended without a close frame (RFC 6455, section 7.4.1).
const ABNORMAL: u16 = 1006;
/// A close frame without a code.
const NO_STATUS: u16 = 1005;
/// From RFC 6455, section 1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The version of the protocol that is spoken here (RFC 6455, section 4.4).
const VERSION: HeaderValue = HeaderValue::from_static("13");
/// How long a client that broke the protocol may go on sending before it reads why its socket closes, and how long it may
/// pause in between.
const LINGER_MAX: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How much of what it sends is read at once: 16 KiB.
const LINGER_BYTES: usize = 16 * 1024;

/// A close that neither of the two sides asked for, as both are told.
#[derive(Debug, Clone, Copy)]
struct Farewell {
    code: u16,
    reason: &'static str,
    /// The client can be understood still.
    in_order: bool,
}

const GOING_AWAY: Farewell = Farewell { code: 1001, reason: "the server stops", in_order: true };
const PROTOCOL_ERROR: Farewell =
    Farewell { code: 1002, reason: "a frame does not follow the protocol (RFC 6455)", in_order: false };
const NOT_UTF8: Farewell = Farewell { code: 1007, reason: "a text message is not UTF-8", in_order: false };
const TOO_BIG: Farewell = Farewell { code: 1009, reason: "a message is larger than is taken here", in_order: false };

/// What to close with after an error; none where nobody is left to tell.
fn farewell_of(error: &Error) -> Option<Farewell> {
    match error {
        Error::Capacity(_) => Some(TOO_BIG),
        Error::Utf8(_) => Some(NOT_UTF8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        Error::Protocol(_) => Some(PROTOCOL_ERROR),
        _ => None,
    }
}

/// Whether a request asks for a WebSocket.
fn is_upgrade(parts: &Parts) -> bool {
    let has = |name: HeaderName, value: &str| {
        parts
            .headers
            .get_all(name)
            .iter()
            .filter_map(|text| text.to_str().ok())
            .any(|text| text.split(',').any(|part| part.trim().eq_ignore_ascii_case(value)))
    };
    parts.method == Method::GET
        && parts.version == Version::HTTP_11
        && parts.headers.contains_key(header::SEC_WEBSOCKET_KEY)
        && has(header::UPGRADE, "websocket")
        && has(header::CONNECTION, "upgrade")
}

/// What a client is told that asks for a WebSocket of another version (RFC 6455, section 4.2.2).
pub fn refusal(parts: &Parts) -> Option<Response<EdgeBody>> {
    let speaks = || parts.headers.get(header::SEC_WEBSOCKET_VERSION) == Some(&VERSION);
    if !is_upgrade(parts) || speaks() {
        return None;
    }
    let message = "this is version 13 of the WebSocket protocol: send Sec-WebSocket-Version: 13";
    let mut response = pages::plain(&parts.headers, StatusCode::UPGRADE_REQUIRED, "websocket_version", message);
    response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, VERSION);
    Some(response)
}

/// A request's connection, for another protocol than HTTP.
pub struct Handover {
    pub upgrade: OnUpgrade,
    /// Of the server that accepted it: that waits for it, and says when it is to end.
    pub shared: Shared,
}

/// A client's connection that becomes a WebSocket if the worker says so.
pub struct Upgrade(Handover);

/// Takes the connection, where the request asks for a WebSocket.
pub fn take_upgrade(inquiry: &mut Inquiry) -> Option<Upgrade> {
    if !is_upgrade(&inquiry.parts) {
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

async fn serve(handover: Handover, inbound: Inbound, outbound: Outbound, late: Late) {
    let Handover { upgrade, mut shared } = handover;
    let upgraded = match upgrade.await {
        Ok(upgraded) => TokioIo::new(upgraded),
        Err(error) => return outbound.fail(&Reset::new(ResetCode::Cancelled, error.to_string())),
    };
    let config =
        WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
    exchange(socket, inbound, outbound, shared.drain(), |reset| late.ended(reset)).await;
}

/// Messages both ways until either side closes, or `leaving` resolves.
///
/// `explain` makes a close reason of what ended the isolate's side.
async fn exchange<IO>(
    socket: WebSocketStream<IO>,
    inbound: Inbound,
    outbound: Outbound,
    leaving: impl Future<Output = ()>,
    explain: impl Fn(&Reset) -> String,
) where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sink, mut stream) = socket.split();
    let ended = {
        let mut writing = pin!(from_isolate(&mut sink, inbound, explain));
        let mut reading = pin!(to_isolate(&mut stream, outbound, leaving));
        // A side that closed waits for the other's close, but not for ever: what is dropped then ends the stream.
        tokio::select! {
            () = &mut writing => tokio::time::timeout(CLOSE_WAIT, reading).await.unwrap_or(None),
            ended = &mut reading => {
                if ended.is_none() {
                    let _elapsed = tokio::time::timeout(CLOSE_WAIT, writing).await;
                }
                ended
            }
        }
    };
    let Some((farewell, outbound)) = ended else {
        return;
    };
    let telling = async {
        tokio::join!(tell_isolate(outbound, farewell), async {
            let frame = CloseFrame { code: farewell.code.into(), reason: farewell.reason.into() };
            // A peer that is gone needs no close.
            let _ = sink.send(Message::Close(Some(frame))).await;
        });
    };
    let _elapsed = tokio::time::timeout(CLOSE_WAIT, telling).await;
    if let Ok(socket) = sink.reunite(stream) {
        let _elapsed = tokio::time::timeout(LINGER_MAX, hear_out(socket, farewell)).await;
    }
}

async fn tell_isolate(mut outbound: Outbound, farewell: Farewell) {
    let close = Chunk::Close { code: farewell.code, reason: farewell.reason.to_owned() };
    // An isolate that is gone needs no close.
    let _ = outbound.send(close).await;
    outbound.finish();
}

/// Takes what a client still sends after it was told that its socket closes: a connection that is closed before is reset, and
/// the client may never read why.
async fn hear_out<IO: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<IO>, farewell: Farewell) {
    if farewell.in_order {
        // Until it closes, too.
        while let Some(Ok(_)) = socket.next().await {}
        return;
    }
    let stream = socket.get_mut();
    let mut unheard = vec![0; LINGER_BYTES];
    while let Ok(Ok(1..)) = tokio::time::timeout(PAUSE_MAX, stream.read(&mut unheard)).await {}
}

async fn from_isolate<S>(sink: &mut S, mut inbound: Inbound, explain: impl Fn(&Reset) -> String)
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

/// Passes on what the client sends. Gives the close for both sides, where the socket is to end out of turn.
async fn to_isolate<T: Stream<Item = Result<Message, Error>> + Unpin>(
    stream: &mut T,
    mut outbound: Outbound,
    leaving: impl Future<Output = ()>,
) -> Option<(Farewell, Outbound)> {
    let mut leaving = pin!(leaving);
    loop {
        let message = tokio::select! {
            message = stream.next() => message,
            () = &mut leaving => return Some((GOING_AWAY, outbound)),
        };
        let chunk = match message {
            None => break,
            Some(Ok(Message::Text(text))) => Chunk::Message { text: true, data: Bytes::from(text) },
            Some(Ok(Message::Binary(data))) => Chunk::Message { text: false, data },
            Some(Ok(Message::Close(frame))) => match frame {
                Some(frame) => Chunk::Close { code: frame.code.into(), reason: frame.reason.to_string() },
                None => Chunk::Close { code: NO_STATUS, reason: String::new() },
            },
            Some(Ok(_)) => continue,
            Some(Err(error)) => {
                tracing::debug!(%error, "a WebSocket broke");
                if let Some(farewell) = farewell_of(&error) {
                    return Some((farewell, outbound));
                }
                Chunk::Close { code: ABNORMAL, reason: String::new() }
            }
        };
        let last = matches!(chunk, Chunk::Close { .. });
        let sent = tokio::select! {
            sent = outbound.send(chunk) => sent,
            () = &mut leaving => return Some((GOING_AWAY, outbound)),
        };
        if sent.is_err() || last {
            break;
        }
    }
    outbound.finish();
    None
}

/// A worker dials out.
pub async fn dial(ask: &Ask, inbound: Inbound) {
    let (Ok(uri), Ok(mut headers)) = (ask.head.text(2).parse(), head::headers(&ask.head, 4)) else {
        return ask.fail("the WebSocket's URL or headers are not valid");
    };
    headers.remove(header::UPGRADE);
    ask.calls().mark(&mut headers);
    let Some(permit) = admit::connection(&ask.instance, ask.meta.event).await else {
        return ask.fail("the worker ended");
    };
    let dialled = ask.world().dial_websocket(&uri, headers, &[], &|_: &http::Uri| Ok(())).await;
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
                // The event that dialled is waited for, and closes it.
                let leaving = std::future::pending();
                exchange(dial.socket, inbound, outbound, leaving, |reset| reset.text.clone()).await;
            }
        }
    }
}
