//! Responses by HTTP/3.

use std::pin::pin;
use std::time::SystemTime;

use bytes::Bytes;
use h3::error::{Code, StreamError};
use h3::server::RequestStream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;

use super::transport::SendStream;
use crate::body::EdgeBody;
use crate::stall::{ANSWER_STALL_MAX, PIECE_BYTES_MAX};

/// What concerns one connection of HTTP/1.1, and is malformed here (RFC 9114, section 4.2).
const CONNECTION_HEADERS: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

type Stream = RequestStream<SendStream, Bytes>;

/// Why an answer was not sent whole.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    #[error("the client took nothing of it for {ANSWER_STALL_MAX:?}")]
    Stalled,
    #[error("its body failed")]
    Body,
    #[error("its stream ended")]
    Stream(#[from] StreamError),
}

/// Sends a response to a request with this method. One of which the client takes nothing for too long ends.
pub async fn send(stream: &mut Stream, method: &Method, response: Response<EdgeBody>) -> Result<(), NotSent> {
    let sent = send_all(stream, method, response).await;
    match &sent {
        Ok(()) | Err(NotSent::Stream(_)) => {}
        Err(NotSent::Stalled) => stream.stop_stream(Code::H3_REQUEST_CANCELLED),
        // What was sent is not the whole: a clean end would say that it is.
        Err(NotSent::Body) => stream.stop_stream(Code::H3_INTERNAL_ERROR),
    }
    sent
}

async fn taken(sending: impl Future<Output = Result<(), StreamError>>) -> Result<(), NotSent> {
    Ok(tokio::time::timeout(ANSWER_STALL_MAX, sending).await.map_err(|_| NotSent::Stalled)??)
}

async fn send_all(stream: &mut Stream, method: &Method, response: Response<EdgeBody>) -> Result<(), NotSent> {
    let (mut parts, body) = response.into_parts();
    let bodiless = method == Method::HEAD || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    complete(&mut parts.headers, if bodiless { None } else { body.size_hint().exact() });
    taken(stream.send_response(Response::from_parts(parts, ()))).await?;
    if !bodiless {
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            // Workers have no trailers.
            if let Ok(data) = frame.map_err(|_| NotSent::Body)?.into_data() {
                send_data(stream, data).await?;
            }
        }
    }
    taken(stream.finish()).await
}

/// Sends bytes in pieces, each of which is progress.
async fn send_data(stream: &mut Stream, mut data: Bytes) -> Result<(), NotSent> {
    while !data.is_empty() {
        let piece = data.split_to(data.len().min(PIECE_BYTES_MAX));
        taken(stream.send_data(piece)).await?;
    }
    Ok(())
}

/// Makes a head what the protocol wants: with a length where it is known, and a date.
fn complete(headers: &mut HeaderMap, length: Option<u64>) {
    for name in CONNECTION_HEADERS {
        headers.remove(name);
    }
    if let Some(length) = length {
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    if !headers.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now()))
    {
        headers.insert(header::DATE, date);
    }
}
