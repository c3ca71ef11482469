//! A client's stream, as the HTTP library is given it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::connection::HEAD_BYTES_MAX;
use crate::envelope::{Failure, Problem};
use crate::error::code;
use crate::secure::Io;

/// How an HTTP/2 connection begins, and no request of HTTP/1.1.
const H2_PREFACE: &[u8; 3] = b"PRI";
/// The most that the HTTP library's own refusal takes, in bytes.
const REFUSAL_BYTES_MAX: usize = 256;

/// An answer to what is no request yet: in the envelope, and the connection's last.
pub fn bare_answer(status: StatusCode, code: u32, message: &str) -> Vec<u8> {
    let problem = Problem { code, message: message.to_owned(), meta: None };
    let failure = Failure { success: false, errors: vec![problem], messages: Vec::new(), result: None };
    let body = serde_json::to_string(&failure).unwrap_or_default();
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len()
    )
    .into_bytes()
}

/// What a client is told where the HTTP library refuses a head by itself, without a word: nothing of the API's own answers
/// looks like that.
fn enveloped(bytes: &[u8]) -> Option<Bytes> {
    let refusal = bytes.strip_prefix(b"HTTP/1.1 4").filter(|_| bytes.len() <= REFUSAL_BYTES_MAX)?;
    let text = std::str::from_utf8(refusal).ok()?.strip_suffix("\r\n\r\n")?;
    let (status, headers) = text.split_once("\r\n")?;
    let is_bare = |line: &str| ["content-length: 0", "connection: close"].contains(&line) || line.starts_with("date: ");
    if !headers.split("\r\n").all(is_bare) {
        return None;
    }
    let (status, code, message) = match status.get(..2)? {
        "00" => (StatusCode::BAD_REQUEST, code::BAD_HEAD, "the request's head is not valid HTTP/1.1".to_owned()),
        "14" => (StatusCode::URI_TOO_LONG, code::HEAD_TOO_LARGE, "the request's target is too long".to_owned()),
        "31" => (
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            code::HEAD_TOO_LARGE,
            format!("the request's head takes more than {HEAD_BYTES_MAX} bytes, or has too many fields"),
        ),
        _ => return None,
    };
    Some(bare_answer(status, code, &message).into())
}

/// A client's stream whose first bytes were looked at. It fails once the client takes nothing of what is sent for too long:
/// an answer that nobody reads would be held for ever.
pub struct Stream {
    stream: Box<dyn Io>,
    /// What was looked at and not read yet.
    first: BytesMut,
    /// The client sent something since it was last told something.
    asked: bool,
    /// How long the client may take nothing.
    patience: Duration,
    /// When that is over, while it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// What is being sent in the place of a bare refusal.
    instead: Bytes,
}

impl Stream {
    pub fn new(stream: Box<dyn Io>, patience: Duration) -> Self {
        Self { stream, first: BytesMut::new(), asked: false, patience, stalled: None, instead: Bytes::new() }
    }

    /// The client sent something since it was last told something.
    pub fn has_asked(&self) -> bool {
        self.asked
    }

    /// Sends what takes the place of `refusal`, whole.
    fn poll_instead(&mut self, cx: &mut Context<'_>, refusal: &[u8]) -> Poll<io::Result<usize>> {
        while !self.instead.is_empty() {
            let polled = Pin::new(&mut self.stream).poll_write(cx, &self.instead);
            let written = ready!(self.sent(cx, polled))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.instead.advance(written);
        }
        Poll::Ready(Ok(refusal.len()))
    }

    /// Whether something else takes the place of `bytes`.
    fn replace(&mut self, bytes: &[u8]) -> bool {
        if self.instead.is_empty() {
            let Some(answer) = enveloped(bytes) else {
                return false;
            };
            self.instead = answer;
        }
        true
    }

    /// What came of sending.
    fn sent<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of its answer")))
    }

    /// Whether the client begins to speak HTTP/2.
    pub async fn sniff(&mut self) -> io::Result<bool> {
        while self.first.len() < H2_PREFACE.len() && H2_PREFACE.starts_with(&self.first) {
            if self.stream.read_buf(&mut self.first).await? == 0 {
                return Ok(false);
            }
            self.asked = true;
        }
        Ok(self.first.starts_with(H2_PREFACE))
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let length = self.first.len().min(buffer.remaining());
            buffer.put_slice(self.first.get(..length).unwrap_or_default());
            self.first.advance(length);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.asked |= buffer.filled().len() > before;
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = false;
        if self.replace(bytes) {
            return self.poll_instead(cx, bytes);
        }
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.sent(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.asked = false;
        if let Some(first) = slices.iter().find(|slice| !slice.is_empty())
            && self.replace(first)
        {
            return self.poll_instead(cx, first);
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.sent(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        self.sent(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.sent(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_refusal_becomes_an_answer_and_nothing_else_does() {
        let refusal = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n";
        let answer = enveloped(refusal).unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n")
        );
        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\ncontent-type: application/json\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n{}",
            b"HTTP/1.1 4",
            b"",
        ] {
            assert_eq!(enveloped(other), None);
        }
    }
}
