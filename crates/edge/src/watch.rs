//! What is noted of an event until it is over. Several hold it: who sends the event, the instance that runs it, the answer
//! on its way. When the last lets go, it is told.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use selvedge_model::{
    Exception, ExecutionModel, Failure, LimitName, Outcome, ScriptVersion, Trace, TraceOf, WorkerName, WorkerRecord,
};
use serde_json::Value;

use crate::deployed::Deployed;
use crate::edge::{Edge, RequestId};
use crate::pages;
use crate::records::{Attention, Ended};
use crate::trace::{Beginning, Draft};

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

struct Noted {
    outcome: Outcome,
    status: Option<u16>,
    cpu_us: u64,
    /// What is written down of it, where somebody looks.
    trace: Option<Box<Draft>>,
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
        event: impl FnOnce() -> Beginning,
    ) -> Option<Arc<Self>> {
        Self::of(edge, deployed, id, entrypoint, false, event)
    }

    /// The same for an event that no worker is told of: a tail worker's own, and what that asks of others. Each would
    /// make the next, without an end.
    pub fn begin_untold(
        edge: &Arc<Edge>,
        deployed: &Deployed,
        id: RequestId,
        entrypoint: Option<&str>,
        event: impl FnOnce() -> Beginning,
    ) -> Option<Arc<Self>> {
        Self::of(edge, deployed, id, entrypoint, true, event)
    }

    fn of(
        edge: &Arc<Edge>,
        deployed: &Deployed,
        id: RequestId,
        entrypoint: Option<&str>,
        untold: bool,
        event: impl FnOnce() -> Beginning,
    ) -> Option<Arc<Self>> {
        let of = deployed.trace_of.as_ref()?;
        let site = edge.site(&deployed.key);
        let record = site.as_ref().and_then(|site| site.record.as_ref());
        let consumers = record.filter(|_| !untold).map(|record| record.tail_consumers.clone()).unwrap_or_default();
        let attention = edge.records().attention(&deployed.key);
        let full = attention == Attention::Trace || !consumers.is_empty();
        if attention == Attention::None && !full {
            return None;
        }
        let trace = full
            .then(|| Box::new(Draft::new(begun(deployed, of, id, entrypoint, record), event(), !consumers.is_empty())));
        let noted = Noted { outcome: Outcome::Ok, status: None, cpu_us: 0, trace };
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
        if let Some(trace) = &mut noted.trace {
            trace.answered(status);
        }
    }

    /// It was no request: its answer has no status that says anything.
    pub fn has_no_status(&self) {
        self.noted.lock().status = None;
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

    /// It logged something, in a record of that many bytes.
    pub fn log(&self, level: &str, message: Vec<Value>, bytes: usize) {
        if let Some(trace) = &mut self.noted.lock().trace {
            trace.log(level, message, bytes);
        }
    }

    /// It published something to a channel of `node:diagnostics_channel`, in a record of that many bytes.
    pub fn published(&self, channel: String, message: Value, bytes: usize) {
        if let Some(trace) = &mut self.noted.lock().trace {
            trace.published(channel, message, bytes);
        }
    }

    /// It logged more than it may.
    pub fn truncated(&self) {
        if let Some(trace) = &mut self.noted.lock().trace {
            trace.truncated();
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
        let trace = noted.trace.take().map(|draft| {
            let (trace, unredacted) = draft.end(noted.outcome, cpu, wall);
            let consumers = std::mem::take(&mut self.consumers);
            if !consumers.is_empty() {
                self.edge.tell_consumers(&self.of, consumers, &trace, unredacted.as_ref());
            }
            Arc::new(trace)
        });
        let ended = Ended { of: &self.of, outcome: noted.outcome, status: noted.status, cpu, wall, trace };
        self.edge.records().ended(ended);
    }
}

impl Noted {
    fn exception(&mut self, name: String, message: String, stack: String) {
        if let Some(trace) = &mut self.trace {
            trace.threw(name, message, stack);
        }
    }
}

/// The trace of an event that begins now.
fn begun(
    deployed: &Deployed,
    of: &TraceOf,
    id: RequestId,
    entrypoint: Option<&str>,
    record: Option<&WorkerRecord>,
) -> Trace {
    Trace {
        of: of.clone(),
        request_id: id.to_string(),
        outcome: Outcome::Ok,
        script_name: of.worker.as_str().to_owned(),
        script_version: ScriptVersion {
            id: of.version.clone(),
            tag: deployed.tag.clone(),
            message: deployed.message.clone(),
        },
        script_tags: record.map(|record| record.tags.clone()).unwrap_or_default(),
        entrypoint: entrypoint.map(str::to_owned),
        execution_model: ExecutionModel::Stateless,
        exceptions: Vec::new(),
        logs: Vec::new(),
        diagnostics_channel_events: Vec::new(),
        event_timestamp: now_ms(),
        event: None,
        cpu_time: 0,
        wall_time: 0,
        truncated: false,
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
