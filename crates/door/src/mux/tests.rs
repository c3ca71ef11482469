mod ends;

use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::frame::FRAME_BYTES_MAX;

/// Two ends without a socket between them.
struct Pair {
    edge: Arc<Mux>,
    isolate: Arc<Mux>,
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn take(mux: &Mux) -> BytesMut {
    let mut bytes = BytesMut::new();
    mux.take_out(&mut bytes, &context());
    bytes
}

fn give(mux: &Arc<Mux>, mut bytes: BytesMut) -> Vec<Received> {
    let mut received = Vec::new();
    while let Some(frame) = frame::decode(&mut bytes, true).unwrap() {
        received.push(mux.receive(frame).unwrap());
    }
    assert!(bytes.is_empty());
    received
}

impl Pair {
    fn new() -> Self {
        Self { edge: Mux::new(Side::Edge), isolate: Mux::new(Side::Isolate) }
    }

    fn to_isolate(&self) -> Vec<Received> {
        give(&self.isolate, take(&self.edge))
    }

    fn to_edge(&self) -> Vec<Received> {
        give(&self.edge, take(&self.isolate))
    }

    /// An event that the isolate has seen; gives its stream, the edge's wait for the answer, and the isolate's body.
    fn event(&self, body: &'static [u8], fin: bool) -> (Opened, Inbound) {
        let opened = self.edge.open(self.edge.reserve(), b"fetch", Bytes::from_static(body), fin).unwrap();
        let Some(Received::Opened { body, .. }) = self.to_isolate().into_iter().next() else {
            panic!("nothing was opened");
        };
        (opened, body)
    }
}

fn chunk(inbound: &mut Inbound) -> Poll<Option<Result<Chunk, Reset>>> {
    inbound.poll_chunk(&mut context())
}

fn data(inbound: &mut Inbound) -> Bytes {
    match chunk(inbound) {
        Poll::Ready(Some(Ok(Chunk::Data(data)))) => data,
        other => panic!("not data: {other:?}"),
    }
}

fn refusal(received: Result<Received, DoorError>) -> String {
    match received {
        Err(DoorError::Protocol(why)) => why.to_owned(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was believed"),
    }
}

#[test]
fn an_answer_that_is_whole_ends_the_event_in_one_frame() {
    let pair = Pair::new();
    let (mut opened, _) = pair.event(b"", true);
    pair.isolate.respond(opened.stream, b"200", Bytes::from_static(b"hello"), true, true);
    assert_eq!(pair.isolate.streams(), 0);
    assert!(matches!(pair.to_edge()[..], [Received::Done { stream: 1, .. }]));
    let reply = opened.reply.try_recv().unwrap().unwrap();
    assert_eq!(reply.body.complete().unwrap(), "hello");
    assert_eq!(pair.edge.streams(), 0);
}

#[test]
fn a_large_answer_waits_for_its_reader_and_is_done_only_then() {
    let pair = Pair::new();
    let (mut opened, _) = pair.event(b"", true);
    let body = Bytes::from(vec![7; 3 * WINDOW_BYTES]);
    pair.isolate.respond(opened.stream, b"200", body.clone(), true, true);
    assert!(pair.isolate.held_bytes() >= body.len(), "what waits for credit is counted");
    assert!(matches!(pair.to_edge()[0], Received::Nothing));
    assert!(pair.isolate.held_bytes() < body.len() - WINDOW_BYTES + 1);
    let mut reply = opened.reply.try_recv().unwrap().unwrap();
    let mut got = Vec::new();
    let mut done = false;
    while got.len() < body.len() {
        match chunk(&mut reply.body) {
            Poll::Ready(Some(Ok(Chunk::Data(data)))) => got.extend_from_slice(&data),
            Poll::Pending => {
                assert!(!done, "the event is not over while its answer is on the way");
                pair.to_isolate();
                done = pair.to_edge().iter().any(|received| matches!(received, Received::Done { .. }));
            }
            other => panic!("{other:?}"),
        }
    }
    pair.to_isolate();
    pair.to_edge();
    assert!(matches!(chunk(&mut reply.body), Poll::Ready(None)));
    assert_eq!(got, body);
    assert_eq!((pair.edge.streams(), pair.isolate.streams()), (0, 0));
    assert_eq!(pair.isolate.held_bytes(), 0);
}

#[test]
fn pieces_that_are_copied_at_once_keep_their_place() {
    let pair = Pair::new();
    let (mut opened, _) = pair.event(b"", true);
    pair.isolate.respond(opened.stream, b"200", Bytes::new(), false, false);
    let mut sent = Vec::new();
    // Small ones go at once, those larger than a frame and those beyond the window wait.
    for (index, bytes) in [1, DATA_BYTES_MAX, DATA_BYTES_MAX + 1, 0, 7, 3 * DATA_BYTES_MAX, 5].into_iter().enumerate() {
        let piece = vec![index as u8; bytes];
        pair.isolate.send_slice(opened.stream, &piece).unwrap();
        sent.extend(piece);
    }
    pair.isolate.finish(opened.stream);
    pair.to_edge();
    let mut reply = opened.reply.try_recv().unwrap().unwrap();
    let mut got = Vec::new();
    loop {
        match chunk(&mut reply.body) {
            Poll::Ready(Some(Ok(Chunk::Data(data)))) => got.extend_from_slice(&data),
            Poll::Ready(None) => break,
            Poll::Pending => {
                pair.to_isolate();
                pair.to_edge();
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(got, sent);
    assert!(pair.isolate.send_slice(opened.stream, b"late").is_err(), "it was finished");
}

#[test]
fn a_sender_stops_at_the_window_and_goes_on_as_the_receiver_reads() {
    let pair = Pair::new();
    let (opened, mut inbound) = pair.event(b"", false);
    let mut sent = 0;
    let piece = Bytes::from(vec![1; DATA_BYTES_MAX]);
    while let Poll::Ready(Ok(())) = pair.edge.poll_ready(opened.stream, &mut context()) {
        pair.edge.send(opened.stream, Chunk::Data(piece.clone())).unwrap();
        sent += piece.len();
    }
    assert_eq!(sent, WINDOW_BYTES);
    pair.to_isolate();
    data(&mut inbound);
    pair.to_edge();
    assert!(matches!(pair.edge.poll_ready(opened.stream, &mut context()), Poll::Ready(Ok(()))));
}

#[test]
fn a_body_cut_short_never_looks_whole() {
    for how in ["reset and done", "done", "closed"] {
        let pair = Pair::new();
        let (mut opened, _) = pair.event(b"", true);
        pair.isolate.respond(opened.stream, b"200", Bytes::from_static(b"some"), false, false);
        pair.to_edge();
        let mut reply = opened.reply.try_recv().unwrap().unwrap();
        match how {
            "reset and done" => {
                pair.isolate.reset(opened.stream, &Reset::new(ResetCode::Failed, "broke"));
                pair.isolate.done(opened.stream, 0);
                pair.to_edge();
            }
            "done" => {
                pair.isolate.done(opened.stream, 0);
                pair.to_edge();
            }
            _ => pair.edge.close(),
        }
        assert_eq!(data(&mut reply.body), "some");
        assert!(matches!(chunk(&mut reply.body), Poll::Ready(Some(Err(_)))), "{how}");
        assert!(matches!(chunk(&mut reply.body), Poll::Ready(None)), "{how}");
        assert_eq!(pair.edge.streams(), 0, "{how}");
    }
}

#[test]
fn what_arrived_whole_can_be_read_after_the_connection_is_lost() {
    let pair = Pair::new();
    let (mut opened, _) = pair.event(b"", true);
    pair.isolate.respond(opened.stream, b"200", Bytes::from(vec![1; DATA_BYTES_MAX + 5]), true, true);
    pair.to_edge();
    let mut reply = opened.reply.try_recv().unwrap().unwrap();
    pair.edge.close();
    assert_eq!(data(&mut reply.body).len(), DATA_BYTES_MAX);
    assert_eq!(data(&mut reply.body).len(), 5);
    assert!(matches!(chunk(&mut reply.body), Poll::Ready(None)));
}

#[test]
fn a_lost_connection_tells_what_was_begun_from_what_was_not() {
    let pair = Pair::new();
    let (mut first, _) = pair.event(b"", true);
    let (mut second, _) = pair.event(b"", true);
    let (mut third, _) = pair.event(b"", true);
    pair.isolate.begun(first.stream);
    pair.isolate.log(second.stream, b"{}");
    pair.to_edge();
    pair.edge.close();
    let code = |opened: &mut Opened| opened.reply.try_recv().unwrap().unwrap_err().code;
    assert_eq!(code(&mut first), ResetCode::Lost);
    assert_eq!(code(&mut second), ResetCode::Lost, "what logs has begun");
    assert_eq!(code(&mut third), ResetCode::Refused);
    assert!(matches!(pair.edge.open(9, b"fetch", Bytes::new(), true), Err(OpenError::Closed)));
}

#[test]
fn an_upload_ends_when_the_event_is_over() {
    let pair = Pair::new();
    let (opened, inbound) = pair.event(b"", false);
    pair.isolate.respond(opened.stream, b"200", Bytes::new(), true, true);
    pair.to_edge();
    assert!(matches!(pair.edge.poll_ready(opened.stream, &mut context()), Poll::Ready(Err(_))));
    assert!(pair.edge.send(opened.stream, Chunk::Data(Bytes::from_static(b"late"))).is_err());
    // Bytes that were under way meanwhile are nobody's.
    let mut late = BytesMut::new();
    frame::encode(&mut late, opened.stream, Kind::Data, 0, &[b"late"]);
    give(&pair.isolate, late);
    drop(inbound);
    assert_eq!((pair.edge.streams(), pair.isolate.streams()), (0, 0));
}

#[test]
fn a_cancelled_event_is_told_and_goes_when_it_is_done() {
    let pair = Pair::new();
    let (opened, _) = pair.event(b"", true);
    pair.edge.reset(opened.stream, &Reset::new(ResetCode::Cancelled, "gone"));
    assert!(matches!(pair.to_isolate()[..], [Received::Reset { stream: 1, .. }]));
    assert_eq!(pair.edge.streams(), 1);
    pair.isolate.done(opened.stream, 0);
    assert_eq!(pair.isolate.streams(), 0);
    assert!(matches!(pair.to_edge()[..], [Received::Done { stream: 1, .. }]));
    assert_eq!(pair.edge.streams(), 0);
}

#[test]
fn messages_wait_for_credit_instead_of_breaking_the_connection() {
    let pair = Pair::new();
    let (mut opened, _) = pair.event(b"", false);
    pair.isolate.respond(opened.stream, b"101", Bytes::new(), false, false);
    let message = Bytes::from(vec![b'm'; 100_000]);
    for _ in 0..50 {
        pair.isolate.send(opened.stream, Chunk::Message { text: true, data: message.clone() }).unwrap();
    }
    assert!(pair.isolate.held_bytes() >= 5_000_000);
    pair.to_edge();
    assert!(pair.isolate.held_bytes() > 4_000_000);
    let mut reply = opened.reply.try_recv().unwrap().unwrap();
    for _ in 0..50 {
        loop {
            match chunk(&mut reply.body) {
                Poll::Ready(Some(Ok(Chunk::Message { data, .. }))) => break assert_eq!(data, message),
                Poll::Pending => {
                    pair.to_isolate();
                    pair.to_edge();
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(pair.isolate.held_bytes(), 0);
}

#[test]
fn a_message_may_be_larger_than_the_window() {
    let pair = Pair::new();
    let (mut opened, _) = pair.event(b"", false);
    pair.isolate.respond(opened.stream, b"101", Bytes::new(), false, false);
    let message = Bytes::from(vec![0; 4 * FRAME_BYTES_MAX]);
    pair.isolate.send(opened.stream, Chunk::Message { text: false, data: message.clone() }).unwrap();
    pair.to_edge();
    let mut reply = opened.reply.try_recv().unwrap().unwrap();
    assert!(matches!(chunk(&mut reply.body), Poll::Ready(Some(Ok(Chunk::Message { data, .. }))) if data == message));
    assert!(message.len() < MESSAGE_BYTES_MAX);
}

#[test]
fn a_head_that_fits_in_no_frame_fails_its_stream_alone() {
    let pair = Pair::new();
    let head = vec![b'h'; HEAD_BYTES_MAX + 1];
    assert!(matches!(pair.edge.open(1, &head, Bytes::new(), true), Err(OpenError::HeadTooLarge { .. })));
    let (mut opened, _) = pair.event(b"", true);
    pair.isolate.respond(opened.stream, &head, Bytes::new(), true, true);
    pair.to_edge();
    let reset = opened.reply.try_recv().unwrap().unwrap_err();
    assert_eq!((reset.code, reset.text), (ResetCode::HeadTooLarge, head.len().to_string()));
    assert_eq!((pair.edge.streams(), pair.isolate.streams()), (0, 0));
}

#[test]
fn nothing_is_kept_for_a_connection_that_is_gone() {
    let pair = Pair::new();
    let (opened, _) = pair.event(b"", false);
    pair.isolate.close();
    pair.isolate.respond(opened.stream, b"200", Bytes::from(vec![0; 1_000_000]), true, true);
    pair.isolate.log(0, b"{}");
    assert_eq!((pair.isolate.held_bytes(), pair.isolate.streams()), (0, 0));
}

// === hostile peers ===

fn raw(stream: u32, kind: Kind, flags: u8, payload: &[u8]) -> Frame {
    let mut bytes = BytesMut::new();
    frame::encode(&mut bytes, stream, kind, flags, &[payload]);
    frame::decode(&mut bytes, true).unwrap().unwrap()
}

#[test]
fn an_isolate_that_breaks_the_protocol_is_not_believed() {
    let head = [0; 4];
    let pair = Pair::new();
    let (opened, _) = pair.event(b"", false);
    let refuse = |frame: Frame| refusal(pair.edge.receive(frame));
    assert!(refuse(raw(3, Kind::Open, 0, &head)).contains("wrong side's id"));
    assert!(refuse(raw(0, Kind::Open, 0, &head)).contains("wrong side's id"));
    assert!(refuse(raw(0, Kind::Load, 0, &head)).contains("wrong side"));
    assert!(refuse(raw(opened.stream, Kind::Data, 0, b"x")).contains("before the head"));
    assert!(refuse(raw(opened.stream, Kind::Respond, 0, &[9, 0, 0, 0])).contains("head longer"));
    assert!(refuse(raw(opened.stream, Kind::Done, 0, b"short")).contains("wrong size"));
    assert!(refuse(raw(opened.stream, Kind::Credit, 0, b"short")).contains("wrong size"));
    assert!(pair.edge.receive(raw(2, Kind::Open, 0, &head)).is_ok());
    assert!(refuse(raw(2, Kind::Open, 0, &head)).contains("opened twice"));
}

#[test]
fn an_isolate_cannot_lift_the_edge_s_flow_control() {
    let pair = Pair::new();
    let (opened, _) = pair.event(b"", false);
    let credit = raw(opened.stream, Kind::Credit, 0, &u32::MAX.to_le_bytes());
    assert!(refusal(pair.edge.receive(credit)).contains("more credit"));
}

#[test]
fn an_isolate_cannot_fill_the_edge_s_memory_on_one_stream() {
    let pair = Pair::new();
    let _opened = pair.edge.receive(raw(2, Kind::Open, 0, &[0; 4])).unwrap();
    let piece = vec![0; FRAME_BYTES_MAX];
    let mut taken = 0;
    let why = loop {
        match pair.edge.receive(raw(2, Kind::Data, 0, &piece)) {
            Ok(_) => taken += piece.len(),
            Err(_) => break taken,
        }
    };
    assert!(why <= WINDOW_BYTES + FRAME_BYTES_MAX);
}

#[test]
fn frames_for_streams_that_are_over_mean_nothing() {
    let pair = Pair::new();
    for (kind, payload) in [
        (Kind::Data, &b"x"[..]),
        (Kind::Reset, b"\x01"),
        (Kind::Credit, &[1, 0, 0, 0]),
        (Kind::Done, &[0; 8]),
        (Kind::Begun, b""),
    ] {
        assert!(pair.edge.receive(raw(99, kind, 0, payload)).is_ok());
    }
    assert_eq!(pair.edge.streams(), 0);
}
