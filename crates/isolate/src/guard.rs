//! Limits on running code: a watchdog thread that reads each isolate's CPU clock, and the callbacks by which V8 asks
//! for memory.
//!
//! CPU time is the thread's own clock, so a loaded machine does not make a tenant's code look slow. The isolate says
//! when a turn of its code begins and ends; the watchdog looks at those that are in a turn. A turn that went over is
//! interrupted: in the isolate's own thread the interrupt notes where the code is, then terminates it.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use deno_core::v8;
use selvedge_model::{LimitName, Place};
use serde::{Deserialize, Serialize};

use crate::memory::Buffers;

/// How often the watchdog looks while any isolate is in a turn: the most that a limit is overrun by, besides the time
/// V8 needs to reach a point where it can stop.
const WATCH_INTERVAL: Duration = Duration::from_millis(1);
/// How often it looks while none is.
const REST_INTERVAL: Duration = Duration::from_millis(10);
/// Looks after which an isolate that has not stopped at the interrupt is terminated without knowing where.
const PATIENCE_LOOKS: u64 = 50;
/// How much CPU time an isolate that was told to stop may still use before its whole process ends: some of V8's own
/// loops (filling an array that is a trillion elements long) look for no interrupt, and hold a processor for as long.
const STUCK_MAX_US: u64 = 20_000_000;
/// How much before it is said to be stuck, so that its neighbours can be moved to another process before that.
const STUCK_US: u64 = 4_000_000;
/// What a heap is lent beyond its limit, once, so that its code can be stopped.
const LOAN_BYTES: usize = 2 * 1024 * 1024 * 1024;
/// The most that it is lent.
const LOANS_BYTES_MAX: usize = 4 * LOAN_BYTES;
/// How often memory that V8 does not report on its own (WebAssembly memories) is looked at within a turn, in looks.
const MEMORY_LOOKS: u64 = 10;

/// How many frames down the worker's own code is looked for.
const FRAMES_MAX: usize = 64;

/// What a guard has to say of its isolate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub limit: LimitName,
    pub used: u64,
    pub allowed: u64,
    pub place: Option<Place>,
}

/// An isolate exceeded a limit and has not stopped when it was told to: it may never.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stuck {
    /// As the edge numbered it.
    pub isolate: u64,
    /// The event whose turn it is, 0 where it is not one event's alone.
    pub event: u32,
    pub limit: LimitName,
    pub used: u64,
    pub allowed: u64,
}

/// Watches over one isolate. Shared by its thread, the watchdog and V8's callbacks.
#[derive(Debug)]
pub struct Guard {
    handle: v8::IsolateHandle,
    /// As the edge numbers it; 0 while it is blank.
    isolate: AtomicU64,
    clock: libc::clockid_t,
    buffers: Arc<Buffers>,
    memory_bytes: AtomicU64,
    /// What the isolate held when that was last looked at, in bytes.
    held_bytes: AtomicU64,
    /// The event whose turn it is, 0 if it is not one event's alone.
    turn_event: AtomicU32,
    /// The thread's CPU time when the turn began, in microseconds; 0 between turns.
    turn_start_us: AtomicU64,
    turn_allowed_us: AtomicU64,
    /// What the turn's events had used before it, in microseconds.
    turn_before_us: AtomicU64,
    startup: AtomicBool,
    /// The isolate's context, for its own thread.
    context: AtomicPtr<v8::Global<v8::Context>>,
    looks: AtomicU64,
    /// 0: nothing; 1: an interrupt was asked for; 2: the verdict stands.
    state: AtomicU8,
    /// The thread's CPU time when the isolate was told to stop, in microseconds; 0 before.
    condemned_us: AtomicU64,
    /// It was said to be stuck.
    stuck: AtomicBool,
    verdict: Mutex<Option<Verdict>>,
}

/// The CPU time of a thread's clock in microseconds.
fn cpu_us(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec on this stack; an unknown clock makes the call fail and leaves it zero.
    unsafe { libc::clock_gettime(clock, &mut time) };
    (time.tv_sec as u64) * 1_000_000 + (time.tv_nsec as u64) / 1_000
}

/// The CPU clock of the calling thread, in a form that other threads can read.
fn own_clock() -> libc::clockid_t {
    let mut clock = libc::CLOCK_THREAD_CPUTIME_ID;
    // SAFETY: the pointer is to a clock id on this stack, and the thread is this one, hence alive.
    unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
    clock
}

impl Guard {
    /// Guards the isolate behind `handle`, whose thread is the calling one.
    pub fn new(handle: v8::IsolateHandle, buffers: Arc<Buffers>, memory_bytes: u64) -> Arc<Self> {
        let guard = Arc::new(Self {
            handle,
            isolate: AtomicU64::new(0),
            clock: own_clock(),
            buffers,
            memory_bytes: AtomicU64::new(memory_bytes),
            held_bytes: AtomicU64::new(0),
            turn_event: AtomicU32::new(0),
            turn_start_us: AtomicU64::new(0),
            turn_allowed_us: AtomicU64::new(u64::MAX),
            turn_before_us: AtomicU64::new(0),
            startup: AtomicBool::new(false),
            context: AtomicPtr::new(std::ptr::null_mut()),
            looks: AtomicU64::new(0),
            state: AtomicU8::new(0),
            condemned_us: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            verdict: Mutex::new(None),
        });
        let mut guards = guards().lock().unwrap_or_else(PoisonError::into_inner);
        guards.retain(|guard| guard.strong_count() > 0);
        guards.push(Arc::downgrade(&guard));
        guard
    }

    /// Tells how the edge numbers the isolate.
    pub fn set_isolate(&self, number: u64) {
        self.isolate.store(number, Ordering::Relaxed);
    }

    /// Tells of the context that code runs in. The handle must stay where it is for as long as code runs.
    pub fn set_context(&self, context: &v8::Global<v8::Context>) {
        self.context.store(std::ptr::from_ref(context).cast_mut(), Ordering::Release);
    }

    /// A turn of code begins: of one event, or of all that are live where `event` is 0. `before_us` is what was used
    /// already, `allowed_us` what may be used in all.
    pub fn begin(&self, event: u32, before_us: u64, allowed_us: u64, startup: bool) {
        self.turn_event.store(event, Ordering::Relaxed);
        self.turn_before_us.store(before_us, Ordering::Relaxed);
        self.turn_allowed_us.store(allowed_us, Ordering::Relaxed);
        self.startup.store(startup, Ordering::Relaxed);
        self.looks.store(0, Ordering::Relaxed);
        self.turn_start_us.store(cpu_us(libc::CLOCK_THREAD_CPUTIME_ID).max(1), Ordering::Release);
    }

    /// The turn is over; says how much CPU time it took, in microseconds.
    pub fn end(&self) -> u64 {
        let start = self.turn_start_us.swap(0, Ordering::AcqRel);
        if start == 0 {
            return 0;
        }
        cpu_us(libc::CLOCK_THREAD_CPUTIME_ID).saturating_sub(start)
    }

    /// Why the isolate must not be used again, if so.
    pub fn verdict(&self) -> Option<Verdict> {
        if self.state.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The isolate used more than it may: stop it, unless it is being stopped.
    pub fn condemn(&self, limit: LimitName, used: u64, allowed: u64) {
        if self.state.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Verdict { limit, used, allowed, place: None });
        self.condemned_us.store(cpu_us(self.clock).max(1), Ordering::Relaxed);
        self.looks.store(0, Ordering::Relaxed);
        let data = std::ptr::from_ref(self).cast_mut().cast::<c_void>();
        self.handle.request_interrupt(stop_here, data);
    }

    /// The memory limit in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Changes the memory limit: before tenant code runs.
    pub fn allow_memory(&self, bytes: u64) {
        self.memory_bytes.store(bytes, Ordering::Relaxed);
        self.buffers.allow(bytes as usize);
    }

    /// A refused array buffer is a memory limit exceeded, even where the code caught the RangeError.
    pub fn check_buffers(&self) {
        if let Some(bytes) = self.buffers.refused() {
            self.condemn(LimitName::MemoryBytes, bytes as u64, self.memory_bytes());
        }
    }

    /// Condemns an isolate that holds more than it may, `held` bytes outside of V8 included. Runs in its thread.
    pub fn check_memory(&self, isolate: &mut v8::Isolate, held: u64) {
        let allowed = self.memory_bytes();
        let mut used = in_use(isolate) + held;
        self.held_bytes.store(used, Ordering::Relaxed);
        if used <= allowed {
            return;
        }
        // Some of it may be garbage.
        isolate.low_memory_notification();
        used = in_use(isolate) + held;
        self.held_bytes.store(used, Ordering::Relaxed);
        if used > allowed {
            self.condemn(LimitName::MemoryBytes, used, allowed);
        }
    }

    /// What the isolate held when that was last looked at, in bytes.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    fn look(&self, report: &dyn Fn(&Stuck)) -> bool {
        let start = self.turn_start_us.load(Ordering::Acquire);
        if start == 0 {
            return false;
        }
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        match self.state.load(Ordering::Acquire) {
            0 => self.look_at_turn(start, looks),
            state => self.look_at_condemned(state, looks, report),
        }
        true
    }

    /// The isolate was told to stop and has not.
    fn look_at_condemned(&self, state: u8, looks: u64, report: &dyn Fn(&Stuck)) {
        if state == 1 && looks > PATIENCE_LOOKS {
            self.handle.terminate_execution();
        }
        let since = self.condemned_us.load(Ordering::Relaxed);
        let used = if since == 0 { 0 } else { cpu_us(self.clock).saturating_sub(since) };
        if used > STUCK_US
            && !self.stuck.swap(true, Ordering::Relaxed)
            && let Some(verdict) = self.verdict()
        {
            report(&Stuck {
                isolate: self.isolate.load(Ordering::Relaxed),
                event: self.turn_event.load(Ordering::Relaxed),
                limit: verdict.limit,
                used: verdict.used,
                allowed: verdict.allowed,
            });
        }
        if used > STUCK_MAX_US {
            tracing::error!("code that exceeded a limit cannot be stopped: this runner ends, and another takes over");
            std::process::abort();
        }
    }

    fn look_at_turn(&self, start: u64, looks: u64) {
        self.check_buffers();
        let used = cpu_us(self.clock).saturating_sub(start) + self.turn_before_us.load(Ordering::Relaxed);
        let allowed = self.turn_allowed_us.load(Ordering::Relaxed);
        // A turn may have ended, and another begun, since its start was read: then the figures do not belong together.
        if used > allowed && self.turn_start_us.load(Ordering::Acquire) == start {
            let limit = if self.startup.load(Ordering::Relaxed) { LimitName::StartupMs } else { LimitName::CpuMs };
            self.condemn(limit, used / 1_000, allowed / 1_000);
        } else if looks % MEMORY_LOOKS == MEMORY_LOOKS - 1 {
            let data = std::ptr::from_ref(self).cast_mut().cast::<c_void>();
            self.handle.request_interrupt(look_at_memory, data);
        }
    }
}

/// Runs in the isolate's thread, at a point where its code can be stopped.
unsafe extern "C" fn stop_here(isolate: v8::UnsafeRawIsolatePtr, data: *mut c_void) {
    // SAFETY: the guard outlives its isolate (`Blank` drops the isolate first), and this runs in the isolate's thread.
    let guard = unsafe { &*data.cast::<Guard>() };
    // SAFETY: V8 calls this with the isolate that it is running in this thread.
    let mut isolate = unsafe { v8::Isolate::from_raw_isolate_ptr(isolate) };
    let place = place_of(guard, &mut isolate);
    if let Some(verdict) = guard.verdict.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        verdict.place = place;
    }
    guard.state.store(2, Ordering::Release);
    guard.handle.terminate_execution();
}

unsafe extern "C" fn look_at_memory(isolate: v8::UnsafeRawIsolatePtr, data: *mut c_void) {
    // SAFETY: as in `stop_here`.
    let guard = unsafe { &*data.cast::<Guard>() };
    // SAFETY: as in `stop_here`.
    let mut isolate = unsafe { v8::Isolate::from_raw_isolate_ptr(isolate) };
    guard.check_memory(&mut isolate, 0);
}

/// What an isolate uses: V8's heap, and array buffers and WebAssembly memories beside it.
fn in_use(isolate: &mut v8::Isolate) -> u64 {
    let external = isolate.adjust_amount_of_external_allocated_memory(0);
    isolate.get_heap_statistics().used_heap_size() as u64 + u64::try_from(external).unwrap_or_default()
}

/// Where the running code is: the innermost frame that is the worker's own.
fn place_of(guard: &Guard, isolate: &mut v8::Isolate) -> Option<Place> {
    // SAFETY: `Blank` sets the pointer to a handle that it drops after the last turn of its code.
    let context = unsafe { guard.context.load(Ordering::Acquire).as_ref() }?;
    v8::scope!(scope, isolate);
    let context = v8::Local::new(scope, context);
    let scope = &mut v8::ContextScope::new(scope, context);
    let trace = v8::StackTrace::current_stack_trace(scope, FRAMES_MAX)?;
    (0..trace.get_frame_count()).find_map(|index| {
        let frame = trace.get_frame(scope, index)?;
        let file = frame.get_script_name(scope)?.to_rust_string_lossy(scope);
        // The worker's own modules, rather than the runtime's scripts or WebAssembly, whose places say little.
        if !file.starts_with(crate::loader::ROOT) {
            return None;
        }
        let function = frame.get_function_name(scope).map(|name| name.to_rust_string_lossy(scope));
        Some(Place {
            file: crate::loader::module_name(&file).to_owned(),
            line: frame.get_line_number() as u32,
            column: frame.get_column() as u32,
            function: function.filter(|name| !name.is_empty()),
        })
    })
}

/// V8's heap comes near its limit: stop the code, and lend what it takes to get there.
pub unsafe extern "C" fn near_heap_limit(data: *mut c_void, current: usize, _initial: usize) -> usize {
    // SAFETY: as in `stop_here`; V8 calls this in the isolate's thread.
    let guard = unsafe { &*data.cast::<Guard>() };
    // V8 asks because what it is about to allocate would not fit: at least the limit is used.
    guard.condemn(LimitName::MemoryBytes, (current as u64).max(guard.memory_bytes()), guard.memory_bytes());
    // V8 aborts the process if the limit does not grow, or not by what it is about to allocate: one string or array
    // may be a gigabyte. The loan ends with the isolate; code that cannot be stopped ends the process.
    if current as u64 > guard.memory_bytes() + LOANS_BYTES_MAX as u64 {
        return current;
    }
    current + LOAN_BYTES
}

fn guards() -> &'static Mutex<Vec<Weak<Guard>>> {
    static GUARDS: OnceLock<Mutex<Vec<Weak<Guard>>>> = OnceLock::new();
    GUARDS.get_or_init(Mutex::default)
}

/// The watchdog. Runs for the life of the process, on a thread of its own; reports each isolate that cannot be stopped.
pub fn watch(report: impl Fn(&Stuck)) -> ! {
    loop {
        let busy = {
            let guards = guards().lock().unwrap_or_else(PoisonError::into_inner);
            // Each is looked at, also when one before it was busy.
            guards.iter().filter_map(Weak::upgrade).filter(|guard| guard.look(&report)).count() > 0
        };
        std::thread::sleep(if busy { WATCH_INTERVAL } else { REST_INTERVAL });
    }
}
