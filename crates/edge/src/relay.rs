//! From one isolate to another, and between isolates and the edge's own bodies.

use bytes::Bytes;
use http_body::Body;
use http_body_util::BodyExt;
use selvedge_door::{Chunk, Inbound, Outbound, Reset, ResetCode};

/// Sends all that arrives on `inbound` to `outbound`: bytes and WebSocket messages alike.
pub async fn pipe(mut inbound: Inbound, mut outbound: Outbound) {
    while let Some(chunk) = inbound.chunk().await {
        match chunk {
            Ok(chunk) => {
                if let Err(reset) = outbound.send(chunk).await {
                    inbound.cancel(&reset);
                    return outbound.fail(&reset);
                }
            }
            Err(reset) => return outbound.fail(&reset),
        }
    }
    outbound.finish();
}

/// Sends a body of the edge's own to an isolate.
pub async fn send<B>(mut body: B, mut outbound: Outbound)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => {
                if outbound.send(Chunk::Data(data)).await.is_err() {
                    return outbound.finish();
                }
            }
            Ok(Err(_trailers)) => {}
            Err(error) => return outbound.fail(&Reset::new(ResetCode::Failed, error.to_string())),
        }
    }
    outbound.finish();
}

/// Collects a body that an isolate sends, of at most `bytes_max`; `None` if it is larger or does not end well.
pub async fn collect(mut inbound: Inbound, bytes_max: usize) -> Option<Bytes> {
    if let Some(bytes) = inbound.complete() {
        return (bytes.len() <= bytes_max).then_some(bytes);
    }
    let mut collected = Vec::new();
    while let Some(chunk) = inbound.chunk().await {
        match chunk {
            Ok(Chunk::Data(data)) if collected.len() + data.len() <= bytes_max => collected.extend_from_slice(&data),
            Ok(Chunk::Data(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
    Some(collected.into())
}
