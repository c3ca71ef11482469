//! The body of a request by HTTP/3.

use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use h3::server::RequestStream;
use http::{HeaderMap, header};

use super::transport::RecvStream;

type Stream = RequestStream<RecvStream, Bytes>;

/// Why a body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum QuicBodyError {
    #[error("the stream of the request ended early")]
    Stream(#[from] StreamError),
    #[error("content-length is not a number")]
    NoLength,
    #[error("the body has not the length that content-length promised")]
    Length,
}

/// The body of a request by HTTP/3.
pub struct QuicBody {
    stream: Stream,
    /// What was read already.
    first: Option<Bytes>,
    /// Bytes still to come, where the client said how many there are.
    left: Option<u64>,
    over: bool,
}

// === impl QuicBodyError ===

impl QuicBodyError {
    /// What a client is told of whose request no worker is asked (RFC 9114, sections 4.1 and 4.1.2).
    pub fn code(&self) -> Code {
        match self {
            Self::Stream(_) => Code::H3_REQUEST_INCOMPLETE,
            Self::NoLength | Self::Length => Code::H3_MESSAGE_ERROR,
        }
    }
}

// === impl QuicBody ===

impl QuicBody {
    /// The body that follows `headers`.
    pub fn new(stream: Stream, headers: &HeaderMap) -> Result<Self, QuicBodyError> {
        let promised = headers.get(header::CONTENT_LENGTH).map(|text| {
            let number = text.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            number.and_then(|text| text.parse::<u64>().ok()).ok_or(QuicBodyError::NoLength)
        });
        Ok(Self { stream, first: None, left: promised.transpose()?, over: false })
    }

    /// Waits for the first bytes, or for the end where there are none.
    pub async fn begin(&mut self) -> Result<(), QuicBodyError> {
        if let Some(data) = std::future::poll_fn(|cx| self.poll_data(cx)).await.transpose()? {
            self.left = self.left.map(|left| left.saturating_add(data.len() as u64));
            self.first = Some(data);
        }
        Ok(())
    }

    /// Whether nothing more comes.
    pub fn is_over(&self) -> bool {
        self.over && self.first.is_none()
    }

    /// How many bytes still come, where that is known.
    pub fn left(&self) -> Option<u64> {
        if self.is_over() { Some(0) } else { self.left }
    }

    pub fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, QuicBodyError>>> {
        if let Some(first) = self.first.take() {
            self.left = self.left.map(|left| left.saturating_sub(first.len() as u64));
            return Poll::Ready(Some(Ok(first)));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let data = match ready!(self.stream.poll_recv_data(cx)) {
            Ok(Some(mut data)) => data.copy_to_bytes(data.remaining()),
            Ok(None) => {
                self.over = true;
                let short = self.left.is_some_and(|left| left > 0);
                return Poll::Ready(short.then_some(Err(QuicBodyError::Length)));
            }
            Err(error) => {
                self.over = true;
                return Poll::Ready(Some(Err(error.into())));
            }
        };
        match self.left.map(|left| left.checked_sub(data.len() as u64)) {
            Some(None) => {
                self.over = true;
                self.stream.stop_sending(Code::H3_MESSAGE_ERROR);
                Poll::Ready(Some(Err(QuicBodyError::Length)))
            }
            left => {
                self.left = left.flatten();
                Poll::Ready(Some(Ok(data)))
            }
        }
    }
}

impl Drop for QuicBody {
    fn drop(&mut self) {
        if !self.over {
            // The answer is whole without the rest (RFC 9114, section 4.1).
            self.stream.stop_sending(Code::H3_NO_ERROR);
        }
    }
}
