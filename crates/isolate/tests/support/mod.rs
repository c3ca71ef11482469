//! Isolates of their own, and the edge's end of their host doors.
#![allow(dead_code, reason = "each test crate uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use selvedge_door::{Chunk, Driver, Event, Head, HeadBuilder, Inbound, Reset, Side};
use selvedge_isolate::Blank;
use selvedge_model::{Binding, Failure, Format, Limits, Loaded, Manifest, Module, ModuleKind, Ready, Version};
use serde_json::Value;

/// How long anything may take on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts an isolate behind a socket. V8 wants its threads to come from the one that initialised it.
fn isolate(socket: UnixStream) {
    static START: OnceLock<Mutex<mpsc::Sender<UnixStream>>> = OnceLock::new();
    let start = START.get_or_init(|| {
        let (start, started) = mpsc::channel::<UnixStream>();
        thread::spawn(move || {
            selvedge_isolate::init();
            thread::spawn(|| selvedge_isolate::watch(|_| {}));
            for socket in started {
                thread::Builder::new().stack_size(4 * 1024 * 1024).spawn(move || run(socket)).unwrap();
            }
        });
        Mutex::new(start)
    });
    start.lock().unwrap().send(socket).unwrap();
}

fn run(socket: UnixStream) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _guard = runtime.enter();
    let blank = Blank::new(128);
    runtime.block_on(async {
        selvedge_isolate::serve(blank, 1, tokio::net::UnixStream::from_std(socket).unwrap()).await;
    });
}

/// A version of ES modules, the first of which is evaluated.
pub fn version(modules: &[(&str, ModuleKind, &[u8])], bindings: Vec<Binding>) -> Version {
    let modules: Vec<Module> = modules
        .iter()
        .map(|(name, kind, body)| Module {
            name: (*name).into(),
            kind: *kind,
            body: Bytes::copy_from_slice(body),
            code_cache: None,
        })
        .collect();
    let main = modules.first().unwrap();
    let format = if main.kind == ModuleKind::Script { Format::ServiceWorker } else { Format::Modules };
    Version {
        manifest: Manifest {
            worker: "worker".into(),
            version: "version".into(),
            format,
            main: main.name.clone(),
            compatibility_date: "2026-11-01".into(),
            compatibility_flags: vec![],
            bindings,
            limits: Limits::default(),
        },
        modules,
    }
}

/// A version of one ES module.
pub fn script(source: &str) -> Version {
    version(&[("index.js", ModuleKind::EsModule, source.as_bytes())], vec![])
}

/// What became of an event.
#[derive(Debug)]
pub struct Ended {
    /// Status, meta and body; or why there is no answer.
    pub answer: Result<Answer, Reset>,
    pub logs: Vec<Value>,
    pub cpu_us: u64,
}

#[derive(Debug)]
pub struct Answer {
    pub status: String,
    pub meta: String,
    pub body: String,
}

impl Ended {
    pub fn answer(&self) -> &Answer {
        self.answer.as_ref().unwrap_or_else(|reset| panic!("{reset:?}"))
    }

    /// The body of the answer, which is JSON.
    pub fn json(&self) -> Value {
        let body = &self.answer().body;
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"))
    }

    pub fn meta(&self) -> Value {
        serde_json::from_str(&self.answer().meta).unwrap()
    }

    pub fn failure(&self) -> Failure {
        serde_json::from_str(&self.answer.as_ref().unwrap_err().text).unwrap()
    }
}

/// What answers the streams that an isolate opens: its head, to the meta of an answer.
pub type World = fn(&Head) -> String;

/// The edge's end of an isolate.
pub struct Edge {
    runtime: tokio::runtime::Runtime,
    driver: Driver,
    pub world: World,
}

impl Edge {
    /// Starts a version; gives why it does not start.
    pub fn try_start(version: &Version) -> (Self, Result<Loaded, Failure>) {
        let (here, there) = UnixStream::pair().unwrap();
        here.set_nonblocking(true).unwrap();
        there.set_nonblocking(true).unwrap();
        isolate(there);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let guard = runtime.enter();
        let driver = Driver::new(tokio::net::UnixStream::from_std(here).unwrap(), Side::Edge);
        drop(guard);
        let mut edge = Self { runtime, driver, world: |head| panic!("nobody answers {}", head.text(0)) };
        edge.driver.mux().load(&version.encode().unwrap());
        let loaded = loop {
            match edge.next() {
                Event::Ready(bytes) => break Ready::decode(bytes).unwrap().loaded,
                Event::Log { .. } | Event::Memory { .. } => {}
                event => panic!("{event:?}"),
            }
        };
        (edge, loaded)
    }

    pub fn start(version: &Version) -> Self {
        let (edge, loaded) = Self::try_start(version);
        loaded.unwrap();
        edge
    }

    fn next(&mut self) -> Event {
        let next = async { tokio::time::timeout(PATIENCE, self.driver.event()).await };
        self.runtime.block_on(next).unwrap().unwrap()
    }

    /// Sends an event, and waits until its work is over.
    pub fn send(&mut self, target: &str, meta: &Value, body: &[u8]) -> Ended {
        let mut head = HeadBuilder::new();
        for field in [target, "GET", "http://worker.test/", &meta.to_string()] {
            head.field(field.as_bytes()).unwrap();
        }
        let mux = std::sync::Arc::clone(self.driver.mux());
        let mut opened = mux.open(mux.reserve(), &head.finish(), Bytes::copy_from_slice(body), true).unwrap();
        let mut logs = Vec::new();
        let cpu_us = loop {
            match self.next() {
                Event::Done { stream, cpu_us } if stream == opened.stream => break cpu_us,
                Event::Log { stream, record } if stream == opened.stream || stream == 0 => {
                    logs.push(serde_json::from_slice(&record).unwrap());
                }
                Event::Opened { stream, head, .. } => {
                    let meta = (self.world)(&head);
                    mux.respond(stream, format!("200\n\n{meta}").as_bytes(), Bytes::new(), true, true);
                }
                Event::Reset { .. } | Event::Memory { .. } => {}
                event => panic!("{event:?}"),
            }
        };
        let answer = opened.reply.try_recv().unwrap();
        let answer = answer.map(|reply| Answer {
            status: reply.head.text(0).into(),
            meta: reply.head.text(2).into(),
            body: self.runtime.block_on(read(reply.body)),
        });
        Ended { answer, logs, cpu_us }
    }

    /// Asks the fetch handler.
    pub fn fetch(&mut self) -> Ended {
        self.send("fetch", &serde_json::json!({ "id": "0" }), b"")
    }
}

async fn read(mut body: Inbound) -> String {
    let mut bytes = Vec::new();
    while let Some(chunk) = body.chunk().await {
        if let Chunk::Data(data) = chunk.unwrap() {
            bytes.extend_from_slice(&data);
        }
    }
    String::from_utf8(bytes).unwrap()
}
