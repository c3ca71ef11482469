//! One event: find an instance, send the event, await the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use selvedge_assets::{Answer, AssetRequest, Decision};
use selvedge_door::{Chunk, Inbound, Mux, Opened, Outbound, Reply, Reset, ResetCode};
use selvedge_model::{Failure, LimitName};

use crate::body::EdgeBody;
use crate::deployed::{Assets, Deployed};
use crate::edge::{Edge, RequestId};
use crate::head::{self, BadHead};
use crate::instance::Instance;
use crate::pages::{self, About};
use crate::pool::{NoInstance, Pool};
use crate::sockets;

/// How many instances an event that none has begun is tried on.
const TRIES: usize = 4;

/// What an event brings with its head.
pub enum EventBody {
    /// All of it.
    Whole(Bytes),
    /// A client's body, as it arrives.
    Client(Incoming),
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
}

/// Ends an event whose caller goes away before the answer.
struct Cancel {
    mux: Arc<Mux>,
    stream: u32,
    armed: bool,
}

impl Drop for Cancel {
    fn drop(&mut self) {
        if self.armed {
            self.mux.reset(self.stream, &Reset::new(ResetCode::Cancelled, "the client went away"));
        }
    }
}

/// An answer, and the instance that gives it.
pub struct Answered {
    pub instance: Arc<Instance>,
    pub reply: Reply,
}

/// Sends an event to an instance of the worker.
pub async fn send(
    edge: &Arc<Edge>,
    pool: &Arc<Pool>,
    request_id: RequestId,
    head: &[u8],
    mut body: EventBody,
) -> Result<Answered, NoAnswer> {
    let wall = Duration::from_millis(pool.deployed.version.manifest.limits.wall_ms);
    let deadline = Instant::now() + wall;
    let mut reason = String::new();
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
        instance.name(stream, request_id, deadline);
        let opened = match instance.mux.open(stream, head, first, whole) {
            Ok(opened) => opened,
            Err(error) => {
                instance.unbegin(stream);
                reason = error.to_string();
                continue;
            }
        };
        send_body(&pool.deployed, &instance.mux, stream, request_id, &mut body);
        match await_reply(&instance, opened).await {
            Ok(reply) => return Ok(Answered { instance, reply }),
            Err(reset) if reset.code == ResetCode::Refused && matches!(body, EventBody::Whole(_)) => {
                reason = reset.text;
            }
            Err(reset) => return Err(no_answer(&pool.deployed, reset)),
        }
    }
    Err(NoAnswer::Unavailable(format!("no instance took the request: {reason}")))
}

async fn await_reply(instance: &Instance, opened: Opened) -> Result<Reply, Reset> {
    let mut cancel = Cancel { mux: Arc::clone(&instance.mux), stream: opened.stream, armed: true };
    let reply = opened.reply.await;
    cancel.armed = false;
    instance.answered(opened.stream);
    reply.unwrap_or_else(|_| Err(Reset::new(ResetCode::Lost, "the process that ran this worker ended")))
}

fn send_body(deployed: &Arc<Deployed>, mux: &Arc<Mux>, stream: u32, request_id: RequestId, body: &mut EventBody) {
    if matches!(body, EventBody::Whole(_) | EventBody::Messages) {
        return;
    }
    let outbound = Outbound::new(Arc::clone(mux), stream);
    match std::mem::replace(body, EventBody::Messages) {
        EventBody::Whole(_) | EventBody::Messages => {}
        EventBody::Client(incoming) => {
            tokio::spawn(upload(Arc::clone(deployed), request_id, incoming, outbound));
        }
        EventBody::Isolate(inbound) | EventBody::Session(_, inbound) => {
            tokio::spawn(crate::relay::pipe(inbound, outbound));
        }
    }
}

/// Sends a client's body on, as far as the limit allows.
async fn upload(deployed: Arc<Deployed>, request_id: RequestId, mut incoming: Incoming, mut outbound: Outbound) {
    let allowed = deployed.version.manifest.limits.request_body_bytes;
    let mut used = 0_u64;
    while let Some(frame) = incoming.frame().await {
        let data = match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => data,
            Ok(Err(_trailers)) => continue,
            Err(error) => {
                return outbound.fail(&Reset::new(ResetCode::Cancelled, error.to_string()));
            }
        };
        used += data.len() as u64;
        if used > allowed {
            let failure = deployed.limit(&request_id.to_string(), LimitName::RequestBodyBytes, used, allowed);
            let text = serde_json::to_string(&failure).unwrap_or_default();
            return outbound.fail(&Reset::new(ResetCode::Limit, text));
        }
        if outbound.send(Chunk::Data(data)).await.is_err() {
            // The isolate wants no more of it.
            return outbound.finish();
        }
    }
    outbound.finish();
}

fn no_answer(deployed: &Deployed, reset: Reset) -> NoAnswer {
    match reset.code {
        ResetCode::Lost => NoAnswer::Lost(reset.text),
        ResetCode::Refused => NoAnswer::Unavailable(reset.text),
        ResetCode::Cancelled => NoAnswer::Cancelled,
        ResetCode::Failed | ResetCode::Limit => match serde_json::from_str(&reset.text) {
            Ok(failure) => NoAnswer::Failed(deployed.map(failure)),
            Err(_) => NoAnswer::Lost(reset.text),
        },
    }
}

// === requests of clients ===

/// A client's request, as the pipeline carries it.
pub struct Inquiry {
    pub parts: Parts,
    pub body: Incoming,
    /// What becomes of the connection if the worker accepts a WebSocket.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// `http` or `https`.
    pub scheme: &'static str,
    pub client: std::net::IpAddr,
}

/// Answers a client's request.
pub async fn serve(edge: Arc<Edge>, inquiry: Inquiry) -> Response<EdgeBody> {
    let Some(authority) = authority_of(&inquiry.parts) else {
        return pages::plain(
            &inquiry.parts.headers,
            StatusCode::BAD_REQUEST,
            "no_host",
            "the request names no host: send a Host header",
        );
    };
    let host = host_of(&authority).to_ascii_lowercase();
    let Some(pool) = edge.worker_at(&host) else {
        if let Some(message) = edge.name_at(&host).and_then(|name| edge.broken_message(&name)) {
            return pages::broken(&inquiry.parts.headers, &message);
        }
        let names = edge.workers();
        let known =
            if edge.config().author { format!("; the workers here are: {}", names.join(", ")) } else { String::new() };
        let message = format!("no worker answers at {host}{known}");
        return pages::plain(&inquiry.parts.headers, StatusCode::NOT_FOUND, "no_worker", &message);
    };
    if let Some(response) = internal(&edge, &pool, &inquiry.parts).await {
        return response;
    }
    let request_id = edge.request_id();
    let deployed = Arc::clone(&pool.deployed);
    if let Some(assets) = &deployed.assets {
        let request = AssetRequest::new(
            &inquiry.parts.method,
            inquiry.scheme,
            &authority,
            inquiry.parts.uri.path_and_query().map_or("/", |path| path.as_str()),
            &inquiry.parts.headers,
        );
        match assets.set.decide(&request) {
            Decision::Answer(answer) => return asset(assets, &request, answer).await,
            Decision::RunWorker => {}
        }
    }
    if !deployed.has_code() {
        return pages::plain(&inquiry.parts.headers, StatusCode::NOT_FOUND, "not_found", "no asset has this path");
    }
    run(edge, pool, inquiry, authority, request_id).await
}

/// Serves a file of the worker.
pub async fn asset(assets: &Assets, request: &AssetRequest<'_>, answer: Answer) -> Response<EdgeBody> {
    match assets.set.respond(request, answer).await {
        Ok(response) => response.map(|body| EdgeBody::Boxed(body.map_err(Into::into).boxed())),
        Err(error) => {
            tracing::warn!(%error, "an asset could not be served");
            pages::plain(&HeaderMap::new(), StatusCode::INTERNAL_SERVER_ERROR, "asset", "the asset could not be read")
        }
    }
}

/// The paths under `/cdn-cgi/` that `wrangler dev` has too.
async fn internal(edge: &Arc<Edge>, pool: &Arc<Pool>, parts: &Parts) -> Option<Response<EdgeBody>> {
    if !edge.config().author || !parts.uri.path().starts_with("/cdn-cgi/") {
        return None;
    }
    let path = parts.uri.path();
    if path != "/cdn-cgi/handler/scheduled" && path != "/cdn-cgi/mf/scheduled" {
        return None;
    }
    Some(scheduled(edge, pool, parts).await)
}

/// Triggers the scheduled handler.
async fn scheduled(edge: &Arc<Edge>, pool: &Arc<Pool>, parts: &Parts) -> Response<EdgeBody> {
    let query: Vec<(String, String)> =
        url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let get = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let time = get("time").and_then(|time| time.parse().ok()).unwrap_or(now);
    let id = edge.request_id();
    let request_id = id.to_string();
    let meta = serde_json::json!({
        "id": request_id,
        "cron": get("cron").unwrap_or_default(),
        "scheduledTime": time,
    })
    .to_string();
    let about = about(edge, &pool.deployed, &request_id);
    let head = match head::open("scheduled", "", "", &meta, &HeaderMap::new(), &[]) {
        Ok(head) => head,
        Err(error) => return pages::plain(&parts.headers, StatusCode::BAD_REQUEST, "bad_request", &error.to_string()),
    };
    match send(edge, pool, id, &head, EventBody::Whole(Bytes::new())).await {
        Ok(answered) => {
            if let Some(body) = answered.reply.body.complete() {
                return Response::new(EdgeBody::full(body));
            }
            Response::new(EdgeBody::full("ok"))
        }
        Err(error) => no_answer_page(edge, &parts.headers, about, error),
    }
}

fn about<'a>(edge: &Edge, deployed: &'a Deployed, request_id: &'a str) -> About<'a> {
    let manifest = &deployed.version.manifest;
    About { worker: &manifest.worker, version: &manifest.version, request_id, author: edge.config().author }
}

fn authority_of(parts: &Parts) -> Option<String> {
    match parts.uri.authority() {
        Some(authority) => Some(authority.as_str().to_owned()),
        None => parts.headers.get(header::HOST)?.to_str().ok().filter(|host| !host.is_empty()).map(str::to_owned),
    }
}

fn host_of(authority: &str) -> &str {
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// What the worker is told of the request besides its head: the id, and `request.cf`.
fn meta_of(request_id: &str, version: http::Version) -> String {
    let protocol = match version {
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_3 => "HTTP/3",
        http::Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    format!(
        r#"{{"id":"{request_id}","cf":{{"colo":"LOCAL","httpProtocol":"{protocol}","tlsVersion":"","tlsCipher":"","edgeRequestKeepAliveStatus":1}}}}"#
    )
}

async fn run(
    edge: Arc<Edge>,
    pool: Arc<Pool>,
    mut inquiry: Inquiry,
    authority: String,
    id: RequestId,
) -> Response<EdgeBody> {
    let request_id = id.to_string();
    let deployed = Arc::clone(&pool.deployed);
    let about = about(&edge, &deployed, &request_id);
    let limits = &deployed.version.manifest.limits;
    if let Some(length) = content_length(&inquiry.parts.headers)
        && length > limits.request_body_bytes
    {
        let failure = deployed.limit(&request_id, LimitName::RequestBodyBytes, length, limits.request_body_bytes);
        return failed(&edge, &inquiry.parts.headers, about, &failure);
    }
    let path = inquiry.parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}://{authority}{path}", inquiry.scheme);
    let client = inquiry.client.to_string();
    let meta = meta_of(&request_id, inquiry.parts.version);
    let further = [
        ("cf-connecting-ip", client.as_str()),
        ("x-real-ip", client.as_str()),
        ("x-forwarded-proto", inquiry.scheme),
        ("cf-ray", request_id.as_str()),
    ];
    let upgrade = sockets::take_upgrade(&mut inquiry);
    let target = if upgrade.is_some() { "websocket" } else { "fetch" };
    let method = inquiry.parts.method.as_str();
    let head = match head::open(target, method, &url, &meta, &inquiry.parts.headers, &further) {
        Ok(head) => head,
        Err(error) => {
            return pages::plain(&inquiry.parts.headers, StatusCode::BAD_REQUEST, "bad_request", &error.to_string());
        }
    };
    let body = if upgrade.is_some() {
        EventBody::Messages
    } else if inquiry.body.is_end_stream() {
        EventBody::Whole(Bytes::new())
    } else {
        EventBody::Client(inquiry.body)
    };
    match send(&edge, &pool, id, &head, body).await {
        Ok(answered) => match response_of(&deployed, answered, upgrade, &inquiry.parts, &request_id) {
            Ok(response) => match edge.broken_message(about.worker) {
                Some(message) => pages::with_notice(response, &message),
                None => response,
            },
            Err(failure) => failed(&edge, &inquiry.parts.headers, about, &failure),
        },
        Err(NoAnswer::Failed(Failure::Exception { pass_through: true, exception })) if deployed.assets.is_some() => {
            edge.records().failed(about.worker, &request_id, &Failure::Exception { pass_through: true, exception });
            pass_through(&deployed, &inquiry.parts, inquiry.scheme, &authority).await
        }
        Err(error) => no_answer_page(&edge, &inquiry.parts.headers, about, error),
    }
}

/// The worker threw after `passThroughOnException()`: its assets answer as if it were not there.
async fn pass_through(deployed: &Deployed, parts: &Parts, scheme: &str, authority: &str) -> Response<EdgeBody> {
    let Some(assets) = &deployed.assets else {
        return pages::plain(&parts.headers, StatusCode::NOT_FOUND, "not_found", "nothing answers behind the worker");
    };
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let request = AssetRequest::new(&parts.method, scheme, authority, path, &parts.headers);
    let answer = assets.set.answer(&request);
    asset(assets, &request, answer).await
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn failed(edge: &Edge, headers: &HeaderMap, about: About<'_>, failure: &Failure) -> Response<EdgeBody> {
    edge.records().failed(about.worker, about.request_id, failure);
    pages::failure(headers, about, failure)
}

fn no_answer_page(edge: &Edge, headers: &HeaderMap, about: About<'_>, error: NoAnswer) -> Response<EdgeBody> {
    match error {
        NoAnswer::Failed(failure) => failed(edge, headers, about, &failure),
        NoAnswer::Lost(reason) | NoAnswer::Unavailable(reason) => {
            pages::unavailable(headers, about, StatusCode::SERVICE_UNAVAILABLE, &reason)
        }
        NoAnswer::Cancelled => pages::unavailable(headers, about, StatusCode::BAD_REQUEST, "the request was cancelled"),
    }
}

/// The client's response, from the worker's answer.
fn response_of(
    deployed: &Deployed,
    answered: Answered,
    upgrade: Option<sockets::Upgrade>,
    parts: &Parts,
    request_id: &str,
) -> Result<Response<EdgeBody>, Failure> {
    let allowed = deployed.version.manifest.limits.response_header_bytes;
    let (status, mut headers) = head::answer(&answered.reply.head, allowed).map_err(|error| match error {
        BadHead::TooLarge { used } => {
            deployed.limit(request_id, LimitName::ResponseHeaderBytes, used, u64::from(allowed))
        }
        error => Failure::Exception {
            exception: selvedge_model::Exception {
                name: "TypeError".into(),
                message: error.to_string(),
                stack: String::new(),
            },
            pass_through: false,
        },
    })?;
    let upgrade = match upgrade {
        Some(upgrade) if status == StatusCode::SWITCHING_PROTOCOLS => {
            return Ok(upgrade.accept(&parts.headers, headers, answered));
        }
        upgrade => upgrade,
    };
    if upgrade.is_some() {
        // No messages will follow.
        answered.instance.mux.finish(answered.reply.stream);
    }
    let whole = answered.reply.body.complete().is_some();
    if whole && parts.method != http::Method::HEAD {
        // The length is known better here.
        headers.remove(header::CONTENT_LENGTH);
    }
    headers.insert("cf-ray", HeaderValue::from_str(request_id).unwrap_or(HeaderValue::from_static("")));
    let mut response = Response::new(EdgeBody::door(answered.reply.body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}
