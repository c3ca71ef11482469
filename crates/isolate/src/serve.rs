//! The life of an isolate: load one version, answer its events, end.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use deno_core::PollEventLoopOptions;
use deno_core::error::{CoreError, CoreErrorKind, JsError};
use deno_error::JsErrorClass;
use selvedge_door::{DoorError, Driver, Event, Head, Inbound, Reset, ResetCode, Side};
use selvedge_model::{
    Exception, Failure, Format, LimitError, LimitName, Loaded, Manifest, Module, ModuleKind, Ready, Version,
};
use selvedge_runtime::{DoorState, InboundResource, ModuleBytes};

use crate::blank::Blank;
use crate::dispatch::{Body, Exports};
use crate::guard::Verdict;
use crate::loader;

/// The most events taken from the door before code that waits gets its turn.
const EVENTS_PER_TURN: usize = 64;
/// How long an isolate must have nothing to do before it gives memory back.
const REST_AFTER: Duration = Duration::from_secs(1);
/// A turn that took so much CPU time, in microseconds, may have taken much memory.
const MEMORY_CHECK_US: u64 = 1_000;
/// The edge is told of what the isolate holds when that has changed by so much since: 4 MiB.
const MEMORY_STEP_BYTES: u64 = 4 * 1024 * 1024;
/// After so many turns memory is looked at in any case.
const MEMORY_CHECK_TURNS: u32 = 256;
/// The most of a stack trace that is reported, in characters.
const STACK_CHARS_MAX: usize = 16 * 1024;
/// How much longer than its CPU time a start may take on the clock: for top-level await.
const STARTUP_WALL_FACTOR: u32 = 10;

/// An event whose work is not over.
struct Live {
    /// CPU time that counts towards the limit, in microseconds.
    cpu_us: u64,
    /// CPU time that no longer does: each message of a WebSocket has its own.
    renewed_us: u64,
    /// Holds the request id, which is read only when something goes wrong.
    head: Head,
    began: Instant,
}

struct Serving {
    /// Events that began and that the edge was not told of, with the door's effects before each.
    fresh: Vec<(u32, u64)>,
    /// The event whose turn it is, where it is one event's alone.
    current: Option<u32>,
    turns: u32,
    /// What the edge was last told that the isolate holds, in bytes.
    told_bytes: u64,
    /// When to look whether there was anything to do; none after memory was given back.
    rest: Option<Pin<Box<tokio::time::Sleep>>>,
    /// An event came since the last look.
    busy: bool,
    blank: Blank,
    driver: Driver,
    manifest: Manifest,
    live: rustc_hash::FxHashMap<u32, Live>,
}

/// Runs the version that arrives on `socket` until the edge closes it or the isolate must not be used again. `number`
/// is the edge's for the isolate.
pub async fn serve(mut blank: Blank, number: u64, socket: tokio::net::UnixStream) {
    blank.guard.set_isolate(number);
    let mut driver = Driver::new(socket, Side::Isolate);
    let version = match driver.event().await {
        Ok(Event::Load(bytes)) => match Version::decode(bytes) {
            Ok(version) => version,
            Err(error) => {
                tracing::error!(%error, "the edge sent something that is not a version");
                return;
            }
        },
        Ok(_) => {
            tracing::error!("the edge spoke before it sent a version");
            return;
        }
        // An edge that goes away before it uses the isolate is no error.
        Err(_) => return,
    };
    let guard = std::sync::Arc::clone(&blank.guard);
    let condemned = Box::new(move || {
        guard.check_buffers();
        guard.verdict().is_some()
    });
    let door = DoorState::new(std::sync::Arc::clone(driver.mux()), version.manifest.limits.log_bytes, condemned);
    blank.runtime.op_state().borrow_mut().put(Rc::clone(&door));
    let manifest = version.manifest.clone();
    let began = Instant::now();
    let loaded = load(&mut blank, version).await;
    door.start();
    tracing::debug!(worker = manifest.worker, elapsed = ?began.elapsed(), "loaded");
    let failed = loaded.is_err();
    let ready = Ready { loaded, code_caches: blank.loader.take_made() };
    match ready.encode() {
        Ok(bytes) => driver.mux().ready(&bytes),
        Err(error) => tracing::error!(%error, "the answer to a version cannot be written"),
    }
    let mut serving = Serving {
        fresh: Vec::new(),
        current: None,
        turns: 0,
        told_bytes: 0,
        rest: None,
        busy: true,
        blank,
        driver,
        manifest,
        live: Default::default(),
    };
    if failed {
        serving.linger().await;
        return;
    }
    match poll_fn(|cx| serving.poll(cx)).await {
        End::Closed => {}
        End::Condemned(verdict) => serving.condemned(verdict).await,
    }
    // The edge learns at once which events were not begun; giving back the memory may take a while.
    let Serving { blank, driver, .. } = serving;
    drop(driver);
    drop(blank);
}

// === loading ===

async fn load(blank: &mut Blank, version: Version) -> Result<Loaded, Failure> {
    let manifest = version.manifest;
    let limits = &manifest.limits;
    blank.guard.allow_memory(u64::from(limits.memory_mib) * 1024 * 1024);
    blank.clock.advance();
    let service_worker = manifest.format == Format::ServiceWorker;
    let compatibility = format!("{}\n{}", manifest.compatibility_date, manifest.compatibility_flags.join("\n"));
    let main = version.modules.iter().find(|module| module.name == manifest.main).cloned();
    let specifier = loader::specifier_of(&manifest.main).map_err(|error| exception("TypeError", &error.to_string()))?;
    let bindings = bindings(&manifest, &version.modules, &blank.bytes)?;
    blank
        .loader
        .fill(version.modules, &blank.bytes)
        .map_err(|error| exception("TypeError", &format!("a module's name is not a path: {error}")))?;
    let allowed_us = u64::from(limits.startup_ms) * 1_000;
    // Making the bindings compiles WebAssembly, and looking at exports runs getters: both are a part of the start.
    blank.guard.begin(0, 0, allowed_us, true);
    let unprepared = blank.handles.prepare(&mut blank.runtime, &bindings, service_worker, &compatibility);
    let result = if let Some(failure) = unprepared {
        Err(serde_json::from_str(&failure).unwrap_or_else(|_| exception("Error", &failure)))
    } else if service_worker || main.is_some_and(|module| module.kind == ModuleKind::Script) {
        run_script(blank, &specifier)
    } else {
        let wall = Duration::from_millis(u64::from(limits.startup_ms)) * STARTUP_WALL_FACTOR;
        match tokio::time::timeout(wall, run_modules(blank, &specifier)).await {
            Ok(result) => result,
            Err(_) => {
                let used = wall.as_millis() as u64;
                Err(limit_failure(&manifest, LimitName::StartupMs, used, u64::from(limits.startup_ms), None, ""))
            }
        }
    };
    let exports = if result.is_ok() { blank.handles.exports(&mut blank.runtime) } else { Exports::default() };
    let startup_us = blank.guard.end();
    blank.guard.check_buffers();
    if let Some(verdict) = blank.guard.verdict() {
        return Err(limit_failure(&manifest, verdict.limit, verdict.used, verdict.allowed, verdict.place, ""));
    }
    result?;
    Ok(Loaded { handlers: exports.handlers, named_handlers: exports.named_handlers, startup_us })
}

/// The bindings as the runtime reads them. Those whose value is a module of the version name its specifier; `bytes` has
/// it, whatever else the module is.
fn bindings(manifest: &Manifest, modules: &[Module], bytes: &ModuleBytes) -> Result<String, Failure> {
    let mut bindings = manifest.bindings.clone();
    for binding in &mut bindings {
        let kind = match binding.kind.as_str() {
            "wasm_module" => "wasm",
            "text_blob" => "text",
            "data_blob" => "data",
            _ => continue,
        };
        let Some(module) = modules.iter().find(|module| Some(&module.name) == binding.id.as_ref()) else {
            let part = binding.id.as_deref().unwrap_or_default();
            let message = format!("the binding \"{}\" is the module \"{part}\", which is missing", binding.name);
            return Err(exception("TypeError", &message));
        };
        let specifier =
            loader::specifier_of(&module.name).map_err(|error| exception("TypeError", &error.to_string()))?;
        bytes.insert(specifier.to_string(), kind, module.body.clone());
        binding.id = Some(specifier.to_string());
    }
    serde_json::to_string(&bindings).map_err(|error| exception("TypeError", &error.to_string()))
}

fn run_script(blank: &mut Blank, specifier: &deno_core::ModuleSpecifier) -> Result<(), Failure> {
    let Some(source) = blank.loader.script(specifier) else {
        return Err(exception("TypeError", "the main script is missing"));
    };
    blank.runtime.execute_script(specifier.to_string(), source).map_err(|error| js_failure(&error))?;
    blank.handles.start(&mut blank.runtime, None);
    Ok(())
}

async fn run_modules(blank: &mut Blank, specifier: &deno_core::ModuleSpecifier) -> Result<(), Failure> {
    let runtime = &mut blank.runtime;
    let id = runtime.load_main_es_module(specifier).await.map_err(|error| core_failure(&error))?;
    let evaluated = runtime.mod_evaluate(id);
    runtime
        .with_event_loop_promise(evaluated, PollEventLoopOptions::default())
        .await
        .map_err(|error| core_failure(&error))?;
    let namespace = runtime.get_module_namespace(id).map_err(|error| core_failure(&error))?;
    blank.handles.start(&mut blank.runtime, Some(namespace));
    Ok(())
}

fn exception(name: &str, message: &str) -> Failure {
    let exception = Exception { name: name.into(), message: message.into(), stack: format!("{name}: {message}") };
    Failure::Exception { exception, pass_through: false }
}

fn js_failure(error: &JsError) -> Failure {
    let exception = Exception {
        name: error.name.clone().unwrap_or_else(|| "Error".into()).chars().take(STACK_CHARS_MAX).collect(),
        message: error.message.as_ref().unwrap_or(&error.exception_message).chars().take(STACK_CHARS_MAX).collect(),
        stack: stack_of(error).chars().take(STACK_CHARS_MAX).collect(),
    };
    Failure::Exception { exception, pass_through: false }
}

/// The stack of an error. V8 gives some no places, syntax errors above all, and what is thrown need not be an error.
fn stack_of(error: &JsError) -> String {
    let mut stack = error.stack.clone().unwrap_or_else(|| error.exception_message.clone());
    if stack.contains("\n    at ") {
        return stack;
    }
    for frame in &error.frames {
        if let (Some(file), Some(line), Some(column)) = (&frame.file_name, frame.line_number, frame.column_number) {
            stack.push_str(&format!("\n    at {file}:{line}:{column}"));
        }
    }
    stack
}

fn core_failure(error: &CoreError) -> Failure {
    match error.as_kind() {
        CoreErrorKind::Js(error) => js_failure(error),
        _ => exception(&error.get_class(), &error.to_string()),
    }
}

fn limit_failure(
    manifest: &Manifest,
    limit: LimitName,
    used: u64,
    allowed: u64,
    place: Option<selvedge_model::Place>,
    request_id: &str,
) -> Failure {
    Failure::Limit {
        error: LimitError {
            limit,
            used,
            allowed,
            worker: manifest.worker.clone(),
            version: manifest.version.clone(),
            request_id: request_id.to_owned(),
            place,
        },
    }
}

// === serving ===

enum End {
    Closed,
    Condemned(Verdict),
}

impl Serving {
    fn cpu_allowed_us(&self) -> u64 {
        u64::from(self.manifest.limits.cpu_ms) * 1_000
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.blank.clock.advance();
        for taken in 0.. {
            match self.driver.poll_event(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(DoorError::Closed)) => return Poll::Ready(End::Closed),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "the host door failed");
                    return Poll::Ready(End::Closed);
                }
                Poll::Ready(Ok(event)) => {
                    self.take(event);
                    if let Some(verdict) = self.blank.guard.verdict() {
                        return Poll::Ready(End::Condemned(verdict));
                    }
                }
            }
            if taken + 1 == EVENTS_PER_TURN {
                cx.waker().wake_by_ref();
                break;
            }
        }
        // Code runs on behalf of events only: what an event left behind stands still until there is another.
        if !self.live.is_empty()
            && let Some(verdict) = self.turn(cx)
        {
            return Poll::Ready(End::Condemned(verdict));
        }
        self.tell_begun();
        if let Poll::Ready(Err(_)) = self.driver.poll_flush(cx) {
            return Poll::Ready(End::Closed);
        }
        self.rest(cx);
        Poll::Pending
    }

    /// Gives memory back once nothing has happened for a while.
    fn rest(&mut self, cx: &mut Context<'_>) {
        if self.busy && self.rest.is_none() {
            self.rest = Some(Box::pin(tokio::time::sleep(REST_AFTER)));
        }
        while let Some(rest) = &mut self.rest {
            if rest.as_mut().poll(cx).is_pending() {
                return;
            }
            if self.busy || !self.live.is_empty() {
                self.busy = false;
                rest.as_mut().reset(tokio::time::Instant::now() + REST_AFTER);
            } else {
                self.rest = None;
                self.blank.shrink();
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened { stream, head, body } => self.dispatch(stream, &head, body),
            Event::Reset { stream, .. } => {
                let Some(before) = self.live.get(&stream).map(|live| live.cpu_us) else {
                    return;
                };
                self.begin_turn(stream, before);
                self.blank.handles.cancel(&mut self.blank.runtime, stream, false);
                self.end_turn(stream);
            }
            Event::Expired { stream } => {
                let Some(before) = self.live.get(&stream).map(|live| live.cpu_us) else {
                    return;
                };
                self.begin_turn(stream, before);
                self.blank.handles.cancel(&mut self.blank.runtime, stream, true);
                self.end_turn(stream);
            }
            _ => {}
        }
    }

    fn dispatch(&mut self, stream: u32, head: &Head, mut body: Inbound) {
        let session = head.field(0).starts_with(b"rpc");
        let body = match body.complete() {
            None if session => {
                let first = body.take_first().to_vec();
                let state = self.blank.runtime.op_state();
                let rid = state.borrow_mut().resource_table.add(InboundResource::new(body));
                Body::Session(first, rid)
            }
            Some(bytes) if bytes.is_empty() => Body::None,
            Some(bytes) => Body::Whole(bytes.to_vec()),
            None => {
                let state = self.blank.runtime.op_state();
                let rid = state.borrow_mut().resource_table.add(InboundResource::new(body));
                Body::Resource(rid)
            }
        };
        self.busy = true;
        self.live.insert(stream, Live { cpu_us: 0, renewed_us: 0, head: head.clone(), began: Instant::now() });
        let effects = self.driver.mux().effects();
        self.begin_turn(stream, 0);
        self.blank.handles.dispatch(&mut self.blank.runtime, stream, head, body);
        self.end_turn(stream);
        if self.live.contains_key(&stream) {
            self.fresh.push((stream, effects));
        }
    }

    /// Tells of the events that began since the last time and are not over.
    fn tell_begun(&mut self) {
        for (stream, _) in self.fresh.drain(..) {
            if self.live.contains_key(&stream) {
                self.driver.mux().begun(stream);
            }
        }
    }

    /// Whether nothing that the event did has left the isolate: then it may as well begin elsewhere.
    fn is_undone(&self, stream: u32) -> bool {
        let now = self.driver.mux().effects();
        self.fresh.iter().any(|(fresh, effects)| *fresh == stream && *effects == now)
    }

    /// Begins a turn that is one event's alone, which has used so much CPU time before.
    fn begin_turn(&mut self, stream: u32, before_us: u64) {
        self.current = Some(stream);
        self.door().begin_turn(Some(stream));
        self.blank.guard.begin(stream, before_us, self.cpu_allowed_us(), false);
    }

    /// Ends a turn that was one event's alone.
    fn end_turn(&mut self, stream: u32) {
        let used = self.blank.guard.end();
        self.check_memory(used);
        if let Some(live) = self.live.get_mut(&stream) {
            live.cpu_us += used;
        }
        self.tell_ended();
    }

    /// Tells the edge of the events that ended in this turn, and forgets them.
    fn tell_ended(&mut self) {
        let door = self.door();
        door.tell_ended(|ended| self.live.remove(&ended).map_or(0, |live| live.renewed_us + live.cpu_us));
    }

    /// Looks whether the isolate holds more memory than it may: at each turn's end at what is counted as it is taken,
    /// now and then at all of it.
    fn check_memory(&mut self, turn_us: u64) {
        self.blank.guard.check_buffers();
        self.turns = self.turns.wrapping_add(1);
        if turn_us >= MEMORY_CHECK_US || self.turns.is_multiple_of(MEMORY_CHECK_TURNS) {
            self.blank.guard.check_memory(self.blank.runtime.v8_isolate(), self.driver.mux().held_bytes() as u64);
            let held = self.blank.guard.held_bytes();
            if held.abs_diff(self.told_bytes) >= MEMORY_STEP_BYTES {
                self.told_bytes = held;
                self.driver.mux().memory(held);
            }
        }
    }

    fn door(&self) -> Rc<DoorState> {
        Rc::clone(self.blank.runtime.op_state().borrow().borrow::<Rc<DoorState>>())
    }

    /// Lets code that waited go on.
    fn turn(&mut self, cx: &mut Context<'_>) -> Option<Verdict> {
        let before = self.live.values().map(|live| live.cpu_us).max().unwrap_or_default();
        self.current = None;
        self.blank.guard.begin(0, before, self.cpu_allowed_us(), false);
        let polled = self.blank.runtime.poll_event_loop(cx, PollEventLoopOptions::default());
        let used = self.blank.guard.end();
        self.door().take_renewed(|stream| {
            if let Some(live) = self.live.get_mut(&stream) {
                live.renewed_us += std::mem::take(&mut live.cpu_us);
            }
        });
        self.check_memory(used);
        self.charge(used);
        // Events that ended before a limit was exceeded are not among those that it ends.
        self.tell_ended();
        if let Some(verdict) = self.blank.guard.verdict() {
            return Some(verdict);
        }
        match polled {
            Poll::Ready(Ok(())) if !self.live.is_empty() => {
                self.blank.guard.begin(0, before, self.cpu_allowed_us(), false);
                self.blank.handles.hung(&mut self.blank.runtime);
                self.blank.guard.end();
                cx.waker().wake_by_ref();
            }
            Poll::Ready(Err(error)) => {
                report(&self.door(), self.blank.clock.now_ms(), &error);
                cx.waker().wake_by_ref();
            }
            _ => {}
        }
        None
    }

    /// Shares out the CPU time of a turn among the events that were live in it.
    fn charge(&mut self, used_us: u64) {
        let share = used_us / (self.live.len().max(1) as u64);
        let allowed = self.cpu_allowed_us();
        for live in self.live.values_mut() {
            live.cpu_us += share;
            if live.cpu_us > allowed {
                self.blank.guard.condemn(LimitName::CpuMs, live.cpu_us / 1_000, allowed / 1_000);
            }
        }
    }

    /// Tells every event why it ends, and the edge that this isolate takes no more.
    async fn condemned(&mut self, verdict: Verdict) {
        let mux = std::sync::Arc::clone(self.driver.mux());
        let failure = |request_id: &str| {
            let failure = limit_failure(
                &self.manifest,
                verdict.limit,
                verdict.used,
                verdict.allowed,
                verdict.place.clone(),
                request_id,
            );
            serde_json::to_string(&failure).unwrap_or_default()
        };
        mux.condemned(failure("").as_bytes());
        for (stream, live) in &self.live {
            // Only where the one that is to blame is known: it must not begin again elsewhere.
            if self.current.is_some_and(|current| current != *stream) && self.is_undone(*stream) {
                // The edge finds that it was not begun.
                continue;
            }
            tracing::debug!(elapsed = ?live.began.elapsed(), "an event ends with its isolate");
            mux.reset(*stream, &Reset::new(ResetCode::Limit, failure(&request_id_of(&live.head))));
            mux.done(*stream, live.renewed_us + live.cpu_us);
        }
        // The edge going away meanwhile is what is wanted anyway.
        let _ = poll_fn(|cx| self.driver.poll_flush(cx)).await;
    }

    /// Writes what waits and stays until the edge closes: it has the answer then.
    async fn linger(&mut self) {
        while self.driver.event().await.is_ok() {}
    }
}

fn report(door: &DoorState, now_ms: u64, error: &CoreError) {
    let Failure::Exception { exception, .. } = core_failure(error) else {
        return;
    };
    let record = serde_json::json!({
        "level": "error",
        "timestamp": now_ms,
        "message": [exception.stack],
        "during": "event loop",
        "exception": exception,
    });
    door.log(0, &record.to_string());
}

/// The request id stands in the meta, the fourth field of the head.
fn request_id_of(head: &Head) -> String {
    #[derive(serde::Deserialize)]
    struct Meta {
        #[serde(default)]
        id: String,
    }
    serde_json::from_slice::<Meta>(head.field(3)).map(|meta| meta.id).unwrap_or_default()
}
