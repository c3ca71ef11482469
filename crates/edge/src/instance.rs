//! One running instance of a version: its host door, driven by a task of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use selvedge_door::{Driver, Event, Mux, Reset, ResetCode, Side};
use selvedge_model::{AccountId, Exception, Failure, LimitName, Ready, check_json};
use selvedge_runner::{Ordered, Stuck};
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use crate::calls::Calls;
use crate::deployed::Deployed;
use crate::edge::{Edge, RequestId};
use crate::pool::Pool;
use crate::records::LogRecord;
use crate::watch::Watch;

mod time;

/// What the subrequests of one event have used.
#[derive(Debug)]
pub struct EventUse {
    pub subrequests: u32,
    /// A permit for each request that may wait for its answer at once.
    pub connections: Arc<Semaphore>,
    /// The calls of workers that are made outside of any event.
    pub calls: Arc<Calls>,
}

/// An event that is not over.
struct Live {
    request_id: RequestId,
    /// When it was sent.
    began: Instant,
    /// By when it must have an answer; none once it has.
    deadline: Option<Instant>,
    /// Since when nothing of its answer is to come.
    over_since: Option<Instant>,
    /// What it left to `waitUntil` was cancelled.
    expired: bool,
    watch: Option<Arc<Watch>>,
    calls: Arc<Calls>,
}

/// A running instance.
pub struct Instance {
    pub mux: Arc<Mux>,
    pub deployed: Arc<Deployed>,
    /// The instances of its version.
    pub pool: Weak<Pool>,
    /// The number of its isolate.
    pub isolate: u64,
    /// The process that it is in.
    pub runner: u32,
    /// Events that are not over.
    in_flight: AtomicUsize,
    /// Takes no more events.
    retired: AtomicBool,
    /// Its limits ended it.
    condemned: AtomicBool,
    /// Events wait to begin behind code that does not give way.
    stalled: AtomicBool,
    /// An event that was cancelled may have left code behind, which runs for as long as there are others.
    left_behind: AtomicBool,
    /// What the isolate said that it holds, in bytes.
    memory_bytes: AtomicU64,
    /// Milliseconds after `epoch` when it last began an event; 0 if it never did.
    used_ms: AtomicU64,
    epoch: Instant,
    events: Mutex<FxHashMap<u32, EventUse>>,
    /// Live events: their request ids, and when they must have an answer.
    live: Mutex<FxHashMap<u32, Live>>,
    closing: Mutex<Option<oneshot::Sender<()>>>,
    /// Whoever waits for it to have started.
    ready: Mutex<Option<oneshot::Sender<Ready>>>,
}

impl Instance {
    /// Loads a version into an isolate. Resolves when it runs, or to why it does not.
    pub async fn start(
        edge: Arc<Edge>,
        pool: &Arc<Pool>,
        ordered: Ordered,
        payload: &Bytes,
    ) -> Option<(Arc<Self>, Ready)> {
        let driver = Driver::new(ordered.socket, Side::Edge);
        let (close, closed) = oneshot::channel();
        let (ready, started) = oneshot::channel();
        let instance = Arc::new(Self {
            mux: Arc::clone(driver.mux()),
            deployed: Arc::clone(&pool.deployed),
            pool: Arc::downgrade(pool),
            isolate: ordered.isolate,
            runner: ordered.runner,
            in_flight: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            condemned: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            left_behind: AtomicBool::new(false),
            memory_bytes: AtomicU64::new(0),
            used_ms: AtomicU64::new(0),
            epoch: Instant::now(),
            events: Mutex::default(),
            live: Mutex::default(),
            closing: Mutex::new(Some(close)),
            ready: Mutex::new(Some(ready)),
        });
        edge.note_instance(&instance);
        instance.mux.load(payload);
        tokio::spawn(drive(edge, Arc::clone(&instance), driver, closed));
        let ready = started.await.ok()?;
        Some((instance, ready))
    }

    /// Whether it takes events.
    pub fn is_live(&self) -> bool {
        !self.retired.load(Ordering::Acquire) && !self.mux.is_closed()
    }

    /// Events that are not over.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// How long since it last began an event; `None` while any is live.
    pub fn idle(&self) -> Option<Duration> {
        if self.in_flight() > 0 {
            return None;
        }
        Some(self.since_begun())
    }

    /// How long since it last began an event, or since it started.
    pub fn since_begun(&self) -> Duration {
        let used = Duration::from_millis(self.used_ms.load(Ordering::Relaxed));
        self.epoch.elapsed().saturating_sub(used)
    }

    /// Whose worker it is of.
    pub fn account(&self) -> &AccountId {
        &self.deployed.key.account
    }

    /// Whether it never began an event.
    pub fn is_unasked(&self) -> bool {
        self.used_ms.load(Ordering::Relaxed) == 0
    }

    /// Counts an event in.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.used_ms.store((self.epoch.elapsed().as_millis() as u64).max(1), Ordering::Relaxed);
    }

    /// Remembers an event: its id for its records, by when it must have an answer, who notes what it does, and the
    /// calls of workers that it is one of.
    pub fn name(
        &self,
        stream: u32,
        request_id: RequestId,
        deadline: Instant,
        watch: Option<Arc<Watch>>,
        calls: &Arc<Calls>,
    ) {
        let live = Live {
            request_id,
            began: Instant::now(),
            deadline: Some(deadline),
            over_since: None,
            expired: false,
            watch,
            calls: Arc::clone(calls),
        };
        self.live.lock().insert(stream, live);
    }

    /// The calls of workers that an event is one of.
    pub fn calls(&self, event: u32) -> Arc<Calls> {
        if let Some(live) = self.live.lock().get(&event) {
            return Arc::clone(&live.calls);
        }
        self.with_use(event, |used| Arc::clone(&used.calls))
    }

    /// What its isolate holds, in bytes, as far as it said.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Who notes what a live event does.
    pub fn watch(&self, stream: u32) -> Option<Arc<Watch>> {
        self.live.lock().get(&stream)?.watch.clone()
    }

    /// Its limits ended it: so ends what its events still did, having answered.
    fn fail_answered(&self, failure: &Failure) {
        let live = self.live.lock();
        let answered = live.values().filter(|live| live.deadline.is_none());
        for (request_id, watch) in answered.filter_map(|live| Some((live.request_id, live.watch.as_ref()?))) {
            watch.failed(&failure.clone().of_request(&request_id.to_string()));
        }
    }

    /// The event has its answer: its time is no longer counted.
    pub fn answered(&self, stream: u32) {
        if let Some(live) = self.live.lock().get_mut(&stream) {
            live.deadline = None;
        }
    }

    /// Its isolate exceeded a limit and cannot be stopped: tells those who wait for it, and closes its door. Events that
    /// it has not begun are not to blame, where one other is.
    pub fn give_up(&self, stuck: &Stuck) {
        self.condemned.store(true, Ordering::Release);
        self.retired.store(true, Ordering::Release);
        let failure = |request_id: &str| self.deployed.limit(request_id, stuck.limit, stuck.used, stuck.allowed);
        self.started(Ready { loaded: Err(failure("")), code_caches: Vec::new() });
        let live: Vec<(u32, RequestId)> =
            self.live.lock().iter().map(|(stream, live)| (*stream, live.request_id)).collect();
        for (stream, request_id) in live {
            if stuck.event == 0 || stuck.event == stream || self.mux.has_begun(stream) {
                let text = serde_json::to_string(&failure(&request_id.to_string())).unwrap_or_default();
                self.mux.reset(stream, &Reset::new(ResetCode::Limit, text));
            }
        }
        self.close();
    }

    /// It gives way to others: its account has more than its part of something. Those who wait for it learn why.
    pub fn end_for(&self, limit: LimitName, used: u64, allowed: u64) {
        self.fail_answered(&self.deployed.limit("", limit, used, allowed));
        self.give_up(&Stuck { isolate: self.isolate, event: 0, limit, used, allowed });
    }

    /// Its process ends: tells those who wait for it why, and closes its door.
    pub fn abandon(&self, reason: &str) {
        let live: Vec<u32> = self.live.lock().keys().copied().collect();
        for stream in live {
            self.mux.reset(stream, &Reset::new(ResetCode::Lost, reason.to_owned()));
        }
        self.close();
    }

    fn started(&self, ready: Ready) {
        if let Some(waiting) = self.ready.lock().take() {
            // Whoever started the instance may have gone; then it is dropped from there.
            let _ = waiting.send(ready);
        }
    }

    /// The id of a live event.
    pub fn request_id(&self, stream: u32) -> String {
        self.live.lock().get(&stream).map(|live| live.request_id.to_string()).unwrap_or_default()
    }

    /// Whether its limits ended it, rather than the end of its process.
    pub fn is_condemned(&self) -> bool {
        self.condemned.load(Ordering::Acquire)
    }

    /// Counts an event out that was never sent.
    pub fn forget(&self, stream: u32) {
        self.over(stream);
    }

    /// Counts an event out that never began: the instance is gone.
    pub fn unbegin(&self, stream: u32) {
        self.retired.store(true, Ordering::Release);
        self.over(stream);
    }

    fn over(&self, stream: u32) {
        self.over_after(stream, None);
    }

    /// The work of an event is over; it took that CPU time.
    fn over_after(&self, stream: u32, cpu_us: Option<u64>) {
        // An isolate may say so twice, or of what it never had.
        let live = self.live.lock().remove(&stream);
        if let Some(live) = live {
            if let (Some(watch), Some(cpu_us)) = (&live.watch, cpu_us) {
                watch.over(cpu_us);
            }
            let before = self.in_flight.fetch_sub(1, Ordering::Relaxed);
            let mut events = self.events.lock();
            events.remove(&stream);
            if before == 1 {
                // What was asked for outside of any event is counted while the isolate is busy.
                events.clear();
            }
            drop(events);
            if self.left_behind.load(Ordering::Acquire) && self.in_flight() == 0 {
                self.condemned.store(true, Ordering::Release);
                self.retired.store(true, Ordering::Release);
            }
            // Seen again: an event may have begun before it was retired, and that one is the last then.
            if !self.is_live() && self.in_flight() == 0 {
                self.close();
            }
        }
    }

    /// Acts on what the event's subrequests have used.
    pub fn with_use<T>(&self, event: u32, act: impl FnOnce(&mut EventUse) -> T) -> T {
        let connections = self.deployed.version.manifest.limits.connections as usize;
        // An isolate that makes events up counts as one that asks outside of any.
        let event = if self.live.lock().contains_key(&event) { event } else { 0 };
        let mut events = self.events.lock();
        act(events.entry(event).or_insert_with(|| EventUse {
            subrequests: 0,
            connections: Arc::new(Semaphore::new(connections)),
            calls: Arc::default(),
        }))
    }

    /// Takes no more events; ends when those it has are over.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        if self.in_flight() == 0 {
            self.close();
        }
    }

    /// Ends it now.
    pub fn close(&self) {
        self.retired.store(true, Ordering::Release);
        if let Some(close) = self.closing.lock().take() {
            // The driver may have ended on its own.
            let _ = close.send(());
        }
    }
}

/// Drives an instance's door until either side closes it.
async fn drive(edge: Arc<Edge>, instance: Arc<Instance>, mut driver: Driver, mut closed: oneshot::Receiver<()>) {
    loop {
        let event = tokio::select! {
            biased;
            event = driver.event() => event,
            _ = &mut closed => break,
        };
        match event {
            Ok(Event::Done { stream, cpu_us }) => instance.over_after(stream, Some(cpu_us)),
            Ok(Event::Opened { stream, head, body }) => {
                tokio::spawn(crate::host::answer(Arc::clone(&edge), Arc::clone(&instance), stream, head, body));
            }
            Ok(Event::Log { stream, record }) => log(&edge, &instance, stream, &record),
            Ok(Event::Ready(bytes)) => {
                if let Ok(ready) = Ready::decode(bytes) {
                    instance.started(ready);
                }
            }
            Ok(Event::Condemned(reason)) => {
                instance.condemned.store(true, Ordering::Release);
                instance.retired.store(true, Ordering::Release);
                if let Ok(failure) = serde_json::from_slice::<Failure>(&reason) {
                    let failure = instance.deployed.map(failure);
                    tracing::debug!(?failure, "an isolate was ended by its limits");
                    instance.fail_answered(&failure);
                }
            }
            Ok(Event::Memory { bytes }) => instance.memory_bytes.store(bytes, Ordering::Relaxed),
            Ok(Event::Reset { .. } | Event::Load(_) | Event::Expired { .. }) => {}
            Err(error) => {
                tracing::debug!(worker = %instance.deployed.key, %error, "instance ended");
                break;
            }
        }
    }
    instance.retired.store(true, Ordering::Release);
    // Whoever still waits for it to start learns that it will not.
    instance.ready.lock().take();
    instance.live.lock().clear();
    edge.forget_instance(instance.isolate);
}

fn log(edge: &Edge, instance: &Instance, stream: u32, record: &[u8]) {
    #[derive(serde::Deserialize)]
    struct Record {
        level: String,
        message: Vec<String>,
        /// The exception that this record is of, which no answer tells of.
        #[serde(default)]
        exception: Option<Exception>,
        /// Said in the place of what is left out.
        #[serde(default)]
        limit: Option<serde::de::IgnoredAny>,
        /// The channel of `node:diagnostics_channel` that the value was published to: it is no log then.
        #[serde(default)]
        channel: Option<String>,
    }
    let bytes = record.len();
    let values = || values_of(record);
    let Ok(record) = serde_json::from_slice::<Record>(record) else {
        return;
    };
    if let Some(channel) = record.channel {
        if let Some(watch) = instance.watch(stream).filter(|watch| watch.wants_logs()) {
            let message = values().into_iter().flatten().next().unwrap_or_default();
            watch.published(channel, message, bytes);
        }
        return;
    }
    let mapper = instance.deployed.source_mapper.as_ref();
    let mapped = |text: String| match mapper {
        Some(mapper) if text.contains("\n    at ") => mapper.stack(&text),
        _ => text,
    };
    let message: Vec<String> = record.message.into_iter().map(mapped).collect();
    if let Some(watch) = instance.watch(stream) {
        if record.limit.is_some() {
            watch.truncated();
        }
        match record.exception {
            Some(exception) => watch.threw(instance.deployed.map_exception(exception)),
            None if watch.wants_logs() => {
                let texts = || message.iter().map(|text| text.as_str().into()).collect();
                let of_value = |value| match value {
                    Value::String(text) => Value::String(mapped(text)),
                    value => value,
                };
                let values = values().map(|values| values.into_iter().map(of_value).collect());
                watch.log(&record.level, values.unwrap_or_else(texts), bytes);
            }
            None => {}
        }
    }
    edge.records().log(LogRecord {
        worker: instance.deployed.version.manifest.worker.clone(),
        request_id: instance.request_id(stream),
        level: record.level,
        message,
    });
}

/// What a record says besides its text, where it does. A worker wrote it: it may be what must not be read, and then the
/// text tells.
fn values_of(record: &[u8]) -> Option<Vec<Value>> {
    #[derive(serde::Deserialize)]
    struct Values {
        #[serde(default)]
        values: Option<Vec<Value>>,
    }
    check_json(record).ok()?;
    serde_json::from_slice::<Values>(record).ok()?.values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_record_are_read_where_they_may_be() {
        let values = |text: &str| values_of(format!(r#"{{"level":"log","message":["m"]{text}}}"#).as_bytes());
        assert_eq!(values(r#","values":[1,{"a":null}]"#), Some(vec![1.into(), serde_json::json!({ "a": null })]));
        assert_eq!(values(""), None);
        assert_eq!(values(r#","values":5"#), None);
        // serde_json would take it for a text of JSON, and read it on the same stack.
        assert_eq!(values(r#","values":[{"$serde_json::private::RawValue":"[[[]]]"}]"#), None);
        assert_eq!(values(&format!(r#","values":{}{}"#, "[".repeat(100), "]".repeat(100))), None);
    }
}
