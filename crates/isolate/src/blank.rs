//! An isolate that holds nothing of any tenant yet.

use std::ffi::c_void;
use std::rc::Rc;
use std::sync::Arc;

use deno_core::{JsRuntime, RuntimeOptions, SharedArrayBufferStore, v8};
use selvedge_runtime::{Clock, Meter, ModuleBytes};

use crate::dispatch::Handles;
use crate::guard::{Guard, near_heap_limit};
use crate::loader::{self, Loader};
use crate::memory::Buffers;
use crate::snapshot;

/// V8's flags: memory over peak speed where the two meet, and nothing that tenants could observe each other by.
const V8_FLAGS: &[&str] = &[
    "--no-harmony-shadow-realm",
    "--stack-size=900",
    // The young generation is small: sharing its collection out to other threads costs more than it gains, and the
    // time would be charged to nobody.
    "--no-parallel-scavenge",
    // With unrolling comes a pass that leaves the check for interrupts out of loops which it takes for short. It is
    // mistaken about some that never end: those could not be stopped.
    "--no-turboshaft-loop-unrolling",
    // V8 would collect each isolate some seconds after it was made, on threads that answer requests. An isolate at rest
    // is collected where that gives something back (`Blank::shrink`).
    "--no-memory-reducer",
    // 128 MiB for one WebAssembly memory.
    "--wasm-max-mem-pages=2048",
];

/// What the young generation may grow to where much of it survives: 24 MiB, three semi-spaces of 8. V8's default for a
/// heap of this size is a tenth of that, and a busy worker would be collected a thousand times a second.
const YOUNG_BYTES_MAX: usize = 24 * 1024 * 1024;

/// How much more an isolate must hold than when it last rested for a collection of everything, which takes some 10 ms.
const GROWTH_BYTES_MIN: usize = 1024 * 1024;

/// The smallest heap that an isolate starts with, in MiB.
const HEAP_MIB_MIN: u32 = 16;

/// Initialises V8. Must be called once, by the main thread, before any thread that will enter an isolate starts.
pub fn init() {
    let mut flags = vec!["selvedge".to_owned()];
    flags.extend(V8_FLAGS.iter().map(|flag| (*flag).to_owned()));
    let unknown = deno_core::v8_set_flags(flags);
    debug_assert_eq!(unknown.len(), 1, "V8 does not know the flags {unknown:?}");
    // V8 would seed itself from /dev/urandom, which a locked-down process cannot open.
    v8::V8::set_entropy_source(entropy);
    JsRuntime::init_platform(None);
}

/// Fills a buffer from the kernel's random numbers.
fn entropy(buffer: &mut [u8]) -> bool {
    // SAFETY: the pointer and the length are those of one slice that is borrowed for the call.
    let written = unsafe { libc::getrandom(buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    written == buffer.len() as isize
}

/// A started isolate without tenant code.
pub struct Blank {
    // The guard points at it.
    _context: Box<v8::Global<v8::Context>>,
    // Dropped before the guard, which V8's callbacks point at.
    pub(crate) runtime: JsRuntime,
    pub(crate) handles: Handles,
    pub(crate) loader: Rc<Loader>,
    pub(crate) clock: Clock,
    pub(crate) bytes: ModuleBytes,
    pub(crate) guard: Arc<Guard>,
    /// What it held when it had last given back what it could.
    rested_bytes: usize,
}

impl Blank {
    /// Starts an isolate from the base snapshot, on the calling thread, where it stays. It may use `memory_mib` until
    /// told otherwise.
    pub fn new(memory_mib: u32) -> Self {
        // With less than the base snapshot needs, V8 would end the process.
        let memory = memory_mib.max(HEAP_MIB_MIN) as usize * 1024 * 1024;
        let buffers = Buffers::new(memory);
        let params = v8::CreateParams::default()
            .heap_limits(0, memory)
            .set_max_young_generation_size_in_bytes(YOUNG_BYTES_MAX)
            .allow_atomics_wait(false)
            .array_buffer_allocator(buffers.allocator().make_shared());
        let loader = loader::shared();
        let mut runtime = JsRuntime::new(RuntimeOptions {
            startup_snapshot: Some(snapshot::BASE),
            // They are in the snapshot; those with a fast form get it when the first script outside the snapshot is loaded.
            skip_op_registration: true,
            residual_lazy_js_sources: snapshot::RESIDUAL_SCRIPTS,
            residual_lazy_esm_sources: snapshot::RESIDUAL_MODULES,
            extensions: selvedge_runtime::extensions(false),
            module_loader: Some(Rc::clone(&loader) as Rc<dyn deno_core::ModuleLoader>),
            create_params: Some(params),
            // Where array buffers are on their way within this isolate. No other has it: what leaves the isolate is
            // serialised as for storage, which this store has no part in.
            shared_array_buffer_store: Some(SharedArrayBufferStore::default()),
            ..Default::default()
        });
        let clock = Clock::default();
        let bytes = ModuleBytes::default();
        {
            let state = runtime.op_state();
            let mut state = state.borrow_mut();
            state.put(Arc::clone(&buffers) as Arc<dyn Meter>);
            state.put(clock.clone());
            state.put(bytes.clone());
        }
        let handles = Handles::take(&mut runtime);
        let handle = runtime.v8_isolate().thread_safe_handle();
        let guard = Guard::new(handle, buffers, memory as u64);
        let data = Arc::as_ptr(&guard).cast_mut().cast::<c_void>();
        runtime.v8_isolate().add_near_heap_limit_callback(near_heap_limit, data);
        let context = Box::new(runtime.main_context());
        guard.set_context(&context);
        let mut blank = Self { _context: context, runtime, handles, loader, clock, bytes, guard, rested_bytes: 0 };
        blank.rested_bytes = blank.held_bytes();
        blank
    }

    /// Gives back what memory can be given back, where that is worth the time: for an isolate that has nothing to do.
    pub fn shrink(&mut self) {
        if self.held_bytes() > self.rested_bytes + GROWTH_BYTES_MIN {
            self.runtime.v8_isolate().low_memory_notification();
            self.rested_bytes = self.held_bytes();
        }
    }

    /// What V8 holds for the isolate.
    fn held_bytes(&mut self) -> usize {
        let heap = self.runtime.v8_isolate().get_heap_statistics();
        heap.total_physical_size() + heap.external_memory()
    }

    /// V8's heap as a `.heapsnapshot`, for a browser's developer tools.
    pub fn heap_snapshot(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.runtime.v8_isolate().take_heap_snapshot(|chunk| {
            bytes.extend_from_slice(chunk);
            true
        });
        bytes
    }

    /// The sizes of V8's spaces, a line each: for whoever looks after memory.
    pub fn describe_heap(&mut self) -> String {
        let isolate = self.runtime.v8_isolate();
        let mut text = String::new();
        for index in 0.. {
            let Some(space) = isolate.get_heap_space_statistics(index) else {
                break;
            };
            text.push_str(&format!(
                "{:24} {:8} bytes used, {:8} held\n",
                space.space_name().to_string_lossy(),
                space.space_used_size(),
                space.physical_space_size()
            ));
        }
        let heap = isolate.get_heap_statistics();
        text.push_str(&format!(
            "{:24} {:8} bytes used, {:8} held, {} malloced, {} external\n",
            "all",
            heap.used_heap_size(),
            heap.total_physical_size(),
            heap.malloced_memory(),
            heap.external_memory()
        ));
        text
    }
}
