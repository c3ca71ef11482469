//! Frames: 12 bytes of header and a payload.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::DoorError;

/// Bytes of a frame's header: payload length (u32), stream (u32), kind (u8), flags (u8), with [`DONE`] the CPU time of the
/// event in microseconds, else 0 (u16), little-endian.
pub(crate) const HEADER_BYTES: usize = 12;
/// Where in its header a frame's flags are.
pub(crate) const FLAGS_AT: usize = 9;
/// Where in its header the CPU time is.
pub(crate) const CPU_AT: usize = 10;
/// The largest payload of one frame, except [`Kind::Load`]: 1 MiB.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// The largest payload of a load frame (a version's modules): 256 MiB.
pub const LOAD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// The largest head block: with a first piece of body it fits in a frame.
pub const HEAD_BYTES_MAX: usize = 512 * 1024;
/// The longest text of a reset: an exception's message and stack, as JSON.
pub(crate) const RESET_BYTES_MAX: usize = 512 * 1024;
/// The largest piece of a body that one frame carries: 64 KiB, so that streams interleave.
pub const DATA_BYTES_MAX: usize = 64 * 1024;

/// What a frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Edge to isolate, once: the version to run.
    Load = 1,
    /// Isolate to edge, once: the version runs, or why it does not.
    Ready = 2,
    /// A new stream; payload: head block, then optionally a first piece of body.
    Open = 3,
    /// The answer to a stream; payload as [`Kind::Open`].
    Respond = 4,
    /// A piece of body.
    Data = 5,
    /// The receiver consumed so many bytes; payload: u32.
    Credit = 6,
    /// The stream is over, now, both ways; payload: code (u8) and text.
    Reset = 7,
    /// Isolate to edge: the event's work is over, `waitUntil` included; payload: CPU time in microseconds (u64).
    Done = 8,
    /// Isolate to edge: a log record of the event on this stream (0: none); payload: JSON.
    Log = 9,
    /// A WebSocket message.
    Message = 10,
    /// A WebSocket close; payload: code (u16) and reason.
    Close = 11,
    /// Isolate to edge: this isolate takes no more; payload: JSON that says why.
    Condemned = 12,
    /// Isolate to edge: the event on this stream began. Said of those that do not end at once.
    Begun = 13,
    /// Edge to isolate: the time of the event on this stream is over, `waitUntil` included.
    Expired = 14,
    /// Isolate to edge: how much memory the isolate holds; payload: bytes (u64).
    Memory = 15,
}

impl Kind {
    fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Load,
            2 => Self::Ready,
            3 => Self::Open,
            4 => Self::Respond,
            5 => Self::Data,
            6 => Self::Credit,
            7 => Self::Reset,
            8 => Self::Done,
            9 => Self::Log,
            10 => Self::Message,
            11 => Self::Close,
            12 => Self::Condemned,
            13 => Self::Begun,
            14 => Self::Expired,
            15 => Self::Memory,
            _ => return None,
        })
    }
}

/// The sender will send no more on this stream.
pub(crate) const FIN: u8 = 1;
/// With [`Kind::Respond`]: the event's work is over with this frame.
pub(crate) const DONE: u8 = 2;
/// With [`Kind::Message`]: text rather than binary.
pub(crate) const TEXT: u8 = 4;
/// With [`Kind::Message`]: the next message frame of the stream goes on with this message.
pub(crate) const MORE: u8 = 8;

/// One frame as received.
#[derive(Debug)]
pub(crate) struct Frame {
    pub stream: u32,
    pub kind: Kind,
    pub flags: u8,
    /// With [`DONE`]: the CPU time of the event, in microseconds.
    pub cpu_us: u16,
    pub payload: Bytes,
}

impl Frame {
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Takes one whole frame off the front of `buffer`, if it is there.
pub(crate) fn decode(buffer: &mut BytesMut, load_allowed: bool) -> Result<Option<Frame>, DoorError> {
    let Some(mut header) = buffer.get(..HEADER_BYTES) else {
        return Ok(None);
    };
    let length = header.get_u32_le() as usize;
    let stream = header.get_u32_le();
    let kind = Kind::from_u8(header.get_u8()).ok_or(DoorError::Protocol("unknown frame kind"))?;
    let flags = header.get_u8();
    let cpu_us = header.get_u16_le();
    let bound = match kind {
        Kind::Load if load_allowed => LOAD_BYTES_MAX,
        // A ready frame carries the code cache, which grows with the code.
        Kind::Ready => LOAD_BYTES_MAX,
        _ => FRAME_BYTES_MAX,
    };
    if length > bound {
        return Err(DoorError::Protocol("frame over its bound"));
    }
    if buffer.len() < HEADER_BYTES + length {
        buffer.reserve(HEADER_BYTES + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(HEADER_BYTES);
    let payload = buffer.split_to(length).freeze();
    Ok(Some(Frame { stream, kind, flags, cpu_us, payload }))
}

/// Appends one frame whose payload is given in parts.
pub(crate) fn encode(out: &mut BytesMut, stream: u32, kind: Kind, flags: u8, parts: &[&[u8]]) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(HEADER_BYTES + length);
    out.put_u32_le(length as u32);
    out.put_u32_le(stream);
    out.put_u8(kind as u8);
    out.put_u8(flags);
    out.put_u16_le(0);
    for part in parts {
        out.put_slice(part);
    }
}

/// Splits the payload of an open or respond frame into head block and first piece of body.
pub(crate) fn split_head(mut payload: Bytes) -> Result<(Bytes, Bytes), DoorError> {
    if payload.len() < 4 {
        return Err(DoorError::Protocol("head frame too short"));
    }
    let length = payload.get_u32_le() as usize;
    if payload.len() < length {
        return Err(DoorError::Protocol("head longer than its frame"));
    }
    let head = payload.split_to(length);
    Ok((head, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_arriving_byte_by_byte() {
        let mut wire = BytesMut::new();
        encode(&mut wire, 7, Kind::Open, FIN, &[&9_u32.to_le_bytes(), b"fetch\nGET", b"body"]);
        let mut buffer = BytesMut::new();
        let mut got = None;
        for byte in wire.iter() {
            assert!(got.is_none());
            buffer.put_u8(*byte);
            got = decode(&mut buffer, false).unwrap();
        }
        let frame = got.unwrap();
        assert_eq!((frame.stream, frame.kind), (7, Kind::Open));
        assert!(frame.has(FIN));
        let (head, body) = split_head(frame.payload).unwrap();
        assert_eq!((&head[..], &body[..]), (&b"fetch\nGET"[..], &b"body"[..]));
    }

    #[test]
    fn hostile_lengths_and_kinds_end_the_connection() {
        for bytes in [
            [0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 5, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0, 99, 0, 0, 0],
            [1, 0, 16, 0, 0, 0, 0, 0, 3, 0, 0, 0],
        ] {
            let mut buffer = BytesMut::from(&bytes[..]);
            assert!(matches!(decode(&mut buffer, false), Err(DoorError::Protocol(_))));
        }
        assert!(matches!(split_head(Bytes::from_static(&[9, 0, 0, 0, 1])), Err(DoorError::Protocol(_))));
        assert!(matches!(split_head(Bytes::from_static(&[9])), Err(DoorError::Protocol(_))));
    }
}
