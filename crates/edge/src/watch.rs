//! What is noted of an event until it is over. Several hold it: who sends the event, the instance that runs it, the answer
//! on its way. When the last lets go, it is told.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use selvedge_model::{
    Exception, Failure, LimitName, Outcome, ScriptVersion, Trace, TraceEvent, TraceException, TraceLog, TraceOf,
    TraceResponse, WorkerName,
};

use crate::deployed::Deployed;
use crate::edge::{Edge, RequestId};
use crate::pages;
use crate::records::{Attention, Ended};

/// The most that a trace holds of logs, in bytes: what the platform's tail does.
const LOGS_BYTES_MAX: usize = 256 * 1024;
/// The most exceptions that a trace holds.
const EXCEPTIONS_MAX: usize = 32;

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

struct Noted {
    outcome: Outcome,
    status: Option<u16>,
    cpu_us: u64,
    /// What a tail shows of it, where somebody looks.
    trace: Option<Box<Trace>>,
    logs_bytes: usize,
}

/// What is noted of one event.
pub struct Watch {
    edge: Arc<Edge>,
    of: TraceOf,
    /// Workers that are told.
    consumers: Vec<WorkerName>,
    /// No worker is told of it, nor of what it asks of others.
    untold: bool,
    began: Instant,
    noted: Mutex<Noted>,
}

impl Watch {
    /// Notes an event of a version, as far as anybody wants to know. `event` is asked where its trace is wanted.
    pub fn begin(
        edge: &Arc<Edge>,
        deployed: &Deployed,
        id: RequestId,
        entrypoint: Option<&str>,
        event: impl FnOnce() -> TraceEvent,
    ) -> Option<Arc<Self>> {
        deployed.trace_of.as_ref()?;
        let consumers = edge.tail_consumers(&deployed.key);
        Self::of(edge, deployed, id, entrypoint, Some(consumers), event)
    }

    /// The same for an event that no worker is told of: a tail worker's own, and what that asks of others. Each would
    /// make the next, without an end.
    pub fn begin_untold(
        edge: &Arc<Edge>,
        deployed: &Deployed,
        id: RequestId,
        entrypoint: Option<&str>,
        event: impl FnOnce() -> TraceEvent,
    ) -> Option<Arc<Self>> {
        Self::of(edge, deployed, id, entrypoint, None, event)
    }

    fn of(
        edge: &Arc<Edge>,
        deployed: &Deployed,
        id: RequestId,
        entrypoint: Option<&str>,
        consumers: Option<Vec<WorkerName>>,
        event: impl FnOnce() -> TraceEvent,
    ) -> Option<Arc<Self>> {
        let untold = consumers.is_none();
        let consumers = consumers.unwrap_or_default();
        let of = deployed.trace_of.as_ref()?;
        let attention = edge.records().attention(&deployed.key);
        let full = attention == Attention::Trace || !consumers.is_empty();
        if attention == Attention::None && !full {
            return None;
        }
        let trace = full.then(|| {
            Box::new(Trace {
                of: of.clone(),
                request_id: id.to_string(),
                outcome: Outcome::Ok,
                script_name: of.worker.as_str().to_owned(),
                script_version: ScriptVersion { id: of.version.clone() },
                entrypoint: entrypoint.map(str::to_owned),
                exceptions: Vec::new(),
                logs: Vec::new(),
                event_timestamp: now_ms(),
                event: Some(event()),
                cpu_time: 0,
                wall_time: 0,
                truncated: false,
            })
        });
        let noted = Noted { outcome: Outcome::Ok, status: None, cpu_us: 0, trace, logs_bytes: 0 };
        Some(Arc::new(Self {
            edge: Arc::clone(edge),
            of: of.clone(),
            consumers,
            untold,
            began: Instant::now(),
            noted: Mutex::new(noted),
        }))
    }

    /// Whether no worker is told of it, nor of what it asks of others.
    pub fn is_untold(&self) -> bool {
        self.untold
    }

    /// It has an answer.
    pub fn answered(&self, status: u16) {
        let mut noted = self.noted.lock();
        noted.status = Some(status);
        if let Some(TraceEvent::Fetch { response, .. }) = noted.trace.as_mut().and_then(|trace| trace.event.as_mut()) {
            *response = Some(TraceResponse { status });
        }
    }

    /// It failed.
    pub fn failed(&self, failure: &Failure) {
        let mut noted = self.noted.lock();
        let outcome = outcome_of(failure);
        if outcome != Outcome::Exception && outcome == noted.outcome {
            // The isolate that ended says so, and each of its streams.
            return;
        }
        noted.outcome = outcome;
        let (name, message, stack) = match failure {
            Failure::Exception { exception, .. } | Failure::Hung { exception } => {
                (exception.name.clone(), exception.message.clone(), exception.stack.clone())
            }
            Failure::Limit { .. } => ("Error".to_owned(), pages::sentence(failure), String::new()),
        };
        noted.exception(name, message, stack);
    }

    /// It has no answer through no fault of the worker's code that is known.
    pub fn lost(&self, reason: &str) {
        let mut noted = self.noted.lock();
        noted.outcome = Outcome::Unknown;
        noted.exception("Error".into(), reason.to_owned(), String::new());
    }

    /// Its client went away.
    pub fn cancelled(&self) {
        self.noted.lock().outcome = Outcome::Canceled;
    }

    /// An exception that did not cost it its answer: in `waitUntil`.
    pub fn threw(&self, exception: Exception) {
        let mut noted = self.noted.lock();
        if noted.outcome == Outcome::Ok {
            noted.outcome = Outcome::Exception;
        }
        noted.exception(exception.name, exception.message, exception.stack);
    }

    /// It logged something.
    pub fn log(&self, level: &str, message: Vec<serde_json::Value>, bytes: usize) {
        let mut noted = self.noted.lock();
        noted.logs_bytes += bytes;
        let over = noted.logs_bytes > LOGS_BYTES_MAX;
        if let Some(trace) = &mut noted.trace {
            if over {
                trace.truncated = true;
            } else {
                trace.logs.push(TraceLog { message, level: level.to_owned(), timestamp: now_ms() });
            }
        }
    }

    /// It logged more than it may.
    pub fn truncated(&self) {
        if let Some(trace) = &mut self.noted.lock().trace {
            trace.truncated = true;
        }
    }

    /// Whether its logs are wanted.
    pub fn wants_logs(&self) -> bool {
        self.noted.lock().trace.is_some()
    }

    /// Its work is over, and took that CPU time.
    pub fn over(&self, cpu_us: u64) {
        self.noted.lock().cpu_us = cpu_us;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let wall = self.began.elapsed();
        let noted = self.noted.get_mut();
        let cpu = Duration::from_micros(noted.cpu_us);
        let trace = noted.trace.take().map(|mut trace| {
            trace.outcome = noted.outcome;
            trace.cpu_time = noted.cpu_us / 1000;
            trace.wall_time = wall.as_millis() as u64;
            Arc::new(*trace)
        });
        if let Some(trace) = &trace
            && !self.consumers.is_empty()
        {
            self.edge.tell_consumers(&self.of, std::mem::take(&mut self.consumers), Arc::clone(trace));
        }
        let ended = Ended { of: &self.of, outcome: noted.outcome, status: noted.status, cpu, wall, trace };
        self.edge.records().ended(ended);
    }
}

impl Noted {
    fn exception(&mut self, name: String, message: String, stack: String) {
        if let Some(trace) = &mut self.trace
            && trace.exceptions.len() < EXCEPTIONS_MAX
        {
            trace.exceptions.push(TraceException { name, message, stack, timestamp: now_ms() });
        }
    }
}

/// How the platform calls what happened.
pub fn outcome_of(failure: &Failure) -> Outcome {
    match failure {
        Failure::Exception { .. } | Failure::Hung { .. } => Outcome::Exception,
        Failure::Limit { error } => match error.limit {
            LimitName::CpuMs | LimitName::StartupMs => Outcome::ExceededCpu,
            LimitName::MemoryBytes => Outcome::ExceededMemory,
            _ => Outcome::ExceededLimit,
        },
    }
}
