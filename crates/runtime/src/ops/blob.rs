//! The bytes of blobs, which lie outside V8's heap: counted against the isolate's memory while they live.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use deno_core::{JsBuffer, OpState, op2};
use deno_error::JsErrorBox;
use deno_web::{BlobPart, BlobStoreTrait};
use uuid::Uuid;

/// Counts an isolate's memory outside of V8's heap.
pub trait Meter: Debug + Send + Sync {
    /// Counts bytes in, unless that would be more than the isolate may hold.
    fn take(&self, bytes: usize) -> bool;
    /// Counts bytes out.
    fn give_back(&self, bytes: usize);
}

/// A part of a blob. Slices of it keep it alive.
#[derive(Debug)]
struct Part {
    bytes: Vec<u8>,
    meter: Arc<dyn Meter>,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.meter.give_back(self.bytes.len());
    }
}

impl BlobPart for Part {
    fn read<'a, 'b>(&'a self) -> Pin<Box<dyn Future<Output = &'a [u8]> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(std::future::ready(self.bytes.as_slice()))
    }

    fn size(&self) -> usize {
        self.bytes.len()
    }
}

/// Keeps a part of a blob.
#[op2]
pub fn op_blob_part(state: &mut OpState, #[buffer] data: JsBuffer) -> Result<Uuid, JsErrorBox> {
    let meter = state.borrow::<Arc<dyn Meter>>();
    if !meter.take(data.len()) {
        return Err(JsErrorBox::range_error("Blob allocation failed: the worker's memory limit is reached."));
    }
    let part = Part { bytes: data.to_vec(), meter: Arc::clone(meter) };
    Ok(state.borrow::<Arc<dyn BlobStoreTrait>>().insert_part(Arc::new(part)))
}
