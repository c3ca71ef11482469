//! WebSockets to the world, over the same connections as HTTP.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{
        CONNECTION, HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, handshake::client::generate_key, protocol::WebSocketConfig},
};
use url::Url;

use crate::{
    Admit, Outbound, OutboundError, WEBSOCKET_MESSAGE_BYTES_CEILING, connect::Connection, headers, hop::parse_url,
};

/// Read at once from the connection.
const READ_BUFFER_BYTES: usize = 16 * 1024;
/// Written at once to the connection.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// What a worker's handshake must not say: the handshake is ours, and no extension is spoken.
const HANDSHAKE_HEADERS: [HeaderName; 4] =
    [SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION];

/// An open WebSocket: a stream and a sink of [`tungstenite::Message`]s.
pub type WebSocket = WebSocketStream<TokioIo<Connection>>;

/// What came of a handshake.
#[derive(Debug)]
pub struct WebSocketDial {
    /// The 101 response; `Sec-WebSocket-Protocol` in it is the protocol that the server chose.
    pub head: http::response::Parts,
    pub socket: WebSocket,
}

impl Outbound {
    /// Opens a WebSocket to a `ws:`, `wss:`, `http:` or `https:` URL. Redirects are not followed.
    ///
    /// `protocols` are offered in order; leave them empty to pass a `Sec-WebSocket-Protocol` among `headers`.
    ///
    /// # Errors
    ///
    /// [`OutboundError::WebSocketRefused`] with the response, if the server answered with something else than 101;
    /// otherwise as for [`Outbound::fetch`].
    pub async fn dial_websocket(
        &self,
        uri: &Uri,
        headers: HeaderMap,
        protocols: &[String],
        admit: &dyn Admit,
    ) -> Result<WebSocketDial, OutboundError> {
        let (url, uri) = parse_url(&as_http(uri))?;
        let request = handshake(&url, &uri, headers, protocols)?;
        admit.admit(&uri)?;

        let connection = self.open(uri).await?;
        let allowed = self.config.response_headers_timeout;
        let config = websocket_config(self.config.websocket_message_bytes_max);
        let handshake = client_async_with_config(request, TokioIo::new(connection), Some(config));
        match timeout(allowed, handshake).await {
            Ok(Ok((socket, response))) => Ok(WebSocketDial { head: response.into_parts().0, socket }),
            Ok(Err(tungstenite::Error::Http(response))) => Err(OutboundError::WebSocketRefused {
                response: Box::new(response.map(|body| body.map_or_else(Bytes::new, Bytes::from))),
            }),
            Ok(Err(error)) => Err(OutboundError::WebSocketHandshake(Box::new(error))),
            Err(_) => Err(OutboundError::HeadersTimeout { allowed }),
        }
    }
}

/// The URL with the scheme that its connection has; other schemes are left for the parser to refuse.
fn as_http(uri: &Uri) -> String {
    let text = uri.to_string();
    match uri.scheme_str() {
        Some("ws" | "wss") => text.replacen("ws", "http", 1),
        _ => text,
    }
}

fn handshake(
    url: &Url,
    uri: &Uri,
    mut headers: HeaderMap,
    protocols: &[String],
) -> Result<http::Request<()>, OutboundError> {
    let bad_url = || OutboundError::Url { url: url.to_string() };
    headers::clean_request(&mut headers);
    for name in HANDSHAKE_HEADERS {
        headers.remove(name);
    }
    let host = uri.authority().ok_or_else(bad_url)?.as_str();
    headers.insert(HOST, header(host)?);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, header(&generate_key())?);
    if !protocols.is_empty() {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, header(&protocols.join(", "))?);
    }

    // The library wants the scheme that the connection no longer needs.
    let uri = url.as_str().replacen("http", "ws", 1);
    let mut request = http::Request::new(());
    *request.uri_mut() = uri.parse().map_err(|_| bad_url())?;
    *request.headers_mut() = headers;
    Ok(request)
}

fn header(value: &str) -> Result<HeaderValue, OutboundError> {
    HeaderValue::from_str(value)
        .map_err(|error| OutboundError::WebSocketHandshake(Box::new(tungstenite::Error::HttpFormat(error.into()))))
}

fn websocket_config(message_bytes_max: usize) -> WebSocketConfig {
    let message_bytes_max = message_bytes_max.min(WEBSOCKET_MESSAGE_BYTES_CEILING);
    let mut config = WebSocketConfig::default();
    config.read_buffer_size = READ_BUFFER_BYTES;
    config.write_buffer_size = WRITE_BUFFER_BYTES;
    // One message and its head beside what waits already; a writer that goes on is told to wait.
    config.max_write_buffer_size = message_bytes_max.saturating_add(2 * WRITE_BUFFER_BYTES);
    config.max_message_size = Some(message_bytes_max);
    config.max_frame_size = Some(message_bytes_max);
    config
}
