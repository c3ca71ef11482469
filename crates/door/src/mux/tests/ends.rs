//! Two ends of a door, without a socket between them.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use crate::frame::{self, FRAME_BYTES_MAX};
use crate::mux::{Mux, Received, Side};
use crate::stream::{Chunk, Inbound, Opened, Reset, ResetCode, WINDOW_BYTES};

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Carries what `from` has to say to `to`.
fn carry(from: &Arc<Mux>, to: &Arc<Mux>) -> Vec<Received> {
    let (mut bytes, mut received) = (BytesMut::new(), Vec::new());
    from.take_out(&mut bytes, &context());
    while let Some(frame) = frame::decode(&mut bytes, false).unwrap() {
        received.push(to.receive(frame).unwrap());
    }
    received
}

/// An edge and an isolate, and an event that the isolate has answered and whose body follows.
fn answered() -> (Arc<Mux>, Arc<Mux>, u32, Inbound) {
    let (edge, isolate) = (Mux::new(Side::Edge), Mux::new(Side::Isolate));
    let Opened { stream, mut reply } = edge.open(edge.reserve(), b"fetch", Bytes::new(), true).unwrap();
    carry(&edge, &isolate);
    isolate.respond(stream, b"200", Bytes::new(), false, false);
    carry(&isolate, &edge);
    let body = reply.try_recv().unwrap().unwrap().body;
    (edge, isolate, stream, body)
}

fn binary(bytes: usize) -> Chunk {
    Chunk::Message { text: false, data: vec![7; bytes].into() }
}

#[test]
fn a_message_larger_than_a_frame_arrives_whole() {
    let (edge, isolate, stream, mut body) = answered();
    let message = binary(3 * FRAME_BYTES_MAX + 1);
    isolate.send(stream, message.clone()).unwrap();
    carry(&isolate, &edge);
    assert!(matches!(body.poll_chunk(&mut context()), Poll::Ready(Some(Ok(chunk))) if chunk == message));
    carry(&edge, &isolate);
    let after = Chunk::Message { text: true, data: "after".into() };
    isolate.send(stream, after.clone()).unwrap();
    carry(&isolate, &edge);
    assert!(matches!(body.poll_chunk(&mut context()), Poll::Ready(Some(Ok(chunk))) if chunk == after));
}

#[test]
fn a_large_message_lends_no_credit() {
    let (edge, isolate, stream, mut body) = answered();
    isolate.send(stream, binary(4 * WINDOW_BYTES)).unwrap();
    assert!(isolate.poll_ready(stream, &mut context()).is_pending());
    carry(&isolate, &edge);
    assert!(matches!(body.poll_chunk(&mut context()), Poll::Ready(Some(Ok(_)))));
    carry(&edge, &isolate);
    // What was consumed is given back, and no more: a receiver that reads nothing is sent at most a window.
    let mut sent = 0;
    while isolate.poll_ready(stream, &mut context()).is_ready() {
        isolate.send(stream, binary(1000)).unwrap();
        sent += 1000;
    }
    assert!(sent <= WINDOW_BYTES, "{sent} bytes");
    carry(&isolate, &edge);
}

#[test]
fn empty_messages_use_up_the_window_too() {
    let (_edge, isolate, stream, _body) = answered();
    let mut sent = 0;
    while isolate.poll_ready(stream, &mut context()).is_ready() {
        isolate.send(stream, binary(0)).unwrap();
        sent += 1;
        assert!(sent <= WINDOW_BYTES);
    }
}

#[test]
fn a_body_that_fails_before_it_is_read_does_not_look_whole() {
    let (edge, isolate, stream, mut body) = answered();
    isolate.send(stream, Chunk::Data("half".into())).unwrap();
    isolate.reset(stream, &Reset::new(ResetCode::Failed, "boom"));
    isolate.done(stream, 0);
    carry(&isolate, &edge);
    assert!(matches!(body.poll_chunk(&mut context()), Poll::Ready(Some(Err(reset))) if reset.text == "boom"));
    drop(body);
    assert_eq!((edge.streams(), isolate.streams()), (0, 0));
}

#[test]
fn a_body_that_was_sent_whole_is_read_whole_whatever_follows() {
    let (edge, isolate, stream, mut body) = answered();
    isolate.send(stream, Chunk::Data("all".into())).unwrap();
    isolate.finish(stream);
    carry(&isolate, &edge);
    edge.close();
    assert!(matches!(body.poll_chunk(&mut context()), Poll::Ready(Some(Ok(Chunk::Data(data)))) if data == "all"));
    assert!(matches!(body.poll_chunk(&mut context()), Poll::Ready(None)));
    assert_eq!(edge.streams(), 0);
}

#[test]
fn a_reason_given_before_the_connection_ends_is_the_reason() {
    let (edge, isolate, stream, mut body) = answered();
    isolate.reset(stream, &Reset::new(ResetCode::Limit, "too much"));
    carry(&isolate, &edge);
    edge.close();
    assert!(matches!(body.poll_chunk(&mut context()), Poll::Ready(Some(Err(reset))) if reset.text == "too much"));
    assert_eq!(edge.streams(), 0);
}

#[test]
fn a_connection_that_ends_ends_its_bodies_with_an_error() {
    let (edge, isolate, stream, mut body) = answered();
    isolate.send(stream, Chunk::Data("half".into())).unwrap();
    carry(&isolate, &edge);
    edge.close();
    let mut last = body.poll_chunk(&mut context());
    if let Poll::Ready(Some(Ok(_))) = last {
        last = body.poll_chunk(&mut context());
    }
    assert!(matches!(last, Poll::Ready(Some(Err(reset))) if reset.code == ResetCode::Lost));
}

#[test]
fn dropping_a_cancelling_receiver_stops_the_sender() {
    let (edge, isolate, stream, body) = answered();
    drop(body.cancelling());
    carry(&edge, &isolate);
    assert!(isolate.send(stream, Chunk::Data("more".into())).is_err());
}

/// What the edge hears of an event that an isolate answers whole, and ends, as `act` says.
fn ended(act: impl Fn(&Arc<Mux>, u32)) -> Vec<u64> {
    let (edge, isolate) = (Mux::new(Side::Edge), Mux::new(Side::Isolate));
    let Opened { stream, mut reply } = edge.open(edge.reserve(), b"fetch", Bytes::new(), true).unwrap();
    carry(&edge, &isolate);
    act(&isolate, stream);
    let received = carry(&isolate, &edge);
    assert_eq!(reply.try_recv().unwrap().unwrap().body.complete().unwrap(), "answer");
    assert_eq!((edge.streams(), isolate.streams()), (0, 0));
    let cpu_us = |received: &Received| match received {
        Received::Done { cpu_us, .. } => Some(*cpu_us),
        _ => None,
    };
    received.iter().filter_map(cpu_us).collect()
}

#[test]
fn an_event_ends_once_and_its_cpu_time_is_told() {
    let answer = |isolate: &Arc<Mux>, stream, done| isolate.respond(stream, b"200", "answer".into(), true, done);
    // In the frame of the answer, as long as it fits there.
    for cpu_us in [0, 1, 65_535, 65_536, 30_000_000] {
        let told = ended(|isolate, stream| {
            answer(isolate, stream, true);
            isolate.spent(stream, cpu_us);
        });
        assert_eq!(told, [cpu_us]);
        let told = ended(|isolate, stream| {
            answer(isolate, stream, false);
            isolate.done(stream, cpu_us);
        });
        assert_eq!(told, [cpu_us]);
    }
}

#[test]
fn the_cpu_time_of_one_event_is_never_told_of_another() {
    let (edge, isolate) = (Mux::new(Side::Edge), Mux::new(Side::Isolate));
    let streams = [edge.reserve(), edge.reserve()];
    let _replies = streams.map(|stream| edge.open(stream, b"fetch", Bytes::new(), true).unwrap());
    carry(&edge, &isolate);
    for stream in streams {
        isolate.respond(stream, b"200", Bytes::new(), true, true);
    }
    // Only the last frame can still be written to.
    isolate.spent(streams[0], 7);
    isolate.spent(streams[1], 8);
    let told: Vec<(u32, u64)> = carry(&isolate, &edge)
        .iter()
        .filter_map(|received| match received {
            Received::Done { stream, cpu_us } => Some((*stream, *cpu_us)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(streams[0], 0), (streams[1], 8)]);
    // What has left is not written to.
    isolate.spent(streams[1], 9);
    assert!(carry(&isolate, &edge).is_empty());
}

#[test]
fn an_event_whose_answer_waits_for_credit_ends_after_it() {
    let (edge, isolate, stream, mut body) = answered();
    isolate.send(stream, Chunk::Data(vec![7; 2 * WINDOW_BYTES].into())).unwrap();
    isolate.finish(stream);
    isolate.done(stream, 5);
    let mut done = Vec::new();
    let mut bytes = 0;
    while done.is_empty() {
        done.extend(carry(&isolate, &edge).into_iter().filter(|received| matches!(received, Received::Done { .. })));
        while let Poll::Ready(Some(Ok(Chunk::Data(data)))) = body.poll_chunk(&mut context()) {
            bytes += data.len();
        }
        carry(&edge, &isolate);
    }
    assert!(matches!(done.as_slice(), [Received::Done { cpu_us: 5, .. }]));
    assert_eq!(bytes, 2 * WINDOW_BYTES);
}
