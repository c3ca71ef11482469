//! A client's body on its way to an isolate, kept as long as it may have to be sent again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use selvedge_door::{Chunk, Outbound, Reset, ResetCode, WINDOW_BYTES};
use selvedge_model::LimitName;
use tokio::sync::oneshot;

use crate::client_body::{ClientBody, ClientBodyError};
use crate::deployed::Deployed;
use crate::edge::RequestId;

/// How much of an unwanted body is read, and for how long.
const LINGER_BYTES_MAX: usize = 256 * 1024 * 1024;
const LINGER_MAX: Duration = Duration::from_secs(5);

/// A client's body.
///
/// Until an isolate begins the event it takes no more than a window of the body, so that much is kept: an isolate that
/// ends before it begins leaves nothing behind, and the next one gets the body from its first byte.
pub struct Upload {
    incoming: ClientBody,
    /// Pieces sent so far, in order, while all of them may have to be sent again.
    kept: Option<Vec<Bytes>>,
    sent_bytes: u64,
    ended: bool,
    /// Why it did not come to its end.
    pub broken: Option<ClientBodyError>,
}

impl Upload {
    /// Nothing of it has been sent.
    pub fn new(incoming: ClientBody) -> Self {
        Self { incoming, kept: Some(Vec::new()), sent_bytes: 0, ended: false, broken: None }
    }

    /// Sends the body on, as far as the limit allows. Gives itself `back` if the isolate never began the event.
    pub async fn run(
        mut self,
        deployed: Arc<Deployed>,
        request_id: RequestId,
        mut outbound: Outbound,
        back: oneshot::Sender<Self>,
    ) {
        let again = self.kept.clone().unwrap_or_default();
        for piece in again {
            if outbound.send(Chunk::Data(piece)).await.is_err() {
                return self.stopped(outbound, back).await;
            }
        }
        let allowed = deployed.version.manifest.limits.request_body_bytes;
        while !self.ended {
            let frame = tokio::select! {
                biased;
                () = outbound.ended() => return self.stopped(outbound, back).await,
                frame = self.incoming.frame() => frame,
            };
            let data = match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                None => {
                    self.ended = true;
                    break;
                }
                Some(Ok(Ok(data))) => data,
                Some(Ok(Err(_trailers))) => continue,
                Some(Err(error)) => {
                    let reset = Reset::new(ResetCode::Cancelled, error.to_string());
                    self.broken = Some(error);
                    // Before the reset: who is told of that asks for this. Who has its answer does not.
                    let _ = back.send(self);
                    return outbound.fail(&reset);
                }
            };
            self.sent_bytes += data.len() as u64;
            if self.sent_bytes > allowed {
                let failure =
                    deployed.limit(&request_id.to_string(), LimitName::RequestBodyBytes, self.sent_bytes, allowed);
                let text = serde_json::to_string(&failure).unwrap_or_default();
                outbound.fail(&Reset::new(ResetCode::Limit, text));
                return linger(self.incoming).await;
            }
            self.keep(&data);
            if outbound.send(Chunk::Data(data)).await.is_err() {
                return self.stopped(outbound, back).await;
            }
        }
        if self.kept.is_some() {
            outbound.finished().await;
            self.give(back).await;
        } else {
            outbound.finish();
        }
    }

    /// Takes the rest, for nobody.
    pub async fn linger(self) {
        linger(self.incoming).await;
    }

    fn keep(&mut self, data: &Bytes) {
        // More than a window is sent only to an isolate that took some of it: it has begun.
        if self.sent_bytes > 2 * WINDOW_BYTES as u64 {
            self.kept = None;
        } else if let Some(kept) = &mut self.kept {
            kept.push(data.clone());
        }
    }

    async fn stopped(self, outbound: Outbound, back: oneshot::Sender<Self>) {
        outbound.finish();
        self.give(back).await;
    }

    /// Gives itself back to whoever may try again. Who has its answer does not wait for it.
    async fn give(self, back: oneshot::Sender<Self>) {
        let unwanted = if self.kept.is_some() { back.send(self).err() } else { Some(self) };
        if let Some(unwanted) = unwanted {
            linger(unwanted.incoming).await;
        }
    }
}

/// Takes what a client goes on to send though nobody wants it: a connection that is closed before all of it was read
/// is reset, and the client may never see the answer.
pub async fn linger(mut incoming: ClientBody) {
    let mut left = LINGER_BYTES_MAX;
    let read = async {
        while let Some(Ok(frame)) = incoming.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if bytes > left {
                return;
            }
            left -= bytes;
        }
    };
    // A client that takes longer is cut off.
    let _ = tokio::time::timeout(LINGER_MAX, read).await;
}
