//! What became of one event, as a tail, a tail worker and the metrics read it: without the credentials that came with it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AccountId, VersionId, WorkerName};

/// How an event ended, in the words of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    Ok,
    Exception,
    ExceededCpu,
    ExceededMemory,
    /// Another limit, which the exceptions name.
    ExceededLimit,
    /// The client went away.
    Canceled,
    Unknown,
}

/// Which worker an event was of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TraceOf {
    pub account: AccountId,
    pub worker: WorkerName,
    pub version: VersionId,
}

/// One event that is over. Serialises to the object that `wrangler tail` reads.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    #[serde(skip)]
    pub of: TraceOf,
    /// The id that the worker's logs and error pages show.
    pub request_id: String,
    pub outcome: Outcome,
    pub script_name: String,
    pub script_version: ScriptVersion,
    /// What the worker's owner marked it with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub script_tags: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<String>,
    pub execution_model: ExecutionModel,
    pub exceptions: Vec<TraceException>,
    pub logs: Vec<TraceLog>,
    pub diagnostics_channel_events: Vec<ChannelMessage>,
    /// Milliseconds since 1970 when it arrived.
    pub event_timestamp: u64,
    /// None where the event is of a kind that has no shape.
    pub event: Option<TraceEvent>,
    /// CPU time in milliseconds.
    pub cpu_time: u64,
    /// Time from arrival to end, in milliseconds.
    pub wall_time: u64,
    /// Whether something was left out because it was too much.
    pub truncated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ScriptVersion {
    pub id: VersionId,
    /// What its author called it: `--tag` of an upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// What its author said of it: `--message` of an upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What kind of instance ran an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ExecutionModel {
    /// Any instance of the version.
    Stateless,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceException {
    pub name: String,
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stack: String,
    /// Milliseconds since 1970.
    pub timestamp: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceLog {
    /// What `console.log` was given: strings, numbers, booleans, and objects as far as JSON can say them.
    pub message: Vec<Value>,
    /// `debug`, `log`, `info`, `warn` or `error`.
    pub level: String,
    /// Milliseconds since 1970.
    pub timestamp: u64,
}

/// What code published to a channel of `node:diagnostics_channel`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChannelMessage {
    pub channel: String,
    /// The message as far as JSON can say it.
    pub message: Value,
    /// Milliseconds since 1970.
    pub timestamp: u64,
}

/// What the event was.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum TraceEvent {
    Fetch {
        request: TraceRequest,
        #[serde(skip_serializing_if = "Option::is_none")]
        response: Option<TraceResponse>,
    },
    #[serde(rename_all = "camelCase")]
    Scheduled { cron: String, scheduled_time: u64 },
    #[serde(rename_all = "camelCase")]
    Rpc { rpc_method: String },
    #[serde(rename_all = "camelCase")]
    Tail { consumed_events: Vec<ConsumedEvent> },
}

/// A client's request. What may be a credential is redacted before it comes here: whoever has a trace may show it.
#[derive(Debug, Clone, Serialize)]
pub struct TraceRequest {
    pub url: String,
    pub method: String,
    /// Names in lower case; the values of one name joined by commas.
    pub headers: serde_json::Map<String, Value>,
    #[serde(skip_serializing_if = "Value::is_null")]
    pub cf: Value,
}

#[derive(Debug, Clone, Serialize)]
pub struct TraceResponse {
    pub status: u16,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumedEvent {
    pub script_name: String,
}
