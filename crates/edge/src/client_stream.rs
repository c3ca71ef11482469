//! A client's stream, as the HTTP library is given it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::clients::Seat;
use crate::stall::{ANSWER_STALL_MAX, Stall};

/// How an HTTP/2 connection begins, and no request of HTTP/1.1 (RFC 9113, section 3.4).
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a client has for taking a last word.
const FAREWELL_TIME_MAX: Duration = Duration::from_secs(1);

/// A client's stream whose first bytes may have been looked at. It fails once the client takes nothing of what is sent for
/// too long: an answer that nobody reads would be held for ever. A client that is told nothing may take its time.
pub struct ClientStream<S> {
    stream: S,
    /// What was looked at and not read yet.
    first: BytesMut,
    /// The client sent something since it was last told something.
    asked: bool,
    stall: Stall,
    _seat: Option<Seat>,
}

// === impl ClientStream ===

impl<S: AsyncRead + AsyncWrite + Unpin> ClientStream<S> {
    /// Holds `seat` until it is closed.
    pub fn new(stream: S, seat: Seat) -> Self {
        Self::with_patience(stream, Some(seat), ANSWER_STALL_MAX)
    }

    fn with_patience(stream: S, seat: Option<Seat>, patience: Duration) -> Self {
        Self { stream, first: BytesMut::new(), asked: false, stall: Stall::new(patience), _seat: seat }
    }

    /// Whether the client begins to speak HTTP/2: its preface is there whole, or as much as shows that it is another. What was
    /// looked at is read again. The caller bounds the time.
    pub async fn sniff(&mut self) -> io::Result<bool> {
        while self.first.len() < H2_PREFACE.len() && H2_PREFACE.starts_with(&self.first) {
            if self.stream.read_buf(&mut self.first).await? == 0 {
                return Ok(false);
            }
            self.asked = true;
        }
        Ok(self.first.starts_with(H2_PREFACE))
    }

    /// Says a last word to a client that began to ask for something.
    pub async fn farewell(mut self, word: &[u8]) {
        if !self.asked {
            return;
        }
        let telling = async {
            self.write_all(word).await?;
            self.shutdown().await
        };
        // A client that takes nothing is not told.
        let _ = tokio::time::timeout(FAREWELL_TIME_MAX, telling).await;
    }

    /// What came of sending.
    fn sent<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stall.moved();
            return polled;
        }
        ready!(self.stall.poll_over(cx));
        self.stall.moved();
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what it is sent")))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for ClientStream<S> {
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = false;
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.sent(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.asked = false;
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
    use futures_util::FutureExt;

    use super::*;

    /// A client, and its stream as the server has it.
    fn pair(patience: Duration) -> (tokio::io::DuplexStream, ClientStream<tokio::io::DuplexStream>) {
        let (client, server) = tokio::io::duplex(32);
        (client, ClientStream::with_patience(server, None, patience))
    }

    #[tokio::test]
    async fn first_bytes_tell_the_protocol_and_are_read_again() {
        for (said, is_h2) in [
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
            ("PRI * HTTP/2.0\r\n\r\n", false),
            ("PRINT / HTTP/1.1", false),
            ("POST / HTTP/1.1", false),
            ("PR", false),
            ("", false),
        ] {
            let (mut client, mut stream) = pair(ANSWER_STALL_MAX);
            client.write_all(said.as_bytes()).await.unwrap();
            // One that says no more is noticed at once.
            drop(client);
            assert_eq!(stream.sniff().await.unwrap(), is_h2, "{said:?}");
            let mut read = Vec::new();
            stream.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, said.as_bytes());
        }
    }

    #[tokio::test]
    async fn a_preface_is_waited_for_whole() {
        let (mut client, mut stream) = pair(ANSWER_STALL_MAX);
        let (begun, rest) = H2_PREFACE.split_at(3);
        client.write_all(begun).await.unwrap();
        assert!(stream.sniff().now_or_never().is_none());
        client.write_all(rest).await.unwrap();
        assert!(stream.sniff().await.unwrap());
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_given_up_and_one_that_takes_something_is_not() {
        let (mut client, mut stream) = pair(Duration::from_millis(10));
        // More than what is under way between the two.
        let error = stream.write_all(&[7; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let mut received = [0; 70];
        let (sent, _) = tokio::join!(stream.write_all(&[7; 64]), client.read_exact(&mut received));
        assert!(sent.is_ok());
    }
}
