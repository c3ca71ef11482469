//! One event: find an instance, send the event, await the answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use selvedge_assets::{Answer, AssetRequest, Decision};
use selvedge_door::{Inbound, Mux, OpenError, Opened, Outbound, Reply, Reset, ResetCode};
use selvedge_model::{Failure, LimitName};
use tokio::sync::oneshot;

use crate::body::EdgeBody;
use crate::client_body::ClientBody;
use crate::deployed::{Assets, Deployed};
use crate::edge::{Broken, Edge, RequestId};
use crate::head::{self, BadHead};
use crate::instance::Instance;
use crate::late::Late;
use crate::pages::{self, About};
use crate::pool::{NoInstance, Pool};
use crate::sockets;
use crate::upload::{self, Upload};

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
        instance.name(stream, request_id, deadline);
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
        match await_reply(&instance, opened).await {
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
                sending.settle();
                return Err(no_answer(&pool.deployed, request_id, reset));
            }
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

/// The sending of an event's body, which may have to be done again.
enum Sending {
    Whole(Bytes),
    Client(oneshot::Receiver<Upload>),
    Messages,
    /// What an isolate sends is not kept.
    Isolate,
}

impl Sending {
    /// The event has an answer: nothing is sent again.
    fn settle(self) {
        if let Self::Client(mut upload) = self {
            upload.close();
            if let Ok(upload) = upload.try_recv() {
                tokio::spawn(upload.linger());
            }
        }
    }

    /// The body to send again, after an instance that never began the event.
    async fn back(self) -> Option<EventBody> {
        match self {
            Self::Whole(bytes) => Some(EventBody::Whole(bytes)),
            Self::Client(upload) => upload.await.ok().map(EventBody::Client),
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

// === requests of clients ===

/// A client's request, as the pipeline carries it.
pub struct Inquiry {
    pub parts: Parts,
    pub body: ClientBody,
    /// What becomes of the connection if the worker accepts a WebSocket.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// What of TLS the connection speaks, if any.
    pub tls: TlsTerms,
    pub client: std::net::IpAddr,
}

/// What a connection's two ends agreed on, in the words of `request.cf`; both empty without TLS.
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsTerms {
    /// As in `TLSv1.3`.
    pub version: &'static str,
    /// As in `AEAD-AES128-GCM-SHA256`.
    pub cipher: &'static str,
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
        if let Some(broken) = edge.name_at(&host).and_then(|name| edge.broken_of(&name)) {
            return does_not_start(&edge, &inquiry.parts.headers, &broken);
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

/// The worker has no version that builds and starts.
fn does_not_start(edge: &Edge, headers: &HeaderMap, broken: &Broken) -> Response<EdgeBody> {
    match &broken.failure {
        Some(failure @ Failure::Limit { error }) => {
            let request_id = edge.request_id().to_string();
            let author = edge.config().author;
            let about = About { worker: &error.worker, version: &error.version, request_id: &request_id, author };
            pages::failure(headers, about, failure)
        }
        _ => pages::broken(headers, &broken.message),
    }
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
fn meta_of(request_id: &str, version: http::Version, tls: TlsTerms) -> String {
    let TlsTerms { version: tls_version, cipher } = tls;
    let protocol = match version {
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_3 => "HTTP/3",
        http::Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    format!(
        r#"{{"id":"{request_id}","cf":{{"colo":"LOCAL","httpProtocol":"{protocol}","tlsVersion":"{tls_version}","tlsCipher":"{cipher}","edgeRequestKeepAliveStatus":1}}}}"#
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
        tokio::spawn(upload::linger(inquiry.body));
        let failure = deployed.limit(&request_id, LimitName::RequestBodyBytes, length, limits.request_body_bytes);
        return failed(&edge, &inquiry.parts.headers, about, &failure);
    }
    let path = inquiry.parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let url = format!("{}://{authority}{path}", inquiry.scheme);
    let client = inquiry.client.to_string();
    let meta = meta_of(&request_id, inquiry.parts.version, inquiry.tls);
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
        EventBody::Client(Upload::new(inquiry.body))
    };
    match send(&edge, &pool, id, &head, body).await {
        Ok(answered) => match response_of(&edge, &deployed, answered, upgrade, &inquiry.parts, &request_id) {
            Ok(response) => match edge.broken_of(about.worker) {
                Some(broken) => pages::with_notice(response, &broken.message),
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
    edge: &Arc<Edge>,
    deployed: &Arc<Deployed>,
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
    let late = || Late { edge: Arc::clone(edge), deployed: Arc::clone(deployed), request_id: request_id.to_owned() };
    let upgrade = match upgrade {
        Some(upgrade) if status == StatusCode::SWITCHING_PROTOCOLS => {
            return Ok(upgrade.accept(&parts.headers, headers, answered, late()));
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
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut response = Response::new(EdgeBody::door(answered.reply.body, length, late));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}
