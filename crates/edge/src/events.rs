//! Events that no client sends: the clock's, and those of tails.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use selvedge_model::{ConsumedEvent, Failure, Outcome, Trace, TraceEvent, TraceOf, WorkerKey, WorkerName};

use crate::body::EdgeBody;
use crate::dispatch::{self, Answered, EventBody, NoAnswer};
use crate::edge::Edge;
use crate::head;
use crate::pages;
use crate::pool::Pool;
use crate::requests;
use crate::slot::Slot;
use crate::trace::{Beginning, TailItem, Unredacted};
use crate::watch::{self, Watch};

/// The outcome that an isolate tells of an event whose `waitUntil` failed.
const FAILED: &[u8] = b"exception";

/// Why an event that no client sent did not run to its end.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EventError {
    #[error("no worker of that name serves here")]
    NoWorker,
    #[error("its version cannot be loaded: {0}")]
    NoVersion(#[from] crate::slot::NoVersion),
    #[error("its version is static files alone, without code")]
    NoCode,
    #[error("{}", pages::sentence(.0))]
    Failed(Failure),
    #[error("its handler went well, and something that it left to waitUntil() failed")]
    Late,
    #[error("{0}")]
    Lost(String),
    /// It never began, and may be tried again.
    #[error("{0}")]
    Unavailable(String),
}

impl EventError {
    /// How the platform calls it.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Failed(failure) => watch::outcome_of(failure),
            Self::Late => Outcome::Exception,
            _ => Outcome::Unknown,
        }
    }
}

impl From<NoAnswer> for EventError {
    fn from(error: NoAnswer) -> Self {
        match error {
            NoAnswer::Failed(failure) => Self::Failed(failure),
            NoAnswer::Lost(reason) => Self::Lost(reason),
            NoAnswer::Unavailable(reason) => Self::Unavailable(reason),
            NoAnswer::Cancelled | NoAnswer::Body(_) => Self::Lost("it was cancelled".into()),
        }
    }
}

impl Edge {
    /// Runs the scheduled handler of a worker: `cron` is the expression that is due, `time_ms` the minute it was due at,
    /// in milliseconds since 1970.
    pub async fn scheduled(self: &Arc<Self>, worker: &WorkerKey, cron: &str, time_ms: u64) -> Result<(), EventError> {
        let pool = self.pool_of(worker).await?;
        if !pool.deployed.has_code() {
            return Err(EventError::NoCode);
        }
        let answered = scheduled(self, &pool, cron, time_ms).await?;
        // The body of the answer is the outcome of all that the event did.
        let failed = answered.reply.body.complete().is_some_and(|outcome| outcome == FAILED);
        if failed { Err(EventError::Late) } else { Ok(()) }
    }

    /// A version of a worker that serves now.
    pub(crate) async fn pool_of(self: &Arc<Self>, worker: &WorkerKey) -> Result<Arc<Pool>, EventError> {
        Ok(self.slot_of(worker)?.pool(self).await?)
    }

    /// The place of a version of a worker that serves now.
    fn slot_of(&self, worker: &WorkerKey) -> Result<Arc<Slot>, EventError> {
        let site = self.site(worker).ok_or(EventError::NoWorker)?;
        let chosen = site.choose(&HeaderMap::new(), self.request_id()).ok_or(EventError::NoWorker)?;
        Ok(chosen.slot)
    }

    /// Tells workers what became of an event of another of their account, which may be told what nobody else is. One that
    /// does not keep up misses events.
    pub(crate) fn tell_consumers(
        self: &Arc<Self>,
        of: &TraceOf,
        consumers: Vec<WorkerName>,
        trace: &Trace,
        unredacted: Option<&Unredacted>,
    ) {
        let body = match serde_json::to_vec(&[TailItem { trace, unredacted }]) {
            Ok(body) => Bytes::from(body),
            Err(error) => {
                tracing::error!(request_id = %trace.request_id, %error, "an event could not be written for tail workers");
                return;
            }
        };
        for consumer in consumers {
            let key = WorkerKey::new(of.account.clone(), consumer);
            let slot = match self.slot_of(&key) {
                Ok(slot) => slot,
                Err(error) => {
                    tracing::debug!(worker = %key, %error, "a tail worker was not told of an event");
                    continue;
                }
            };
            let Some(telling) = slot.tell(body.len()) else {
                tracing::debug!(worker = %key, "a tail worker is too slow: it was not told of an event");
                continue;
            };
            let (edge, body) = (Arc::clone(self), body.clone());
            let producer = of.worker.clone();
            tokio::spawn(async move {
                if let Err(error) = tail(&edge, &slot, &producer, body).await {
                    tracing::debug!(worker = %key, %error, "a tail worker was not told of an event");
                }
                drop(telling);
            });
        }
    }
}

async fn scheduled(edge: &Arc<Edge>, pool: &Arc<Pool>, cron: &str, time_ms: u64) -> Result<Answered, NoAnswer> {
    let id = edge.request_id();
    let meta = serde_json::json!({ "id": id.to_string(), "cron": cron, "scheduledTime": time_ms }).to_string();
    let event = || Beginning::from(TraceEvent::Scheduled { cron: cron.to_owned(), scheduled_time: time_ms });
    let watch = Watch::begin(edge, &pool.deployed, id, None, event);
    let head = head::open("scheduled", "", "", &meta, &HeaderMap::new(), &[])
        .map_err(|error| NoAnswer::Unavailable(error.to_string()))?;
    let sent =
        dispatch::send(edge, pool, id, &head, EventBody::Whole(Bytes::new()), watch.as_ref(), &Arc::default()).await;
    if let Some(watch) = &watch {
        watch.has_no_status();
    }
    if let Err(NoAnswer::Failed(failure)) = &sent {
        edge.records().failed(pool.deployed.key.worker.as_str(), &id.to_string(), failure);
    }
    sent
}

/// `body` is the JSON of an array of traces.
async fn tail(edge: &Arc<Edge>, consumer: &Arc<Slot>, producer: &WorkerName, body: Bytes) -> Result<(), EventError> {
    let pool = consumer.pool(edge).await?;
    if !pool.deployed.has_code() {
        return Err(EventError::NoCode);
    }
    let id = edge.request_id();
    let meta = serde_json::json!({ "id": id.to_string() }).to_string();
    let consumed = || ConsumedEvent { script_name: producer.as_str().to_owned() };
    let event = || Beginning::from(TraceEvent::Tail { consumed_events: vec![consumed()] });
    // A tail worker's own events are not told to tail workers: they would go round for ever.
    let watch = Watch::begin_untold(edge, &pool.deployed, id, None, event);
    let head = head::open("tail", "", "", &meta, &HeaderMap::new(), &[])
        .map_err(|error| EventError::Lost(error.to_string()))?;
    dispatch::send(edge, &pool, id, &head, EventBody::Whole(body), watch.as_ref(), &Arc::default()).await?;
    if let Some(watch) = &watch {
        watch.has_no_status();
    }
    Ok(())
}

/// The paths under `/cdn-cgi/` that `wrangler dev` has too.
pub async fn internal(edge: &Arc<Edge>, pool: &Arc<Pool>, parts: &Parts) -> Option<Response<EdgeBody>> {
    if !edge.config().author || !parts.uri.path().starts_with("/cdn-cgi/") {
        return None;
    }
    let path = parts.uri.path();
    if path != "/cdn-cgi/handler/scheduled" && path != "/cdn-cgi/mf/scheduled" {
        return None;
    }
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let get = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let time_ms = get("time").and_then(|time| time.parse().ok()).unwrap_or_else(watch::now_ms);
    let response = match scheduled(edge, pool, &get("cron").unwrap_or_default(), time_ms).await {
        Ok(answered) => Response::new(EdgeBody::full(answered.reply.body.complete().unwrap_or(Bytes::from("ok")))),
        Err(NoAnswer::Failed(failure)) => {
            let id = edge.request_id().to_string();
            pages::failure(&parts.headers, requests::about(edge, &pool.deployed, &id), &failure)
        }
        Err(error) => {
            let reason = EventError::from(error).to_string();
            pages::plain(&parts.headers, StatusCode::SERVICE_UNAVAILABLE, "unavailable", &reason)
        }
    };
    Some(response)
}
