//! The edge's side of what a worker asks of the world.
//!
//! The first field of a stream's head is its target: `fetch` is the world, `service:NAME` and `rpc:NAME` a service
//! binding of this worker, `self:NAME` and `selfrpc:NAME` an entrypoint of its own, `assets:NAME` its files, `cache` the
//! HTTP cache, `connect` a TCP connection, `ratelimit:NAME` a rate limit. Targets name bindings of the worker that
//! the instance was made for; there is no way to name another's.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use selvedge_assets::{Answer, AssetRequest, Decision};
use selvedge_door::{Head, Inbound, Outbound, Reset, ResetCode};
use selvedge_model::{Failure, TraceEvent, WorkerKey, check_json};
use selvedge_outbound::{Denied, FetchOptions, RedirectMode, RequestBody};
use serde::Deserialize;
use url::Url;

use crate::admit;
use crate::body::DoorBody;
use crate::cached;
use crate::calls::Calls;
use crate::connections;
use crate::deployed::Assets;
use crate::dispatch::{self, EventBody, NoAnswer};
use crate::edge::Edge;
use crate::events::EventError;
use crate::head;
use crate::inside::Here;
use crate::instance::Instance;
use crate::pages;
use crate::pool::Pool;
use crate::rate_limits;
use crate::relay;
use crate::requests;
use crate::sockets;
use crate::trace::Beginning;
use crate::watch::Watch;

/// What the runtime says of a subrequest besides its head.
#[derive(Debug, Default, Deserialize)]
pub struct Meta {
    /// The event that asks.
    #[serde(default)]
    pub event: u32,
    #[serde(default)]
    pub redirect: Option<String>,
    #[serde(default)]
    pub websocket: bool,
    #[serde(default)]
    pub cache: Option<String>,
    #[serde(default, rename = "ignoreMethod")]
    pub ignore_method: bool,
    /// What `request.cf` of a service binding's request carries on.
    #[serde(default)]
    pub cf: Option<serde_json::Value>,
    /// The method of an RPC call.
    #[serde(default)]
    pub method: Option<String>,
    /// What a worker gives an entrypoint of its own as `ctx.props`.
    #[serde(default)]
    pub props: Option<serde_json::Value>,
    /// Whether a TCP connection is secured at once.
    #[serde(default)]
    pub secure: bool,
    /// What a rate limit counts under.
    #[serde(default)]
    pub key: Option<String>,
}

/// Something that a worker asks.
pub struct Ask {
    pub edge: Arc<Edge>,
    pub instance: Arc<Instance>,
    pub stream: u32,
    pub head: Head,
    pub meta: Meta,
}

/// Answers one stream that an isolate opened. Boxed, because an answer may start another worker's instance, whose task
/// answers streams in turn.
pub fn answer(
    edge: Arc<Edge>,
    instance: Arc<Instance>,
    stream: u32,
    head: Head,
    body: Inbound,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(answer_one(edge, instance, stream, head, body))
}

async fn answer_one(edge: Arc<Edge>, instance: Arc<Instance>, stream: u32, head: Head, body: Inbound) {
    // Some of it is what the worker gave, which may be what must not be read.
    let meta = match check_json(head.field(3)) {
        Ok(()) => serde_json::from_slice(head.field(3)).unwrap_or_default(),
        Err(error) => {
            let message = format!("what is given as `cf` or `props` is not taken: {error}");
            return instance.mux.reset(stream, &Reset::new(ResetCode::Failed, message));
        }
    };
    let ask = Ask { edge, instance, stream, head, meta };
    let target = ask.head.text(0).to_owned();
    if let Some(name) = target.strip_prefix("ratelimit:") {
        return rate_limits::answer(&ask, name);
    }
    if let Err(failure) = admit::subrequest(&ask.instance, ask.meta.event) {
        return ask.refuse(&failure);
    }
    match target.split_once(':').unwrap_or((target.as_str(), "")) {
        ("fetch", _) if ask.meta.websocket => sockets::dial(&ask, body).await,
        ("fetch", _) => fetch(&ask, body).await,
        ("service", binding) => service(&ask, "fetch", binding, body).await,
        ("rpc", binding) => service(&ask, "rpc", binding, body).await,
        ("self", entrypoint) => loopback(&ask, "fetch", entrypoint, body).await,
        ("selfrpc", entrypoint) => loopback(&ask, "rpc", entrypoint, body).await,
        ("assets", binding) => assets(&ask, binding).await,
        ("cache", _) => cached::answer(&ask, body).await,
        ("connect", _) => connections::connect(&ask, body).await,
        _ => ask.fail(&format!("the runtime asked for \"{target}\", which this edge does not have")),
    }
}

impl Ask {
    /// Ends the stream with an error that the worker sees as an exception.
    pub fn fail(&self, message: &str) {
        self.instance.mux.reset(self.stream, &Reset::new(ResetCode::Failed, message));
    }

    fn refuse(&self, failure: &Failure) {
        self.fail(&pages::sentence(failure));
    }

    /// Answers with a head and a body that is there.
    pub fn respond(&self, status: StatusCode, meta: &str, headers: &HeaderMap, body: Bytes) {
        match head::respond(status, meta, headers) {
            Ok(head) => self.instance.mux.respond(self.stream, &head, body, true, true),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Answers with a head; the body is to be sent to what this gives.
    pub fn start(&self, status: StatusCode, meta: &str, headers: &HeaderMap) -> Option<Outbound> {
        match head::respond(status, meta, headers) {
            Ok(head) => {
                self.instance.mux.respond(self.stream, &head, Bytes::new(), false, true);
                Some(Outbound::new(Arc::clone(&self.instance.mux), self.stream))
            }
            Err(error) => {
                self.fail(&error.to_string());
                None
            }
        }
    }

    /// The way to the world, for the account of the worker.
    pub fn world(&self) -> selvedge_outbound::Outbound {
        self.edge.outbound().of(self.instance.account().as_str())
    }

    /// The calls of workers that the event which asks is one of.
    pub fn calls(&self) -> Arc<Calls> {
        self.instance.calls(self.meta.event)
    }

    /// The sending half of the stream, for what follows a head already sent.
    pub fn outbound(&self) -> Outbound {
        Outbound::new(Arc::clone(&self.instance.mux), self.stream)
    }
}

// === the world ===

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What a failed request says to the worker.
pub fn outbound_error(error: &dyn std::error::Error) -> String {
    chain(error)
}

async fn fetch(ask: &Ask, body: Inbound) {
    let request = match request_of(ask, body) {
        Ok(request) => request,
        Err(message) => return ask.fail(&message),
    };
    let redirect = match ask.meta.redirect.as_deref() {
        Some("manual") => RedirectMode::Manual,
        Some("error") => RedirectMode::Error,
        _ => RedirectMode::Follow,
    };
    let Some(permit) = admit::connection(&ask.instance, ask.meta.event).await else {
        return ask.fail("the worker ended");
    };
    let first = std::sync::atomic::AtomicBool::new(true);
    let admit = |_: &Uri| {
        // The first was counted when the stream opened.
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            return Ok(());
        }
        admit::subrequest(&ask.instance, ask.meta.event).map_err(|_| Denied)
    };
    let options = FetchOptions { redirect, decode: true };
    let calls = ask.calls();
    let here = Here { edge: &ask.edge, deployed: &ask.instance.deployed, calls: &calls };
    let fetched = ask.world().fetch_past(request, options, &admit, Some(&here)).await;
    drop(permit);
    match fetched {
        Err(error) => ask.fail(&chain(&error)),
        Ok(response) => {
            let meta = serde_json::json!({ "url": response.url, "decoded": response.decoded }).to_string();
            if let Some(outbound) = ask.start(response.status, &meta, &response.headers) {
                relay::send(response.body, outbound).await;
            }
        }
    }
}

fn request_of(ask: &Ask, body: Inbound) -> Result<http::Request<RequestBody>, String> {
    let method = Method::from_bytes(ask.head.field(1)).map_err(|error| error.to_string())?;
    let url = ask.head.text(2);
    let uri: Uri = url.parse().map_err(|error| format!("\"{url}\" is not a URL that can be fetched: {error}"))?;
    let mut headers = head::headers(&ask.head, 4).map_err(|error| error.to_string())?;
    ask.calls().mark(&mut headers);
    let length = headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let body = match (body.complete(), length) {
        (Some(bytes), _) if bytes.is_empty() => RequestBody::empty(),
        (Some(bytes), _) => RequestBody::full(bytes),
        (None, Some(length)) => RequestBody::stream_of_length(DoorBody::upload(body), length),
        (None, None) => RequestBody::stream(DoorBody::upload(body)),
    };
    let mut request = http::Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

// === other workers ===

async fn service(ask: &Ask, kind: &str, binding: &str, body: Inbound) {
    let Some(target) = ask.instance.deployed.services.get(binding).cloned() else {
        return ask.fail(&format!("this worker has no service binding \"{binding}\""));
    };
    let key = ask.instance.deployed.key.sibling(target.worker);
    let pool = match pool_for(ask, &key).await {
        Ok(pool) => pool,
        Err(EventError::NoWorker) => {
            let name = &key.worker;
            return ask
                .fail(&format!("the service binding leads to a worker named \"{name}\", which is not running here"));
        }
        Err(error) => return ask.fail(&error.to_string()),
    };
    // Its files answer before its code, as they do for clients.
    if kind == "fetch"
        && target.entrypoint.is_none()
        && !ask.meta.websocket
        && let Some(assets) = &pool.deployed.assets
        && let Some((method, headers, url)) = wanted(ask)
    {
        let request = asset_request(&method, &headers, &url);
        if let Decision::Answer(answer) = assets.set.decide(&request) {
            return give(ask, assets, &request, answer).await;
        }
    }
    if !pool.deployed.has_code() {
        let name = &key.worker;
        return ask.fail(&format!("the worker \"{name}\" is static files alone: it answers fetch() and nothing else"));
    }
    worker(ask, kind, &pool, target.entrypoint.as_deref(), target.props, body).await;
}

/// The version of another worker that the ask gets: a key or an override that it carries counts, as a client's does.
/// <https://developers.cloudflare.com/workers/versions-and-deployments/gradual-deployments/version-affinity/>
async fn pool_for(ask: &Ask, key: &WorkerKey) -> Result<Arc<Pool>, EventError> {
    let site = ask.edge.site(key).ok_or(EventError::NoWorker)?;
    // Headers that are none fail the ask later, with a message.
    let headers = head::headers(&ask.head, 4).unwrap_or_default();
    let chosen = site.choose(&headers, ask.edge.request_id()).ok_or(EventError::NoWorker)?;
    Ok(chosen.slot.pool(&ask.edge).await?)
}

async fn loopback(ask: &Ask, kind: &str, entrypoint: &str, body: Inbound) {
    // Its own version, even where another serves by now.
    let Some(pool) = ask.instance.pool.upgrade() else {
        return ask.fail("this version of the worker serves no more");
    };
    let entrypoint = Some(entrypoint).filter(|name| !name.is_empty());
    worker(ask, kind, &pool, entrypoint, ask.meta.props.clone(), body).await;
}

/// Sends the ask on as an event of another worker, and its answer back.
async fn worker(
    ask: &Ask,
    kind: &str,
    pool: &Arc<Pool>,
    entrypoint: Option<&str>,
    props: Option<serde_json::Value>,
    mut body: Inbound,
) {
    let calls = ask.calls();
    if let Err(error) = calls.call() {
        return ask.fail(&error.to_string());
    }
    let kind = if ask.meta.websocket { "websocket" } else { kind };
    let target = entrypoint.map_or_else(|| kind.to_owned(), |entrypoint| format!("{kind}:{entrypoint}"));
    let id = ask.edge.request_id();
    let request_id = id.to_string();
    let meta = serde_json::json!({
        "id": request_id,
        // Between workers bodies go as they are, whatever their headers say of a coding.
        "internal": true,
        "cf": ask.meta.cf,
        "props": props,
        "method": ask.meta.method,
    });
    let head = head::headers(&ask.head, 4).map_err(|error| error.to_string()).and_then(|headers| {
        head::open(&target, ask.head.text(1), ask.head.text(2), &meta.to_string(), &headers, &[])
            .map_err(|error| error.to_string())
    });
    let head = match head {
        Ok(head) => head,
        Err(message) => return ask.fail(&message),
    };
    let body = match body.complete() {
        Some(bytes) => EventBody::Whole(bytes),
        None if kind == "rpc" => EventBody::Session(body.take_first(), body),
        None => EventBody::Isolate(body),
    };
    let event = || match &ask.meta.method {
        Some(method) if kind == "rpc" => Beginning::from(TraceEvent::Rpc { rpc_method: method.clone() }),
        _ => beginning_of(ask),
    };
    let untold = ask.instance.watch(ask.meta.event).is_some_and(|watch| watch.is_untold());
    let begin = if untold { Watch::begin_untold } else { Watch::begin };
    let watch = begin(&ask.edge, &pool.deployed, id, entrypoint, event);
    match dispatch::send(&ask.edge, pool, id, &head, body, watch.as_ref(), &calls).await {
        Ok(answered) => {
            if let ("rpc", Some(watch)) = (kind, &watch) {
                watch.has_no_status();
            }
            let reply = answered.reply;
            match reply.body.complete() {
                Some(bytes) => ask.instance.mux.respond(ask.stream, &reply.head.0, bytes, true, true),
                None => {
                    ask.instance.mux.respond(ask.stream, &reply.head.0, Bytes::new(), false, true);
                    relay::pipe(reply.body, ask.outbound()).await;
                }
            }
        }
        Err(NoAnswer::Failed(failure)) => {
            ask.edge.records().failed(pool.deployed.key.worker.as_str(), &request_id, &failure);
            ask.fail(&pages::sentence(&failure));
        }
        Err(NoAnswer::Lost(reason) | NoAnswer::Unavailable(reason)) => ask.fail(&reason),
        Err(NoAnswer::Cancelled | NoAnswer::Body(_)) => ask.fail("the request was cancelled"),
    }
}

/// A request between workers, for its trace.
fn beginning_of(ask: &Ask) -> Beginning {
    let headers = head::headers(&ask.head, 4).unwrap_or_default();
    Beginning::request(ask.head.text(2), ask.head.text(1), &headers, ask.meta.cf.clone().unwrap_or_default())
}

// === assets ===

async fn assets(ask: &Ask, binding: &str) {
    let deployed = &ask.instance.deployed;
    let Some(assets) = deployed.assets.as_ref().filter(|assets| assets.binding.as_deref() == Some(binding)) else {
        return ask.fail(&format!("this worker has no assets binding \"{binding}\""));
    };
    let Some((method, headers, url)) = wanted(ask) else {
        return ask.fail("the request to the assets binding is not a valid one");
    };
    let request = asset_request(&method, &headers, &url);
    let answer = assets.set.answer(&request);
    give(ask, assets, &request, answer).await;
}

/// What is asked of files: method, headers and URL.
fn wanted(ask: &Ask) -> Option<(Method, HeaderMap, Url)> {
    let mut headers = head::headers(&ask.head, 4).ok()?;
    // Inside, bodies are plain: a client's wish that came along with its request is none of the worker's.
    headers.remove(header::ACCEPT_ENCODING);
    Some((Method::from_bytes(ask.head.field(1)).ok()?, headers, Url::parse(ask.head.text(2)).ok()?))
}

fn asset_request<'a>(method: &'a Method, headers: &'a HeaderMap, url: &Url) -> AssetRequest<'a> {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = format!("{}{query}", url.path());
    AssetRequest::new(method, url.scheme(), url.authority(), &path, headers)
}

async fn give(ask: &Ask, assets: &Assets, request: &AssetRequest<'_>, answer: Answer) {
    let response = requests::asset(assets, request, answer).await;
    let (parts, body) = response.into_parts();
    if let Some(outbound) = ask.start(parts.status, "", &parts.headers) {
        relay::send(body, outbound).await;
    }
}
