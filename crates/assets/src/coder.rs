//! Codings applied to a body on its way, or undone, a piece at a time.

use std::io;

use async_compression::codecs::brotli::params::EncoderParams;
use async_compression::codecs::{BrotliDecoder, BrotliEncoder, DecodeV2, EncodeV2, GzipDecoder, GzipEncoder};
use async_compression::core::util::{PartialBuffer, WriteBuffer};
use bytes::{Buf, Bytes};

use crate::compress::{BROTLI_LEVEL, Coding, GZIP_LEVEL};

/// How far a coder of Brotli looks back, as a power of two of bytes: 256 KiB. It keeps twice that much while it is there.
const BROTLI_WINDOW_BITS: i32 = 18;
/// Written at a time, in bytes.
const SPACE_BYTES: usize = 4 * 1024;
/// The most that one call decodes to, in bytes, however well it was compressed.
const DECODED_BYTES_MAX: usize = 64 * 1024;

/// Applies a coding.
pub struct Encoder(Box<dyn EncodeV2 + Send>);

/// Undoes a coding.
pub struct Decoder {
    inner: Box<dyn DecodeV2 + Send>,
    coding: Coding,
    /// Something came: a body without a byte is nobody's gzip, and a body all the same.
    has_begun: bool,
    /// What is coded has come to its end.
    is_over: bool,
    /// More may come out without any more coming in.
    is_full: bool,
}

// === impl Encoder ===

impl Encoder {
    pub fn new(coding: Coding) -> Self {
        let parameters = EncoderParams::default().quality(BROTLI_LEVEL).window_size(BROTLI_WINDOW_BITS);
        let inner: Box<dyn EncodeV2 + Send> = match coding {
            Coding::Brotli => Box::new(BrotliEncoder::new(parameters)),
            Coding::Gzip => Box::new(GzipEncoder::new(GZIP_LEVEL.into())),
        };
        Self(inner)
    }

    /// Takes content; gives what of the coded body is there then.
    pub fn encode(&mut self, content: &[u8]) -> io::Result<Bytes> {
        if content.is_empty() {
            return Ok(Bytes::new());
        }
        let mut content = PartialBuffer::new(content);
        written(|space| {
            self.0.encode(&mut content, space)?;
            Ok(content.unwritten().is_empty())
        })
    }

    /// What a client needs besides what it has, to read all that was taken.
    pub fn flush(&mut self) -> io::Result<Bytes> {
        written(|space| self.0.flush(space))
    }

    /// The end of the coded body.
    pub fn finish(&mut self) -> io::Result<Bytes> {
        written(|space| self.0.finish(space))
    }
}

/// What `step` writes until it says that it is done.
fn written(mut step: impl FnMut(&mut WriteBuffer<'_>) -> io::Result<bool>) -> io::Result<Bytes> {
    let mut space = [0; SPACE_BYTES];
    let mut output = Vec::new();
    loop {
        let mut buffer = WriteBuffer::new_initialized(&mut space);
        let is_done = step(&mut buffer)?;
        output.extend_from_slice(buffer.written());
        if is_done {
            return Ok(output.into());
        }
    }
}

// === impl Decoder ===

impl Decoder {
    pub fn new(coding: Coding) -> Self {
        let inner: Box<dyn DecodeV2 + Send> = match coding {
            Coding::Brotli => Box::new(BrotliDecoder::new()),
            Coding::Gzip => Box::new(GzipDecoder::new()),
        };
        Self { inner, coding, has_begun: false, is_over: false, is_full: false }
    }

    /// Whether [`Decoder::decode`] gives more of what it took already.
    pub fn has_more(&self) -> bool {
        self.is_full
    }

    /// Takes some of `coded`, from its beginning; gives what it stands for, a part at a time.
    pub fn decode(&mut self, coded: &mut Bytes) -> io::Result<Bytes> {
        let mut space = [0; SPACE_BYTES];
        let mut output = Vec::new();
        while output.len() < DECODED_BYTES_MAX && (self.is_full || !coded.is_empty()) {
            let mut buffer = WriteBuffer::new_initialized(&mut space);
            if coded.is_empty() && self.coding == Coding::Gzip {
                // Its end is in what comes in; without any, only this may be asked.
                self.is_full = !self.inner.flush(&mut buffer)?;
            } else {
                self.begin_member(!coded.is_empty())?;
                let mut input = PartialBuffer::new(&**coded);
                self.is_over = self.inner.decode(&mut input, &mut buffer)?;
                self.is_full = !self.is_over && buffer.has_no_spare_space();
                let taken = input.written_len();
                coded.advance(taken);
            }
            output.extend_from_slice(buffer.written());
        }
        Ok(output.into())
    }

    /// Behind an end there may be another beginning (RFC 1952, section 2.2); what else there is belongs to nothing.
    fn begin_member(&mut self, has_input: bool) -> io::Result<()> {
        self.has_begun = true;
        if self.is_over && has_input {
            if self.coding == Coding::Brotli {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes follow the end of what is coded"));
            }
            self.inner.reinit()?;
            self.is_over = false;
        }
        Ok(())
    }

    /// No more comes: an error if that is too early.
    pub fn finish(&self) -> io::Result<()> {
        if self.is_over || !self.has_begun {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "what is coded ends before its end"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODINGS: [Coding; 2] = [Coding::Brotli, Coding::Gzip];

    fn encoded(coding: Coding, content: &[u8]) -> Bytes {
        let mut encoder = Encoder::new(coding);
        let begun = encoder.encode(content).unwrap();
        [begun, encoder.finish().unwrap()].concat().into()
    }

    fn decoded(coding: Coding, pieces: impl IntoIterator<Item = Bytes>) -> io::Result<Vec<u8>> {
        let mut decoder = Decoder::new(coding);
        let mut whole = Vec::new();
        for mut piece in pieces {
            while !piece.is_empty() || decoder.has_more() {
                let part = decoder.decode(&mut piece)?;
                assert!(part.len() < DECODED_BYTES_MAX + SPACE_BYTES);
                whole.extend_from_slice(&part);
            }
        }
        decoder.finish()?;
        Ok(whole)
    }

    #[test]
    fn what_is_decoded_is_what_was_encoded() {
        for coding in CODINGS {
            for content in [b"a cloth's own edge ".repeat(3), b"does not unravel ".repeat(50_000), vec![0; 3_000_000]] {
                let coded = encoded(coding, &content);
                assert!(coded.len() < content.len() / 2 + 40);
                assert!(decoded(coding, [coded.clone()]).unwrap() == content);
                let bytes = coded.iter().map(|byte| Bytes::copy_from_slice(&[*byte]));
                assert!(decoded(coding, bytes).unwrap() == content);
            }
        }
    }

    #[test]
    fn a_flush_gives_all_that_was_taken() {
        for coding in CODINGS {
            let (mut encoder, mut decoder) = (Encoder::new(coding), Decoder::new(coding));
            for text in ["one", "two", "three"] {
                let begun = encoder.encode(text.as_bytes()).unwrap();
                let mut coded = Bytes::from([begun, encoder.flush().unwrap()].concat());
                let mut read = Vec::new();
                while !coded.is_empty() || decoder.has_more() {
                    read.extend_from_slice(&decoder.decode(&mut coded).unwrap());
                }
                assert_eq!(read, text.as_bytes(), "{coding:?}");
            }
            assert!(decoder.finish().is_err());
        }
    }

    #[test]
    fn what_ends_early_or_is_not_coded_so_is_an_error() {
        for coding in CODINGS {
            let coded = encoded(coding, &b"does not unravel ".repeat(100));
            assert!(decoded(coding, [coded.slice(..coded.len() - 1)]).is_err(), "{coding:?}");
            assert!(decoded(coding, [Bytes::from_static(b"\xff\xffnothing of the kind")]).is_err(), "{coding:?}");
            assert!(decoded(coding, []).unwrap().is_empty());
        }
        let twice = [encoded(Coding::Gzip, b"once, "), encoded(Coding::Gzip, b"and again")].concat();
        assert_eq!(decoded(Coding::Gzip, [Bytes::from(twice)]).unwrap(), b"once, and again");
    }
}
