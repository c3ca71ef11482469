//! Where an HTTP/1.1 response ends.
//!
//! The body is counted, not kept: only its first bytes stay, for the caller to check whose answer it is.

/// A response head larger than this is a protocol error. Bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;
/// Longest chunk-size line, extensions included. Bytes.
const CHUNK_LINE_BYTES_MAX: usize = 1024;
/// How much of the body's start is kept. Bytes.
const PREFIX_BYTES_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    #[error("malformed response head")]
    Head,
    #[error("response without a length")]
    NoLength,
    #[error("malformed chunk")]
    Chunk,
    #[error("bytes after the end of the response")]
    Excess,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    ChunkLine,
    Chunk(u64),
    /// The CR LF after a chunk's data.
    ChunkEnd,
    Trailer,
    Done,
}

/// Reads one response; `reset` makes it ready for the next on the same connection.
#[derive(Debug)]
pub struct Response {
    state: State,
    /// The head, then each chunk-size or trailer line, until complete.
    line: Vec<u8>,
    pub status: u16,
    pub body_bytes: u64,
    /// The server closes the connection after this response.
    pub closes: bool,
    pub prefix: Vec<u8>,
}

// === impl Response ===

impl Response {
    pub fn new() -> Self {
        Self {
            state: State::Head,
            line: Vec::with_capacity(1024),
            status: 0,
            body_bytes: 0,
            closes: false,
            prefix: Vec::with_capacity(PREFIX_BYTES_MAX),
        }
    }

    pub fn reset(&mut self) {
        self.state = State::Head;
        self.line.clear();
        self.status = 0;
        self.body_bytes = 0;
        self.closes = false;
        self.prefix.clear();
    }

    /// True if the status is a success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Takes what was read; true when the response is complete.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<bool, FramingError> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head => self.head(bytes)?,
                State::Length(left) => {
                    let (rest, left) = self.body(bytes, left);
                    self.state = if left == 0 { State::Done } else { State::Length(left) };
                    rest
                }
                State::Chunk(left) => {
                    let (rest, left) = self.body(bytes, left);
                    self.state = if left == 0 { State::ChunkEnd } else { State::Chunk(left) };
                    rest
                }
                State::ChunkLine | State::ChunkEnd | State::Trailer => self.chunk_line(bytes)?,
                State::Done => return Err(FramingError::Excess),
            };
        }
        Ok(self.state == State::Done)
    }

    fn head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], FramingError> {
        let before = self.line.len();
        self.line.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Response::new(&mut headers);
        let length = match parsed.parse(&self.line).map_err(|_| FramingError::Head)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial if self.line.len() > HEAD_BYTES_MAX => {
                return Err(FramingError::Head);
            }
            httparse::Status::Partial => return Ok(&[]),
        };
        let status = parsed.code.unwrap_or(0);
        let mut closes = false;
        let mut state = None;
        for header in parsed.headers.iter() {
            let value = header.value.trim_ascii();
            if header.name.eq_ignore_ascii_case("content-length") {
                let digits = std::str::from_utf8(value).map_err(|_| FramingError::Head)?;
                state = state.or(Some(State::Length(digits.parse().map_err(|_| FramingError::Head)?)));
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case(b"chunked") {
                state = Some(State::ChunkLine);
            } else if header.name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case(b"close") {
                closes = true;
            }
        }
        self.state = match state {
            _ if status == 204 || status == 304 => State::Done,
            Some(State::Length(0)) => State::Done,
            Some(state) => state,
            None => return Err(FramingError::NoLength),
        };
        self.status = status;
        self.closes = closes;
        self.line.clear();
        Ok(bytes.get(length - before..).unwrap_or(&[]))
    }

    fn body<'b>(&mut self, bytes: &'b [u8], left: u64) -> (&'b [u8], u64) {
        let (data, rest) = bytes.split_at(usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()));
        let room = PREFIX_BYTES_MAX - self.prefix.len();
        self.prefix.extend(data.iter().take(room));
        self.body_bytes += data.len() as u64;
        (rest, left - data.len() as u64)
    }

    /// Gathers one line of the chunked coding and acts on it once its LF is there.
    fn chunk_line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], FramingError> {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        self.line.extend_from_slice(line);
        if self.line.len() > CHUNK_LINE_BYTES_MAX {
            return Err(FramingError::Chunk);
        }
        if end.is_none() {
            return Ok(rest);
        }
        let line = self.line.trim_ascii();
        self.state = match self.state {
            State::ChunkEnd if line.is_empty() => State::ChunkLine,
            State::ChunkEnd => return Err(FramingError::Chunk),
            State::Trailer if line.is_empty() => State::Done,
            State::Trailer => State::Trailer,
            _ => match chunk_size(line).ok_or(FramingError::Chunk)? {
                0 => State::Trailer,
                size => State::Chunk(size),
            },
        };
        self.line.clear();
        Ok(rest)
    }
}

/// The number at the start of a chunk-size line (RFC 9112, 7.1).
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|&byte| byte == b';').next()?.trim_ascii();
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Feeds `wire` in pieces of `step` bytes.
    fn read(wire: &[u8], step: usize) -> Result<Response, FramingError> {
        let mut response = Response::new();
        let mut done = false;
        for piece in wire.chunks(step) {
            done = response.feed(piece)?;
        }
        assert!(done);
        Ok(response)
    }

    #[test]
    fn response_is_the_same_however_it_is_cut() {
        let length: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let chunked: &[u8] =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nA: b\r\n\r\n";
        for wire in [length, chunked] {
            for step in 1..=wire.len() {
                let response = read(wire, step).unwrap();
                assert_eq!((response.status, response.body_bytes), (200, 5));
                assert_eq!(response.prefix, b"hello");
            }
        }
    }

    #[test]
    fn bytes_after_the_end_are_an_error() {
        let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhello";
        assert_eq!(Response::new().feed(wire), Err(FramingError::Excess));
    }

    #[test]
    fn response_without_a_length_is_an_error() {
        let wire = b"HTTP/1.0 200 OK\r\n\r\nhello";
        assert_eq!(Response::new().feed(wire), Err(FramingError::NoLength));
    }

    #[test]
    fn no_content_ends_at_the_head() {
        let response = read(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", 7).unwrap();
        assert!(response.closes && response.is_success());
    }
}
