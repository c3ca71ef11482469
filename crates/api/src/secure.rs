//! What the API needs of TLS: somebody who turns a socket into a stream that is encrypted.

use std::io;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// Shakes hands with a client. What it gives carries HTTP/1.1 or HTTP/2, which the client's first bytes tell.
pub trait Secure: Send + Sync {
    /// Resolves once both sides agreed. The caller bounds the time.
    fn accept(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}
