//! What is written down of one event for tails and tail workers, within a bound.
//!
//! A trace shows no credentials, whoever reads it. What it leaves out of a request stands beside it ([`Unredacted`]) and
//! goes to tail workers alone: they are code of the account whose request it was.

use std::time::Duration;

use http::HeaderMap;
use selvedge_model::{
    ChannelMessage, Outcome, Trace, TraceEvent, TraceException, TraceLog, TraceRequest, TraceResponse,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::watch::now_ms;

/// What a trace holds of its request, its logs and its messages to channels, in bytes; and of its exceptions, which say why
/// an event ended, as much again. As on the platform: `MAX_TRACE_BYTES` of workerd's `io/tracer.c++`.
const TRACE_BYTES_MAX: usize = 256 * 1024;
/// What an entry counts for besides its text.
const ENTRY_BYTES: usize = 64;

/// What stands in the place of what is too much, in the platform's words.
const NO_REQUEST: &str = "Trace resource limit exceeded; could not capture event info.";
const NO_MORE_LOGS: &str = "Log size limit exceeded: More than 256KB of data (across console.log statements, exception, \
    request metadata and headers) was logged during a single request. Subsequent data for this request will not be \
    recorded in logs, appear when tailing this Worker's logs, or in Tail Workers.";
const NO_MORE_EXCEPTIONS: &str = "Trace resource limit exceeded; subsequent exceptions not recorded.";
const NO_MORE_MESSAGES_CHANNEL: &str = "workerd.LimitExceeded";

/// What a request says where its trace has it redacted. It has no `Debug`: nothing can log it.
#[derive(Serialize)]
pub struct Unredacted {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    headers: Map<String, Value>,
}

/// A trace as a tail worker is told it.
#[derive(Serialize)]
pub struct TailItem<'a> {
    #[serde(flatten)]
    pub trace: &'a Trace,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unredacted: Option<&'a Unredacted>,
}

/// An event as it begins.
pub struct Beginning {
    event: TraceEvent,
    /// None where the event shows all there is.
    unredacted: Option<Unredacted>,
    bytes: usize,
}

/// A trace while its event goes on.
pub struct Draft {
    trace: Trace,
    unredacted: Option<Unredacted>,
    bytes: usize,
    exceptions_bytes: usize,
    /// Of these nothing more is taken.
    full: Full,
}

#[derive(Default)]
struct Full {
    logs: bool,
    messages: bool,
    exceptions: bool,
}

// === impl Beginning ===

impl Beginning {
    /// A request, of which the trace shows what is no credential.
    pub fn request(url: &str, method: &str, headers: &HeaderMap, cf: Value) -> Self {
        let headers_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let bytes = url.len() + headers_bytes + cf.to_string().len();
        let shown = selvedge_telemetry::redacted_url(url);
        let unredacted =
            Unredacted { url: (shown != url).then(|| url.to_owned()), headers: selvedge_telemetry::hidden(headers) };
        let request =
            TraceRequest { url: shown, method: method.to_owned(), headers: selvedge_telemetry::redacted(headers), cf };
        Self {
            event: TraceEvent::Fetch { request, response: None },
            unredacted: (unredacted.url.is_some() || !unredacted.headers.is_empty()).then_some(unredacted),
            bytes,
        }
    }
}

impl From<TraceEvent> for Beginning {
    /// An event that has nothing to hide and is small.
    fn from(event: TraceEvent) -> Self {
        Self { event, unredacted: None, bytes: 0 }
    }
}

// === impl Draft ===

impl Draft {
    /// `trace` is of an event that begins; `for_workers` says whether tail workers will be told.
    pub fn new(trace: Trace, beginning: Beginning, for_workers: bool) -> Self {
        let Beginning { event, unredacted, bytes } = beginning;
        let unredacted = unredacted.filter(|_| for_workers);
        let full = Full::default();
        let mut draft = Self { trace, unredacted, bytes: 0, exceptions_bytes: 0, full };
        if take(&mut draft.bytes, bytes) {
            draft.trace.event = Some(event);
        } else {
            draft.trace.event = Some(method_alone(event));
            draft.unredacted = None;
            draft.warn(NO_REQUEST);
        }
        draft
    }

    /// It has an answer.
    pub fn answered(&mut self, status: u16) {
        if let Some(TraceEvent::Fetch { response, .. }) = &mut self.trace.event {
            *response = Some(TraceResponse { status });
        }
    }

    /// It logged something, which took that many bytes as text.
    pub fn log(&mut self, level: &str, message: Vec<Value>, bytes: usize) {
        if self.full.logs {
            return;
        }
        if take(&mut self.bytes, bytes + ENTRY_BYTES) {
            self.trace.logs.push(TraceLog { message, level: level.to_owned(), timestamp: now_ms() });
        } else {
            self.full.logs = true;
            self.warn(NO_MORE_LOGS);
        }
    }

    /// It published something to a channel of `node:diagnostics_channel`, which took that many bytes as text.
    pub fn published(&mut self, channel: String, message: Value, bytes: usize) {
        if self.full.messages {
            return;
        }
        let timestamp = now_ms();
        let told = if take(&mut self.bytes, bytes + ENTRY_BYTES) {
            ChannelMessage { channel, message, timestamp }
        } else {
            self.full.messages = true;
            self.trace.truncated = true;
            ChannelMessage { channel: NO_MORE_MESSAGES_CHANNEL.to_owned(), message: Value::Null, timestamp }
        };
        self.trace.diagnostics_channel_events.push(told);
    }

    /// It threw.
    pub fn threw(&mut self, name: String, message: String, stack: String) {
        if self.full.exceptions {
            return;
        }
        let timestamp = now_ms();
        let bytes = name.len() + message.len() + stack.len() + ENTRY_BYTES;
        let told = if take(&mut self.exceptions_bytes, bytes) {
            TraceException { name, message, stack, timestamp }
        } else {
            self.full.exceptions = true;
            self.trace.truncated = true;
            let message = NO_MORE_EXCEPTIONS.to_owned();
            TraceException { name: "Error".to_owned(), message, stack: String::new(), timestamp }
        };
        self.trace.exceptions.push(told);
    }

    /// Something was left out before it came here.
    pub fn truncated(&mut self) {
        self.trace.truncated = true;
    }

    /// The event is over.
    pub fn end(mut self, outcome: Outcome, cpu: Duration, wall: Duration) -> (Trace, Option<Unredacted>) {
        self.trace.outcome = outcome;
        self.trace.cpu_time = cpu.as_millis() as u64;
        self.trace.wall_time = wall.as_millis() as u64;
        (self.trace, self.unredacted)
    }

    /// Says that something is left out.
    fn warn(&mut self, text: &str) {
        self.trace.truncated = true;
        let message = vec![Value::from(text)];
        self.trace.logs.push(TraceLog { message, level: "warn".to_owned(), timestamp: now_ms() });
    }
}

/// Takes room for that many bytes, if there is.
fn take(used: &mut usize, bytes: usize) -> bool {
    let after = used.saturating_add(bytes);
    let fits = after <= TRACE_BYTES_MAX;
    if fits {
        *used = after;
    }
    fits
}

/// What is kept of an event that is too large.
fn method_alone(event: TraceEvent) -> TraceEvent {
    match event {
        TraceEvent::Fetch { request, response } => {
            let (url, headers, cf) = <(String, Map<String, Value>, Value)>::default();
            TraceEvent::Fetch { request: TraceRequest { url, method: request.method, headers, cf }, response }
        }
        event => event,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::{ACCEPT, AUTHORIZATION, HeaderName};
    use selvedge_model::{AccountId, ExecutionModel, ScriptVersion, TraceOf, VersionId};
    use serde_json::json;

    use super::*;

    const URL: &str = "https://loom.test/0123456789abcdef0123456789abcdef?a=1";

    fn request(further: usize) -> Beginning {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer opensesame"));
        let long = HeaderValue::from_str(&"x".repeat(further)).unwrap();
        headers.insert(HeaderName::from_static("x-long"), long);
        Beginning::request(URL, "POST", &headers, json!({ "colo": "LOCAL" }))
    }

    fn draft(beginning: Beginning, for_workers: bool) -> Draft {
        let version: VersionId = "8e6a9a2b-0f0c-4c55-9d3a-1b2c3d4e5f60".parse().unwrap();
        let of = TraceOf { account: AccountId::local(), worker: "loom".parse().unwrap(), version: version.clone() };
        let trace = Trace {
            of,
            request_id: "r".to_owned(),
            outcome: Outcome::Ok,
            script_name: "loom".to_owned(),
            script_version: ScriptVersion { id: version, tag: None, message: None },
            script_tags: Vec::new(),
            entrypoint: None,
            execution_model: ExecutionModel::Stateless,
            exceptions: Vec::new(),
            logs: Vec::new(),
            diagnostics_channel_events: Vec::new(),
            event_timestamp: 0,
            event: None,
            cpu_time: 0,
            wall_time: 0,
            truncated: false,
        };
        Draft::new(trace, beginning, for_workers)
    }

    /// What tails are shown, and what tail workers are told.
    fn ended(draft: Draft) -> (Value, Value) {
        let (trace, unredacted) = draft.end(Outcome::Ok, Duration::ZERO, Duration::ZERO);
        let item = TailItem { trace: &trace, unredacted: unredacted.as_ref() };
        (serde_json::to_value(&trace).unwrap(), serde_json::to_value(item).unwrap())
    }

    #[test]
    fn credentials_are_told_to_tail_workers_alone() {
        let (shown, mut told) = ended(draft(request(0), true));
        assert_eq!(shown["event"]["request"]["url"], "https://loom.test/REDACTED?a=1");
        let headers = json!({ "accept": "*/*", "authorization": "REDACTED", "x-long": "" });
        assert_eq!(shown["event"]["request"]["headers"], headers);
        assert!(!shown.to_string().contains("opensesame") && !shown.to_string().contains("0123456789abcdef"));
        let hidden = json!({ "url": URL, "headers": { "authorization": "Bearer opensesame" } });
        assert_eq!(told["unredacted"], hidden);
        // Beside it there is what all are shown.
        told.as_object_mut().unwrap().remove("unredacted");
        assert_eq!(told, shown);
    }

    #[test]
    fn what_nobody_will_be_told_is_not_kept() {
        let (shown, told) = ended(draft(request(0), false));
        assert_eq!(shown, told);
        let open = Beginning::request("https://loom.test/", "GET", &HeaderMap::new(), Value::Null);
        let (shown, told) = ended(draft(open, true));
        assert_eq!(shown, told);
        assert_eq!(shown["event"]["request"], json!({ "url": "https://loom.test/", "method": "GET", "headers": {} }));
    }

    #[test]
    fn a_request_that_is_too_large_is_told_by_its_method() {
        let (shown, told) = ended(draft(request(TRACE_BYTES_MAX), true));
        assert_eq!(shown, told);
        assert_eq!(shown["event"]["request"], json!({ "url": "", "method": "POST", "headers": {} }));
        assert_eq!(shown["logs"][0]["message"], json!([NO_REQUEST]));
        assert_eq!((&shown["logs"][0]["level"], &shown["truncated"]), (&json!("warn"), &json!(true)));
    }

    #[test]
    fn logs_and_messages_have_one_bound_with_the_request() {
        let mut draft = draft(request(TRACE_BYTES_MAX / 2), true);
        for count in 0..10_000 {
            draft.log("log", vec![json!(count)], 1024);
            draft.published("channel".to_owned(), json!(count), 1024);
        }
        let (shown, _) = ended(draft);
        let (logs, messages) = (&shown["logs"], &shown["diagnosticsChannelEvents"]);
        let (logs, messages) = (logs.as_array().unwrap(), messages.as_array().unwrap());
        assert!((100..128).contains(&(logs.len() + messages.len())), "{} {}", logs.len(), messages.len());
        // The last says that there was more.
        assert_eq!(logs.last().unwrap()["message"], json!([NO_MORE_LOGS]));
        assert_eq!(messages.last().unwrap()["channel"], NO_MORE_MESSAGES_CHANNEL);
        assert_eq!(shown["truncated"], true);
    }

    #[test]
    fn exceptions_are_told_whatever_was_logged_and_are_bounded() {
        let mut draft = draft(request(0), true);
        draft.log("log", vec![json!("long")], TRACE_BYTES_MAX);
        for count in 0..10_000 {
            draft.threw("Error".to_owned(), count.to_string(), "s".repeat(1024));
        }
        let (shown, _) = ended(draft);
        let exceptions = shown["exceptions"].as_array().unwrap();
        assert_eq!(exceptions[0]["message"], "0");
        assert!((200..256).contains(&exceptions.len()), "{}", exceptions.len());
        assert_eq!(exceptions.last().unwrap()["message"], NO_MORE_EXCEPTIONS);
    }

    #[test]
    fn an_answer_is_told_by_its_status() {
        let mut draft = draft(request(0), true);
        draft.answered(201);
        assert_eq!(ended(draft).0["event"]["response"], json!({ "status": 201 }));
    }
}
