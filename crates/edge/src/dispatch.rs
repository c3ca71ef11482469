//! One event: find an instance, send the event, await the answer. What kind of event it is, is not known here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use selvedge_door::{Inbound, Mux, OpenError, Opened, Outbound, Reply, Reset, ResetCode};
use selvedge_model::{Failure, LimitName};
use tokio::sync::oneshot;

use crate::calls::Calls;
use crate::client_body::ClientBodyError;
use crate::deployed::Deployed;
use crate::edge::{Edge, RequestId};
use crate::instance::Instance;
use crate::pool::{NoInstance, Pool};
use crate::upload::Upload;
use crate::watch::Watch;

/// How many instances an event that none has begun is tried on: each that ends before it begins the event does so
/// because of another event, and as many may have come before this one.
const TRIES: usize = 32;
/// How many runner processes may die before they begin an event that is tried again: an event that kills its process
/// before it is known to have begun looks the same, and must not kill one after another.
const DEATHS_MAX: usize = 2;

/// What an event brings with its head.
pub enum EventBody {
    /// All of it.
    Whole(Bytes),
    /// A client's body, as it arrives.
    Client(Upload),
    /// What another isolate sends.
    Isolate(Inbound),
    /// A first message of another isolate, and those that follow.
    Session(Bytes, Inbound),
    /// Nothing yet: the messages of a WebSocket follow.
    Messages,
}

/// Why an event has no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The worker's doing.
    Failed(Failure),
    /// The process that ran it ended.
    Lost(String),
    /// It never ran.
    Unavailable(String),
    /// Whoever asked went away.
    Cancelled,
    /// The client's body did not come to its end.
    Body(ClientBodyError),
}

/// Ends an event whose caller goes away before the answer.
struct Cancel<'a> {
    mux: &'a Arc<Mux>,
    stream: u32,
    watch: Option<&'a Arc<Watch>>,
    armed: bool,
}

impl Drop for Cancel<'_> {
    fn drop(&mut self) {
        if self.armed {
            if let Some(watch) = self.watch {
                watch.cancelled();
            }
            self.mux.reset(self.stream, &Reset::new(ResetCode::Cancelled, "the client went away"));
        }
    }
}

/// An answer, and the instance that gives it.
pub struct Answered {
    pub instance: Arc<Instance>,
    pub reply: Reply,
}

/// Sends an event to an instance of the worker; `watch` notes what becomes of it, `calls` counts it and those that it
/// makes.
pub async fn send(
    edge: &Arc<Edge>,
    pool: &Arc<Pool>,
    request_id: RequestId,
    head: &[u8],
    body: EventBody,
    watch: Option<&Arc<Watch>>,
    calls: &Arc<Calls>,
) -> Result<Answered, NoAnswer> {
    let sent = try_instances(edge, pool, request_id, head, body, watch, calls).await;
    if let Some(watch) = watch {
        match &sent {
            Ok(answered) => {
                if let Ok(status) = answered.reply.head.text(0).parse() {
                    watch.answered(status);
                }
            }
            Err(NoAnswer::Failed(failure)) => watch.failed(failure),
            Err(NoAnswer::Lost(reason) | NoAnswer::Unavailable(reason)) => watch.lost(reason),
            Err(NoAnswer::Cancelled | NoAnswer::Body(_)) => watch.cancelled(),
        }
    }
    sent
}

async fn try_instances(
    edge: &Arc<Edge>,
    pool: &Arc<Pool>,
    request_id: RequestId,
    head: &[u8],
    mut body: EventBody,
    watch: Option<&Arc<Watch>>,
    calls: &Arc<Calls>,
) -> Result<Answered, NoAnswer> {
    let wall = Duration::from_millis(pool.deployed.version.manifest.limits.wall_ms);
    let deadline = Instant::now() + wall;
    let mut reason = String::new();
    let mut deaths = 0;
    for _ in 0..TRIES {
        let instance = pool.instance(edge).await.map_err(|error| match error {
            NoInstance::Failed(failure) => NoAnswer::Failed(failure),
            NoInstance::Unavailable(reason) => NoAnswer::Unavailable(reason),
        })?;
        let (first, whole) = match &body {
            EventBody::Whole(bytes) => (bytes.clone(), true),
            EventBody::Session(first, _) => (first.clone(), false),
            _ => (Bytes::new(), false),
        };
        let stream = instance.mux.reserve();
        instance.name(stream, request_id, deadline, watch.cloned(), calls);
        let opened = match instance.mux.open(stream, head, first, whole) {
            Ok(opened) => opened,
            Err(OpenError::Closed) => {
                instance.unbegin(stream);
                reason = OpenError::Closed.to_string();
                continue;
            }
            Err(error) => {
                instance.forget(stream);
                return Err(NoAnswer::Unavailable(error.to_string()));
            }
        };
        let sending = send_body(&pool.deployed, &instance.mux, stream, request_id, body);
        match await_reply(&instance, opened, watch).await {
            Ok(reply) => {
                sending.settle();
                return Ok(Answered { instance, reply });
            }
            Err(reset) if reset.code == ResetCode::Refused => {
                deaths += usize::from(!instance.is_condemned());
                if deaths == DEATHS_MAX {
                    return Err(NoAnswer::Lost(reset.text));
                }
                reason = reset.text;
                body = match sending.back().await {
                    Some(body) => body,
                    None => break,
                };
            }
            Err(reset) => {
                if let Some(error) = sending.settle() {
                    return Err(NoAnswer::Body(error));
                }
                return Err(no_answer(&pool.deployed, request_id, reset));
            }
        }
    }
    Err(NoAnswer::Unavailable(format!("no instance took the request: {reason}")))
}

async fn await_reply(instance: &Instance, opened: Opened, watch: Option<&Arc<Watch>>) -> Result<Reply, Reset> {
    let mut cancel = Cancel { mux: &instance.mux, stream: opened.stream, watch, armed: true };
    let reply = opened.reply.await;
    cancel.armed = false;
    instance.answered(opened.stream);
    reply.unwrap_or_else(|_| Err(Reset::new(ResetCode::Lost, "the process that ran this worker ended")))
}

/// The sending of an event's body, which may have to be done again.
enum Sending {
    Whole(Bytes),
    Client(oneshot::Receiver<Upload>),
    Messages,
    /// What an isolate sends is not kept.
    Isolate,
}

impl Sending {
    /// The event has an answer: nothing is sent again. Gives what was wrong with the client's body, if that ended it.
    fn settle(self) -> Option<ClientBodyError> {
        let Self::Client(mut upload) = self else {
            return None;
        };
        upload.close();
        let mut upload = upload.try_recv().ok()?;
        let broken = upload.broken.take();
        if broken.is_none() {
            tokio::spawn(upload.linger());
        }
        broken
    }

    /// The body to send again, after an instance that never began the event.
    async fn back(self) -> Option<EventBody> {
        match self {
            Self::Whole(bytes) => Some(EventBody::Whole(bytes)),
            Self::Client(upload) => upload.await.ok().filter(|upload| upload.broken.is_none()).map(EventBody::Client),
            Self::Messages => Some(EventBody::Messages),
            Self::Isolate => None,
        }
    }
}

fn send_body(deployed: &Arc<Deployed>, mux: &Arc<Mux>, stream: u32, request_id: RequestId, body: EventBody) -> Sending {
    match body {
        EventBody::Whole(bytes) => Sending::Whole(bytes),
        EventBody::Messages => Sending::Messages,
        EventBody::Client(upload) => {
            let (back, returned) = oneshot::channel();
            let outbound = Outbound::new(Arc::clone(mux), stream);
            tokio::spawn(upload.run(Arc::clone(deployed), request_id, outbound, back));
            Sending::Client(returned)
        }
        EventBody::Isolate(inbound) | EventBody::Session(_, inbound) => {
            tokio::spawn(crate::relay::pipe(inbound, Outbound::new(Arc::clone(mux), stream)));
            Sending::Isolate
        }
    }
}

fn no_answer(deployed: &Deployed, request_id: RequestId, reset: Reset) -> NoAnswer {
    match reset.code {
        ResetCode::Lost => NoAnswer::Lost(reset.text),
        ResetCode::Refused => NoAnswer::Unavailable(reset.text),
        ResetCode::Cancelled => NoAnswer::Cancelled,
        ResetCode::HeadTooLarge => {
            let used = reset.text.parse().unwrap_or_default();
            let allowed = u64::from(deployed.version.manifest.limits.response_header_bytes);
            NoAnswer::Failed(deployed.limit(&request_id.to_string(), LimitName::ResponseHeaderBytes, used, allowed))
        }
        ResetCode::Failed | ResetCode::Limit => match serde_json::from_str(&reset.text) {
            Ok(failure) => NoAnswer::Failed(deployed.map(failure).of_request(&request_id.to_string())),
            Err(_) => NoAnswer::Lost(reset.text),
        },
    }
}
