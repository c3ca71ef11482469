//! Messages of a session over one stream of the host door, both ways: what RPC is made of.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use deno_core::{OpState, ResourceId, op2};
use deno_error::JsErrorBox;
use selvedge_door::Chunk;

use super::door::{InboundResource, door, error_of};

/// Sends a message if the receiver has room; otherwise says no, and `op_stream_writable` tells when.
#[op2(fast)]
pub fn op_session_send(state: &mut OpState, stream: u32, #[buffer] message: &[u8]) -> Result<bool, JsErrorBox> {
    let mux = &door(state).mux;
    match mux.poll_ready(stream, &mut Context::from_waker(Waker::noop())) {
        Poll::Pending => Ok(false),
        Poll::Ready(ready) => {
            ready.map_err(|reset| error_of(&reset))?;
            let chunk = Chunk::Message { text: false, data: Bytes::copy_from_slice(message) };
            mux.send(stream, chunk).map_err(|reset| error_of(&reset))?;
            Ok(true)
        }
    }
}

/// Sends a word to the edge, in order with the bytes of the stream.
#[op2(fast)]
pub fn op_stream_word(state: &mut OpState, stream: u32, #[string] word: String) -> Result<(), JsErrorBox> {
    let chunk = Chunk::Message { text: true, data: Bytes::from(word) };
    door(state).mux.send(stream, chunk).map_err(|reset| error_of(&reset))
}

/// Resolves to the next message; to an empty one at the end.
#[op2]
#[buffer]
pub async fn op_session_next(state: Rc<RefCell<OpState>>, #[smi] rid: ResourceId) -> Result<Vec<u8>, JsErrorBox> {
    let resource = state.borrow().resource_table.get::<InboundResource>(rid).map_err(JsErrorBox::from_err)?;
    loop {
        match resource.chunk().await? {
            None => return Ok(Vec::new()),
            Some(Chunk::Message { data, .. } | Chunk::Data(data)) if !data.is_empty() => return Ok(data.to_vec()),
            Some(_) => {}
        }
    }
}
