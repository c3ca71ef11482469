//! One keep-alive connection to the server, and the request in flight on it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::LoadError;
use crate::framing::{FramingError, Response};

/// Loopback answers a connection attempt in microseconds, unless the server's backlog is full.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Over a connection that blocks, an answer that takes longer has failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a request got no success.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("status {0}")]
    Status(u16),
    #[error("connection closed before the response ended")]
    Closed,
    #[error("{0}")]
    Framing(#[from] FramingError),
    #[error("{}", .0.kind())]
    Io(#[from] std::io::Error),
    #[error("another body than expected")]
    Body,
}

pub struct Connection {
    stream: TcpStream,
    port: u16,
    pub response: Response,
    /// The instant from which the request in flight is timed; `None` when idle.
    pub since: Option<Instant>,
}

fn dial(port: u16) -> std::io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

// === impl Connection ===

impl Connection {
    pub fn open(port: u16) -> Result<Self, LoadError> {
        let stream = dial(port).map_err(|source| LoadError::Connect { port, source })?;
        Ok(Self { stream, port, response: Response::new(), since: None })
    }

    /// A connection for [`Self::ask`].
    pub fn open_blocking(port: u16) -> Result<Self, LoadError> {
        let connection = Self::open(port)?;
        connection.bound_reads()?;
        Ok(connection)
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Replaces a connection that the server closed or that broke the protocol.
    pub fn reopen(&mut self) -> Result<(), LoadError> {
        self.stream = dial(self.port).map_err(|source| LoadError::Connect { port: self.port, source })?;
        self.response.reset();
        self.since = None;
        Ok(())
    }

    /// [`Self::reopen`] for a connection that blocks.
    pub fn reopen_blocking(&mut self) -> Result<(), LoadError> {
        self.reopen()?;
        self.bound_reads()
    }

    fn bound_reads(&self) -> Result<(), LoadError> {
        let port = self.port;
        self.stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(|source| LoadError::Connect { port, source })
    }

    /// Sends a request and waits for its answer, which must be a success. Gives how long that took.
    pub fn ask(&mut self, request: &[u8], buffer: &mut [u8]) -> Result<Duration, RequestError> {
        let sent = Instant::now();
        self.send(request, sent)?;
        while !self.receive(buffer)? {
            if sent.elapsed() >= ANSWER_TIMEOUT {
                return Err(std::io::Error::from(ErrorKind::TimedOut).into());
            }
        }
        self.since = None;
        Ok(sent.elapsed())
    }

    /// Sends a request that is timed from `since`. It is far smaller than a socket's send buffer, so that a write
    /// which would block means that the connection is broken.
    pub fn send(&mut self, request: &[u8], since: Instant) -> Result<(), RequestError> {
        self.response.reset();
        self.since = Some(since);
        Ok(self.stream.write_all(request)?)
    }

    /// Reads what is there; true when the response is complete and a success.
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<bool, RequestError> {
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(RequestError::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if self.response.feed(buffer.get(..count).unwrap_or(&[]))? {
                return self.check();
            }
            if count < buffer.len() {
                return Ok(false);
            }
        }
    }

    fn check(&self) -> Result<bool, RequestError> {
        if self.response.is_success() { Ok(true) } else { Err(RequestError::Status(self.response.status)) }
    }
}
