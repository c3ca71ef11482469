//! Memory outside V8's heap: the bytes of array buffers and blobs, counted against the isolate's limit as they are
//! allocated.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deno_core::v8;
use selvedge_runtime::Meter;

/// Alignment of every buffer: what the widest typed array and the C library's own allocator give.
const ALIGN_BYTES: usize = 16;

/// How many bytes the array buffers and blobs of one isolate hold, and may hold.
#[derive(Debug)]
pub struct Buffers {
    used: AtomicUsize,
    allowed: AtomicUsize,
    /// The size that was refused last, 0 if none was.
    refused: AtomicUsize,
}

impl Buffers {
    /// Counts against `allowed` bytes.
    pub fn new(allowed: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), allowed: AtomicUsize::new(allowed), refused: AtomicUsize::new(0) })
    }

    /// How many bytes there would be if the last refused buffer had been allowed.
    pub fn refused(&self) -> Option<usize> {
        match self.refused.load(Ordering::Relaxed) {
            0 => None,
            bytes => Some(bytes),
        }
    }

    /// Changes the limit.
    pub fn allow(&self, bytes: usize) {
        self.allowed.store(bytes, Ordering::Relaxed);
    }

    /// An allocator for an isolate that counts here.
    pub fn allocator(self: &Arc<Self>) -> v8::UniqueRef<v8::Allocator> {
        static VTABLE: v8::RustAllocatorVtable<Buffers> =
            v8::RustAllocatorVtable { allocate, allocate_uninitialized, free, drop: release };
        // SAFETY: the handle is a counted reference that `release` gives back, and the functions of the table are safe
        // to call from any thread: they touch atomics and the global allocator only.
        unsafe { v8::new_rust_allocator(Arc::into_raw(Arc::clone(self)), &VTABLE) }
    }
}

impl Meter for Buffers {
    fn take(&self, bytes: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let after = before.saturating_add(bytes);
        if after > self.allowed.load(Ordering::Relaxed) {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.refused.store(after, Ordering::Relaxed);
            return false;
        }
        true
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

fn layout(bytes: usize) -> Option<std::alloc::Layout> {
    std::alloc::Layout::from_size_align(bytes.max(1), ALIGN_BYTES).ok()
}

/// Allocates, or gives null, which V8 turns into a RangeError.
fn take(buffers: &Buffers, bytes: usize, zeroed: bool) -> *mut c_void {
    let Some(layout) = layout(bytes) else {
        return std::ptr::null_mut();
    };
    if !buffers.take(bytes) {
        return std::ptr::null_mut();
    }
    // SAFETY: the layout's size is never zero.
    let data = unsafe { if zeroed { std::alloc::alloc_zeroed(layout) } else { std::alloc::alloc(layout) } };
    if data.is_null() {
        buffers.give_back(bytes);
    }
    data.cast()
}

unsafe extern "C" fn allocate(buffers: &Buffers, bytes: usize) -> *mut c_void {
    take(buffers, bytes, true)
}

unsafe extern "C" fn allocate_uninitialized(buffers: &Buffers, bytes: usize) -> *mut c_void {
    take(buffers, bytes, false)
}

unsafe extern "C" fn free(buffers: &Buffers, data: *mut c_void, bytes: usize) {
    let (false, Some(layout)) = (data.is_null(), layout(bytes)) else {
        return;
    };
    // SAFETY: V8 gives back what `take` gave it, with the same size, hence with the same layout.
    unsafe { std::alloc::dealloc(data.cast(), layout) };
    buffers.give_back(bytes);
}

unsafe extern "C" fn release(buffers: *const Buffers) {
    // SAFETY: the pointer came from `Arc::into_raw` in `allocator`, and V8 drops an allocator once.
    drop(unsafe { Arc::from_raw(buffers) });
}
