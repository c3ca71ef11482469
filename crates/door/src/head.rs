//! Head blocks: the first lines of a stream, as text.
//!
//! A head is a list of fields separated by line feeds. No field can hold a line feed: methods, URLs and header values
//! cannot, and meta is JSON on one line. Bytes are Latin-1, as HTTP header values are; meta and URLs are ASCII.
//!
//! - open: target, method, URL, meta, then header names and values in turn;
//! - respond: status, status text, meta, then header names and values in turn.

use bytes::Bytes;

/// A head block as received.
#[derive(Debug, Clone)]
pub struct Head(pub Bytes);

/// The builder refused a field.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a field of a head block holds a line feed")]
pub struct HeadError;

impl Head {
    /// The fields in order.
    pub fn fields(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'\n')
    }

    /// The field at `index`, or an empty one.
    pub fn field(&self, index: usize) -> &[u8] {
        self.fields().nth(index).unwrap_or_default()
    }

    /// The field at `index` as text; empty where it is not UTF-8.
    pub fn text(&self, index: usize) -> &str {
        std::str::from_utf8(self.field(index)).unwrap_or_default()
    }

    /// Header names and values, given how many fields stand before them.
    pub fn headers(&self, skip: usize) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut fields = self.fields().skip(skip);
        std::iter::from_fn(move || Some((fields.next()?, fields.next()?)))
    }
}

/// Builds a head block.
#[derive(Debug, Default)]
pub struct HeadBuilder {
    block: Vec<u8>,
    started: bool,
}

impl HeadBuilder {
    /// An empty block.
    pub fn new() -> Self {
        Self { block: Vec::with_capacity(256), started: false }
    }

    /// Appends one field.
    pub fn field(&mut self, value: &[u8]) -> Result<&mut Self, HeadError> {
        if value.contains(&b'\n') {
            return Err(HeadError);
        }
        if self.started {
            self.block.push(b'\n');
        }
        self.started = true;
        self.block.extend_from_slice(value);
        Ok(self)
    }

    /// The finished block.
    pub fn finish(self) -> Vec<u8> {
        self.block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_as_it_was_built() {
        let mut builder = HeadBuilder::new();
        for field in [&b"fetch"[..], b"GET", b"http://a/", b"", b"accept", b"\xff"] {
            builder.field(field).unwrap();
        }
        let head = Head(builder.finish().into());
        assert_eq!(head.text(1), "GET");
        assert_eq!(head.field(3), b"");
        assert_eq!(head.headers(4).collect::<Vec<_>>(), vec![(&b"accept"[..], &b"\xff"[..])]);
        assert_eq!(head.field(9), b"");
    }

    #[test]
    fn a_line_feed_cannot_smuggle_a_field() {
        assert_eq!(HeadBuilder::new().field(b"a\nb").unwrap_err(), HeadError);
    }
}
