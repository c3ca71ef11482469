//! The isolate's end of the host door, as ops.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use deno_core::{
    AsyncRefCell, AsyncResult, BufView, CancelHandle, CancelTryFuture, JsBuffer, OpState, RcRef, Resource, ResourceId,
    op2,
};
use deno_error::JsErrorBox;
use selvedge_door::{Chunk, DATA_BYTES_MAX, Head, Inbound, Mux, Outbound, Reply, Reset, ResetCode};
use serde::Serialize;
use tokio::sync::oneshot;

/// The streams of one isolate, as its ops see them.
pub struct DoorState {
    pub mux: Arc<Mux>,
    replies: RefCell<HashMap<u32, oneshot::Receiver<Result<Reply, Reset>>>>,
    /// Events whose work ended since the host last asked, and whether their answer's frame said so.
    ended: RefCell<Vec<(u32, bool)>>,
    /// The event whose turn it is, where it is one event's alone.
    turn: Cell<Option<u32>>,
    /// Events that something new arrived for since the host last asked.
    renewed: RefCell<Vec<u32>>,
    /// Bytes logged by each live event.
    logged: RefCell<HashMap<u32, u32>>,
    log_bytes_max: u32,
    started: Cell<bool>,
    /// Whether the isolate was condemned: then its events are answered with the reason, whatever its code says.
    condemned: Box<dyn Fn() -> bool>,
}

impl DoorState {
    /// The state for the isolate behind `mux`, whose events may log `log_bytes_max` each.
    pub fn new(mux: Arc<Mux>, log_bytes_max: u32, condemned: Box<dyn Fn() -> bool>) -> Rc<Self> {
        Rc::new(Self {
            mux,
            replies: RefCell::default(),
            ended: RefCell::default(),
            turn: Cell::new(None),
            renewed: RefCell::default(),
            logged: RefCell::default(),
            log_bytes_max,
            started: Cell::new(false),
            condemned,
        })
    }

    /// The worker is loaded: from now on its code may ask things of the world.
    pub fn start(&self) {
        self.started.set(true);
    }

    /// Says whose turn of code begins.
    pub fn begin_turn(&self, event: Option<u32>) {
        self.turn.set(event);
    }

    /// Tells the edge of each event whose work ended in the turn of code that is over. `cpu_us` forgets an event and gives
    /// its CPU time, in microseconds.
    pub fn tell_ended(&self, mut cpu_us: impl FnMut(u32) -> u64) {
        self.turn.set(None);
        for (stream, answered) in self.ended.borrow_mut().drain(..) {
            let mut logged = self.logged.borrow_mut();
            logged.remove(&stream);
            // What is logged outside of events is counted between the ends of two.
            logged.remove(&0);
            drop(logged);
            let cpu_us = cpu_us(stream);
            if answered {
                self.mux.spent(stream, cpu_us);
            } else {
                self.mux.done(stream, cpu_us);
            }
        }
    }

    /// Gives each event that something new arrived for since the last call: its CPU time starts anew.
    pub fn take_renewed(&self, each: impl FnMut(u32)) {
        self.renewed.borrow_mut().drain(..).for_each(each);
    }

    /// Sends a log record, as long as its event has not logged more than it may.
    pub fn log(&self, stream: u32, record: &str) {
        let mut logged = self.logged.borrow_mut();
        let bytes = logged.entry(stream).or_default();
        if *bytes > self.log_bytes_max {
            return;
        }
        *bytes = bytes.saturating_add(record.len() as u32);
        if *bytes > self.log_bytes_max {
            let notice = format!(
                r#"{{"level":"warn","limit":"log_bytes","used":{bytes},"allowed":{allowed},"message":["log_bytes limit exceeded: this event logged more than {allowed} bytes; the rest is left out"]}}"#,
                allowed = self.log_bytes_max,
            );
            self.mux.log(stream, notice.as_bytes());
        } else {
            self.mux.log(stream, record.as_bytes());
        }
    }
}

pub(crate) fn door(state: &OpState) -> Rc<DoorState> {
    Rc::clone(state.borrow::<Rc<DoorState>>())
}

pub(crate) fn error_of(reset: &Reset) -> JsErrorBox {
    if reset.code == ResetCode::HeadTooLarge {
        let allowed = selvedge_door::HEAD_BYTES_MAX;
        return JsErrorBox::generic(format!("the answer's headers take {} bytes; {allowed} are allowed", reset.text));
    }
    JsErrorBox::generic(reset.text.clone())
}

/// A body or a WebSocket arriving at the isolate.
pub struct InboundResource {
    inbound: AsyncRefCell<Inbound>,
    /// What is left of a chunk that was larger than the read that took it.
    left: RefCell<Bytes>,
    cancel: Rc<CancelHandle>,
}

impl InboundResource {
    /// Wraps the receiving half of a stream.
    pub fn new(inbound: Inbound) -> Self {
        Self { inbound: AsyncRefCell::new(inbound), left: RefCell::default(), cancel: CancelHandle::new_rc() }
    }

    /// The next piece, whatever it is.
    pub(crate) async fn chunk(self: &Rc<Self>) -> Result<Option<Chunk>, JsErrorBox> {
        let cancel = Rc::clone(&self.cancel);
        let mut inbound = RcRef::map(self, |resource| &resource.inbound).borrow_mut().await;
        let next = async { Ok::<_, JsErrorBox>(inbound.chunk().await) }.try_or_cancel(cancel).await?;
        next.transpose().map_err(|reset| error_of(&reset))
    }

    fn take_left(&self, limit: usize) -> Option<Bytes> {
        let mut left = self.left.borrow_mut();
        let size = left.len().min(limit);
        (size > 0).then(|| left.split_to(size))
    }

    async fn read_some(self: Rc<Self>, limit: usize) -> Result<BufView, JsErrorBox> {
        let mut inbound = RcRef::map(&self, |resource| &resource.inbound).borrow_mut().await;
        if let Some(bytes) = self.take_left(limit) {
            return Ok(BufView::from(bytes));
        }
        loop {
            match inbound.chunk().await {
                None => return Ok(BufView::empty()),
                Some(Err(reset)) => return Err(error_of(&reset)),
                Some(Ok(Chunk::Data(data))) if !data.is_empty() => {
                    *self.left.borrow_mut() = data;
                    return Ok(BufView::from(self.take_left(limit).unwrap_or_default()));
                }
                Some(Ok(_)) => {}
            }
        }
    }
}

impl Resource for InboundResource {
    fn name(&self) -> Cow<'_, str> {
        "doorInbound".into()
    }

    fn read(self: Rc<Self>, limit: usize) -> AsyncResult<BufView> {
        let cancel = Rc::clone(&self.cancel);
        Box::pin(async move { self.read_some(limit).try_or_cancel(cancel).await })
    }

    fn close(self: Rc<Self>) {
        self.cancel.cancel();
    }

    fn cancel_read_ops(self: Rc<Self>) {
        self.cancel.cancel();
    }
}

fn respond(state: &OpState, stream: u32, head: &[u8], body: Bytes, done: bool) {
    let door = door(state);
    if (door.condemned)() {
        return;
    }
    // What fits in one frame arrives whole, and the edge can count it itself.
    let whole = body.len() <= DATA_BYTES_MAX;
    // The CPU time of a turn that is another's too is known only after it.
    let answered = done && whole && door.turn.get() == Some(stream);
    if whole {
        door.mux.respond(stream, head, body, true, answered);
    } else {
        door.mux.respond(stream, &with_length(head, body.len()), body, true, false);
    }
    if done {
        door.ended.borrow_mut().push((stream, answered));
    }
}

/// The head of an answer with the length of its body in the place of any other.
fn with_length(head: &[u8], bytes: usize) -> Vec<u8> {
    let head = Head(Bytes::copy_from_slice(head));
    let mut lines: Vec<&[u8]> = head.fields().take(3).collect();
    for (name, value) in head.headers(3) {
        if !name.eq_ignore_ascii_case(b"content-length") {
            lines.extend([name, value]);
        }
    }
    let length = bytes.to_string();
    lines.extend([&b"content-length"[..], length.as_bytes()]);
    lines.join(&b'\n')
}

/// Answers an event with text, whole.
#[op2(fast)]
pub fn op_respond_text(
    state: &mut OpState,
    stream: u32,
    #[string(onebyte)] head: Cow<'_, [u8]>,
    #[string] body: String,
    done: bool,
) {
    respond(state, stream, &head, Bytes::from(body), done);
}

/// Answers an event with bytes, whole.
#[op2(fast)]
pub fn op_respond_bytes(
    state: &mut OpState,
    stream: u32,
    #[string(onebyte)] head: Cow<'_, [u8]>,
    #[buffer(copy)] body: Bytes,
    done: bool,
) {
    respond(state, stream, &head, body, done);
}

/// Starts an answer whose body follows.
#[op2(fast)]
pub fn op_respond_start(state: &mut OpState, stream: u32, #[string(onebyte)] head: Cow<'_, [u8]>) {
    let door = door(state);
    if !(door.condemned)() {
        door.mux.respond(stream, &head, Bytes::new(), false, false);
    }
}

/// Says that an event's work is over. The edge is told at the end of the turn.
#[op2(fast)]
pub fn op_event_done(state: &mut OpState, stream: u32) {
    let door = door(state);
    if !(door.condemned)() {
        door.ended.borrow_mut().push((stream, false));
    }
}

/// Ends an event that has no answer: `report` is JSON that says why.
#[op2(fast)]
pub fn op_event_fail(state: &mut OpState, stream: u32, #[string] report: String) {
    let door = door(state);
    if !(door.condemned)() {
        door.mux.reset(stream, &Reset::new(ResetCode::Failed, report));
    }
}

/// Sends a log record (JSON) of the event on `stream`.
#[op2(fast)]
pub fn op_log(state: &mut OpState, stream: u32, #[string] record: &str) {
    // While the worker starts there is no door yet, and what it logs then has no event.
    if let Some(door) = state.try_borrow::<Rc<DoorState>>() {
        door.log(stream, record);
    }
}

/// Sends a piece of body if the receiver has room; otherwise says no, and [`op_stream_writable`] tells when.
#[op2(fast)]
pub fn op_stream_try_write(state: &mut OpState, stream: u32, #[buffer] data: &[u8]) -> Result<bool, JsErrorBox> {
    let mux = &door(state).mux;
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match mux.poll_ready(stream, &mut context) {
        std::task::Poll::Pending => Ok(false),
        std::task::Poll::Ready(ready) => {
            ready.map_err(|reset| error_of(&reset))?;
            mux.send_slice(stream, data).map_err(|reset| error_of(&reset))?;
            Ok(true)
        }
    }
}

/// Resolves when the receiver has room.
#[op2]
pub async fn op_stream_writable(state: Rc<RefCell<OpState>>, stream: u32) -> Result<(), JsErrorBox> {
    let mux = Arc::clone(&door(&state.borrow()).mux);
    std::future::poll_fn(|cx| mux.poll_ready(stream, cx)).await.map_err(|reset| error_of(&reset))
}

/// Says that nothing more will be sent on a stream.
#[op2(fast)]
pub fn op_stream_finish(state: &mut OpState, stream: u32) {
    door(state).mux.finish(stream);
}

/// Ends a stream: cancelled by its user, or failed with a report.
#[op2(fast)]
pub fn op_stream_reset(state: &mut OpState, stream: u32, cancelled: bool, #[string] text: String) {
    let code = if cancelled { ResetCode::Cancelled } else { ResetCode::Failed };
    door(state).mux.reset(stream, &Reset::new(code, text));
}

/// Sends all that arrives on resource `rid` to `stream`, without a turn of JavaScript for each piece.
#[op2]
pub async fn op_stream_pipe(
    state: Rc<RefCell<OpState>>,
    #[smi] rid: ResourceId,
    stream: u32,
) -> Result<(), JsErrorBox> {
    let (resource, mux) = {
        let mut state = state.borrow_mut();
        let resource = state.resource_table.take_any(rid).map_err(JsErrorBox::from_err)?;
        (resource, Arc::clone(&door(&state).mux))
    };
    let mut outbound = Outbound::new(Arc::clone(&mux), stream);
    loop {
        let read = Rc::clone(&resource).read(selvedge_door::DATA_BYTES_MAX);
        let view = tokio::select! {
            biased;
            view = read => view,
            // Whoever reads is gone: so that a source that is silent does not hold the event.
            reset = std::future::poll_fn(|cx| mux.poll_reset(stream, cx)) => return Err(error_of(&reset)),
        };
        let view = match view {
            Ok(view) => view,
            Err(error) => {
                outbound.fail(&Reset::new(ResetCode::Failed, error.to_string()));
                return Err(error);
            }
        };
        if view.is_empty() {
            outbound.finish();
            return Ok(());
        }
        let chunk = Chunk::Data(Bytes::copy_from_slice(&view));
        outbound.send(chunk).await.map_err(|reset| error_of(&reset))?;
    }
}

/// Opens a stream to the world. `body` is the whole body, or what there is of it when `more` says that the rest follows.
#[op2]
pub fn op_door_open(
    state: &mut OpState,
    #[string(onebyte)] head: Cow<'_, [u8]>,
    #[buffer(copy)] body: Option<Bytes>,
    more: bool,
) -> Result<u32, JsErrorBox> {
    let door = door(state);
    if !door.started.get() {
        return Err(JsErrorBox::generic(
            "Disallowed operation called within global scope: asynchronous I/O (fetch, connect, bindings) can only \
             be used while an event is handled, not while the worker starts.",
        ));
    }
    let opened = door
        .mux
        .open(door.mux.reserve(), &head, body.unwrap_or_default(), !more)
        .map_err(|error| JsErrorBox::generic(error.to_string()))?;
    door.replies.borrow_mut().insert(opened.stream, opened.reply);
    Ok(opened.stream)
}

/// The answer to a stream: its head block (Latin-1), and the body whole (`bytes`) or as a resource (`rid`).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JsReply {
    head: String,
    rid: Option<ResourceId>,
    bytes: Option<deno_core::ToJsBuffer>,
}

fn latin1(head: &Head) -> String {
    head.0.iter().map(|byte| char::from(*byte)).collect()
}

/// Resolves to the answer of a stream that this isolate opened.
#[op2]
#[serde]
pub async fn op_door_reply(state: Rc<RefCell<OpState>>, stream: u32) -> Result<JsReply, JsErrorBox> {
    let reply = door(&state.borrow()).replies.borrow_mut().remove(&stream);
    let Some(reply) = reply else {
        return Err(JsErrorBox::generic("the answer to this request was already taken"));
    };
    let reply = match reply.await {
        Ok(reply) => reply.map_err(|reset| error_of(&reset))?,
        Err(_) => return Err(error_of(&Reset::new(ResetCode::Lost, "the request was cancelled"))),
    };
    let head = latin1(&reply.head);
    if let Some(bytes) = reply.body.complete() {
        return Ok(JsReply { head, rid: None, bytes: Some(bytes.to_vec().into()) });
    }
    // Nobody who asked and lost interest wants to pay for the rest.
    let rid = state.borrow_mut().resource_table.add(InboundResource::new(reply.body.cancelling()));
    Ok(JsReply { head, rid: Some(rid), bytes: None })
}

/// Sends one WebSocket message on a stream if the receiver has room; otherwise says no, and [`op_stream_writable`] tells
/// when.
#[op2]
pub fn op_message_send(
    state: &mut OpState,
    stream: u32,
    #[string] text: Option<String>,
    #[buffer] data: Option<JsBuffer>,
) -> Result<bool, JsErrorBox> {
    let mux = Arc::clone(&door(state).mux);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match mux.poll_ready(stream, &mut context) {
        std::task::Poll::Pending => return Ok(false),
        std::task::Poll::Ready(ready) => ready.map_err(|reset| error_of(&reset))?,
    }
    let chunk = match (text, data) {
        (Some(text), _) => Chunk::Message { text: true, data: Bytes::from(text) },
        (None, data) => {
            let data = data.map(|data| Bytes::copy_from_slice(&data)).unwrap_or_default();
            Chunk::Message { text: false, data }
        }
    };
    mux.send(stream, chunk).map_err(|reset| error_of(&reset))?;
    Ok(true)
}

/// A message arrived for the event on `stream`: as on Workers, each has CPU time of its own.
#[op2(fast)]
pub fn op_event_renew(state: &mut OpState, stream: u32) {
    let door = door(state);
    let mut renewed = door.renewed.borrow_mut();
    if renewed.last() != Some(&stream) {
        renewed.push(stream);
    }
}

/// Sends a WebSocket close on a stream.
#[op2(fast)]
pub fn op_message_close(state: &mut OpState, stream: u32, code: u16, #[string] reason: String) {
    let mux = &door(state).mux;
    // A stream that is over needs no close.
    if mux.send(stream, Chunk::Close { code, reason }).is_ok() {
        mux.finish(stream);
    }
}

/// A WebSocket message as JavaScript gets it.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum JsMessage {
    Text { text: String },
    Binary { data: deno_core::ToJsBuffer },
    Close { code: u16, reason: String },
    Lost { reason: String },
}

/// Resolves to the next WebSocket message on resource `rid`.
#[op2]
#[serde]
pub async fn op_message_next(state: Rc<RefCell<OpState>>, #[smi] rid: ResourceId) -> Result<JsMessage, JsErrorBox> {
    let resource = state.borrow().resource_table.get::<InboundResource>(rid).map_err(JsErrorBox::from_err)?;
    let cancel = Rc::clone(&resource.cancel);
    let mut inbound = RcRef::map(&resource, |resource| &resource.inbound).borrow_mut().await;
    let next = async { Ok::<_, JsErrorBox>(inbound.chunk().await) }.try_or_cancel(cancel).await?;
    Ok(match next {
        None => JsMessage::Close { code: 1006, reason: String::new() },
        Some(Err(reset)) => JsMessage::Lost { reason: reset.text },
        Some(Ok(Chunk::Close { code, reason })) => JsMessage::Close { code, reason },
        Some(Ok(Chunk::Message { text: true, data } | Chunk::Data(data))) => {
            JsMessage::Text { text: String::from_utf8_lossy(&data).into_owned() }
        }
        Some(Ok(Chunk::Message { text: false, data })) => JsMessage::Binary { data: data.to_vec().into() },
    })
}
