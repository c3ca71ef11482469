//! One running instance of a version: its host door, driven by a task of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;
use selvedge_door::{Driver, Event, Mux, Side};
use selvedge_model::{Failure, Ready};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, oneshot};

use crate::deployed::Deployed;
use crate::edge::Edge;
use crate::records::LogRecord;

/// What the subrequests of one event have used.
#[derive(Debug)]
pub struct EventUse {
    pub subrequests: u32,
    /// A permit for each request that may wait for its answer at once.
    pub connections: Arc<Semaphore>,
}

/// A running instance.
pub struct Instance {
    pub mux: Arc<Mux>,
    pub deployed: Arc<Deployed>,
    /// Events that are not over.
    in_flight: AtomicUsize,
    /// Takes no more events.
    retired: AtomicBool,
    /// Milliseconds after `epoch` when it last began an event.
    used_ms: AtomicU64,
    epoch: Instant,
    events: Mutex<FxHashMap<u32, EventUse>>,
    /// Request ids of live events, for their log records.
    ids: Mutex<FxHashMap<u32, String>>,
    closing: Mutex<Option<oneshot::Sender<()>>>,
}

impl Instance {
    /// Loads a version over `socket`. Resolves when it runs, or to why it does not.
    pub async fn start(
        edge: Arc<Edge>,
        deployed: Arc<Deployed>,
        socket: UnixStream,
        payload: &Bytes,
    ) -> Option<(Arc<Self>, Ready)> {
        let driver = Driver::new(socket, Side::Edge);
        let (close, closed) = oneshot::channel();
        let instance = Arc::new(Self {
            mux: Arc::clone(driver.mux()),
            deployed,
            in_flight: AtomicUsize::new(0),
            retired: AtomicBool::new(false),
            used_ms: AtomicU64::new(0),
            epoch: Instant::now(),
            events: Mutex::default(),
            ids: Mutex::default(),
            closing: Mutex::new(Some(close)),
        });
        instance.mux.load(payload);
        let (ready, started) = oneshot::channel();
        tokio::spawn(drive(edge, Arc::clone(&instance), driver, ready, closed));
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
        let used = Duration::from_millis(self.used_ms.load(Ordering::Relaxed));
        Some(self.epoch.elapsed().saturating_sub(used))
    }

    /// Counts an event in.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.used_ms.store(self.epoch.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Remembers the id of an event, for its records.
    pub fn name(&self, stream: u32, request_id: &str) {
        self.ids.lock().insert(stream, request_id.to_owned());
    }

    /// The id of a live event.
    pub fn request_id(&self, stream: u32) -> String {
        self.ids.lock().get(&stream).cloned().unwrap_or_default()
    }

    /// Counts an event out that never got a stream.
    pub fn unbegin(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn over(&self, stream: u32) {
        if stream % 2 == 1 {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
            self.ids.lock().remove(&stream);
            self.events.lock().remove(&stream);
            if !self.is_live() && self.in_flight() == 0 {
                self.close();
            }
        }
    }

    /// Acts on what the event's subrequests have used.
    pub fn with_use<T>(&self, event: u32, act: impl FnOnce(&mut EventUse) -> T) -> T {
        let connections = self.deployed.version.manifest.limits.connections as usize;
        let mut events = self.events.lock();
        act(events
            .entry(event)
            .or_insert_with(|| EventUse { subrequests: 0, connections: Arc::new(Semaphore::new(connections)) }))
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
async fn drive(
    edge: Arc<Edge>,
    instance: Arc<Instance>,
    mut driver: Driver,
    ready: oneshot::Sender<Ready>,
    mut closed: oneshot::Receiver<()>,
) {
    let mut ready = Some(ready);
    loop {
        let event = tokio::select! {
            biased;
            event = driver.event() => event,
            _ = &mut closed => break,
        };
        match event {
            Ok(Event::Done { stream, .. }) => instance.over(stream),
            Ok(Event::Opened { stream, head, body }) => {
                tokio::spawn(crate::host::answer(Arc::clone(&edge), Arc::clone(&instance), stream, head, body));
            }
            Ok(Event::Log { stream, record }) => log(&edge, &instance, stream, &record),
            Ok(Event::Ready(bytes)) => {
                if let (Some(ready), Ok(answer)) = (ready.take(), Ready::decode(bytes)) {
                    // Whoever started the instance may have gone; then it is dropped from there.
                    let _ = ready.send(answer);
                }
            }
            Ok(Event::Condemned(reason)) => {
                instance.retired.store(true, Ordering::Release);
                if let Ok(failure) = serde_json::from_slice::<Failure>(&reason) {
                    let failure = instance.deployed.map(failure);
                    tracing::debug!(?failure, "an isolate was ended by its limits");
                }
            }
            Ok(Event::Reset { .. } | Event::Load(_)) => {}
            Err(error) => {
                tracing::debug!(worker = instance.deployed.version.manifest.worker, %error, "instance ended");
                break;
            }
        }
    }
    instance.retired.store(true, Ordering::Release);
}

fn log(edge: &Edge, instance: &Instance, stream: u32, record: &[u8]) {
    #[derive(serde::Deserialize)]
    struct Record {
        level: String,
        message: Vec<String>,
    }
    let Ok(record) = serde_json::from_slice::<Record>(record) else {
        return;
    };
    let mapper = instance.deployed.source_mapper.as_ref();
    let message = record
        .message
        .into_iter()
        .map(|line| match mapper {
            Some(mapper) if line.contains("\n    at ") => mapper.stack(&line),
            _ => line,
        })
        .collect();
    edge.records().log(LogRecord {
        worker: instance.deployed.version.manifest.worker.clone(),
        request_id: instance.request_id(stream),
        level: record.level,
        message,
    });
}
