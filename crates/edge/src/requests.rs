//! Requests of clients: find the worker and its version, answer from its assets or send it the event.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use http_body::Body;
use http_body_util::BodyExt;
use selvedge_assets::{Answer, AssetRequest, Decision};
use selvedge_model::{Failure, LimitName};
use selvedge_telemetry::Seldom;
use serde_json::Value;

use crate::body::EdgeBody;
use crate::calls::{Calls, Loops};
use crate::client_body::ClientBody;
use crate::client_head::{self, authority_of, forwarded_for, host_of};
use crate::client_url;
use crate::coding;
use crate::deployed::{Assets, Deployed};
use crate::dispatch::{self, Answered, EventBody, NoAnswer};
use crate::edge::{Broken, Edge, RequestId};
use crate::events;
use crate::head::{self, AnswerHead, BadHead};
use crate::hop_by_hop;
use crate::inside::Asker;
use crate::late::Late;
use crate::pages::{self, About};
use crate::pool::Pool;
use crate::sharing;
use crate::site::{NewKey, Site};
use crate::slot::NoVersion;
use crate::sockets;
use crate::table::Found;
use crate::trace::Beginning;
use crate::upload::{self, Upload};
use crate::watch::Watch;

/// A version's blobs cannot be read, which each request for it finds again.
static UNREADABLE: Seldom = Seldom::new();

/// What the client's own URL began with, as workers are told it.
const VISITOR_HTTP: &str = r#"{"scheme":"http"}"#;
const VISITOR_HTTPS: &str = r#"{"scheme":"https"}"#;
/// What every worker is told that its answer may be coded in: the edge makes of it what the client accepts, which
/// `request.cf.clientAcceptEncoding` has.
/// <https://developers.cloudflare.com/fundamentals/reference/http-headers/#accept-encoding>
const ACCEPTED_CODINGS: &str = "br, gzip";

/// A client's request, as the pipeline carries it.
pub struct Inquiry {
    pub parts: Parts,
    pub body: ClientBody,
    /// What becomes of the connection if the worker accepts a WebSocket.
    pub upgrade: Option<sockets::Handover>,
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
pub async fn serve(edge: Arc<Edge>, mut inquiry: Inquiry) -> Response<EdgeBody> {
    let id = edge.request_id();
    let scheme = inquiry.scheme;
    let (mut response, new_key) = match authority_in(&mut inquiry) {
        Ok(authority) => {
            client_head::clean(&mut inquiry.parts.headers);
            serve_at(edge, inquiry, authority, id).await
        }
        Err(message) => (pages::plain(&inquiry.parts.headers, StatusCode::BAD_REQUEST, "no_host", &message), None),
    };
    sign(&mut response, id);
    if let Some(cookie) = new_key.and_then(|key| key.cookie(scheme == "https")) {
        sharing::give(response.headers_mut(), cookie);
    }
    response
}

/// Says in a response which request it answers.
pub fn sign(response: &mut Response<EdgeBody>, id: RequestId) {
    if let Ok(ray) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert("cf-ray", ray);
    }
}

/// The host and port that a request is for, and its target too, as a URL has them; else why there are none.
fn authority_in(inquiry: &mut Inquiry) -> Result<String, String> {
    let Some(authority) = authority_of(&inquiry.parts) else {
        return Err("the request does not name one host: send one Host header, of a name and perhaps a port".into());
    };
    let target = inquiry.parts.uri.path_and_query().map_or("/", |target| target.as_str());
    match client_url::normal(inquiry.scheme, &authority, target) {
        Ok(None) => Ok(authority),
        Ok(Some(normal)) => {
            inquiry.parts.uri = Uri::from(normal.target);
            Ok(normal.authority)
        }
        Err(error) => Err(format!("the request is for no URL: {error}")),
    }
}

/// Answers a request for a host; gives the client's key too, where it needs one.
async fn serve_at(
    edge: Arc<Edge>,
    inquiry: Inquiry,
    authority: String,
    id: RequestId,
) -> (Response<EdgeBody>, Option<NewKey>) {
    let host = host_of(&authority).trim_end_matches('.').to_ascii_lowercase();
    match target(&edge, &inquiry, &host, id).await {
        Ok(Target { pool, new_key }) => (answer(edge, pool, inquiry, authority, id).await, new_key),
        Err(response) => (response, None),
    }
}

/// What a request is for.
struct Target {
    pool: Arc<Pool>,
    /// Makes the client's next requests get the same version.
    new_key: Option<NewKey>,
}

/// Finds the worker, and the version of it that this request gets.
async fn target(edge: &Arc<Edge>, inquiry: &Inquiry, host: &str, id: RequestId) -> Result<Target, Response<EdgeBody>> {
    let headers = &inquiry.parts.headers;
    let not_found = |message: &str| pages::plain(headers, StatusCode::NOT_FOUND, "no_worker", message);
    let wanted = inquiry.parts.uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    let asker = inquiry.parts.extensions.get().map(|Asker(worker)| worker);
    let (slot, new_key) = match edge.find(asker, inquiry.scheme, host, wanted) {
        Found::Site(site) => match site.choose(headers, id) {
            Some(chosen) => (chosen.slot, chosen.new_key),
            None => return Err(not_found(&format!("the worker {} has no deployed version", site.key.worker))),
        },
        Found::Preview { site, short } => {
            let Some(slot) = preview(edge, &site, &short).await else {
                let worker = &site.key.worker;
                return Err(not_found(&format!("the worker {worker} has no version whose id begins with {short}")));
            };
            (slot, None)
        }
        Found::Alias { site, version } => match edge.preview(&site, &version) {
            Some(slot) => (slot, None),
            None => return Err(not_found(&format!("the worker {} has no such version", site.key.worker))),
        },
        Found::Nothing => {
            if let Some(broken) = edge.broken_at(host) {
                return Err(does_not_start(edge, headers, id, &broken));
            }
            let known = if edge.config().author {
                format!("; the workers here are: {}", edge.workers().join(", "))
            } else {
                String::new()
            };
            return Err(not_found(&format!("no worker answers at {host}{known}")));
        }
    };
    match slot.pool(edge).await {
        Ok(pool) => Ok(Target { pool, new_key }),
        Err(error @ NoVersion::Missing { .. }) => Err(not_found(&error.to_string())),
        Err(error @ NoVersion::Unreadable { .. }) => {
            if let Some(times) = UNREADABLE.due() {
                tracing::warn!(%error, times, "a version cannot be served");
            }
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(pages::plain(headers, status, "unavailable", "the version of this worker cannot be loaded now"))
        }
    }
}

async fn preview(edge: &Edge, site: &Site, short: &str) -> Option<Arc<crate::slot::Slot>> {
    let version = site.versions.as_ref()?.find(&site.key, short).await?;
    edge.preview(site, &version)
}

/// Answers a request for a version: from its assets, or by its code.
async fn answer(
    edge: Arc<Edge>,
    pool: Arc<Pool>,
    inquiry: Inquiry,
    authority: String,
    id: RequestId,
) -> Response<EdgeBody> {
    if let Some(response) = events::internal(&edge, &pool, &inquiry.parts).await {
        return response;
    }
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
            Decision::Answer(answer) => {
                let response = asset(assets, &request, answer).await;
                edge.records().asset(response.status().as_u16());
                return response;
            }
            Decision::RunWorker => {}
        }
    }
    if !deployed.has_code() {
        return pages::plain(&inquiry.parts.headers, StatusCode::NOT_FOUND, "not_found", "no asset has this path");
    }
    run(edge, pool, inquiry, authority, id).await
}

/// The worker has no version that builds and starts.
fn does_not_start(edge: &Edge, headers: &HeaderMap, id: RequestId, broken: &Broken) -> Response<EdgeBody> {
    match &broken.failure {
        Some(failure @ Failure::Limit { error }) => {
            let request_id = id.to_string();
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

pub fn about<'a>(edge: &Edge, deployed: &'a Deployed, request_id: &'a str) -> About<'a> {
    let manifest = &deployed.version.manifest;
    About { worker: &manifest.worker, version: &manifest.version, request_id, author: edge.config().author }
}

/// What the worker is told of the request besides its head: the id, and `request.cf`.
fn meta_of(request_id: &str, parts: &Parts, tls: TlsTerms) -> String {
    let TlsTerms { version: tls_version, cipher } = tls;
    let protocol = match parts.version {
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_3 => "HTTP/3",
        http::Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let codings = client_head::accepted_codings(&parts.headers);
    let codings =
        codings.map(|codings| format!(r#","clientAcceptEncoding":{}"#, Value::from(codings))).unwrap_or_default();
    format!(
        r#"{{"id":"{request_id}","cf":{{"colo":"LOCAL","httpProtocol":"{protocol}","tlsVersion":"{tls_version}","tlsCipher":"{cipher}","edgeRequestKeepAliveStatus":1{codings}}}}}"#
    )
}

/// A client's request, for its trace: what the worker is given of it.
fn beginning_of(parts: &Parts, url: &str, meta: &str, further: &[(&'static str, &str)]) -> Beginning {
    let mut headers = parts.headers.clone();
    for (name, _) in parts.headers.iter().filter(|(name, value)| hop_by_hop::is_hop_by_hop(name, value)) {
        headers.remove(name);
    }
    for (name, value) in further {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(*name, value);
        }
    }
    let cf = serde_json::from_str(meta).ok().and_then(|mut meta: Value| Some(meta.get_mut("cf")?.take()));
    Beginning::request(url, parts.method.as_str(), &headers, cf.unwrap_or_default())
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
    let calls = match calls_of(&inquiry.parts) {
        Ok(calls) => calls,
        Err(error) => {
            let status = StatusCode::LOOP_DETECTED;
            return pages::plain(&inquiry.parts.headers, status, "loop_detected", &error.to_string());
        }
    };
    let path = inquiry.parts.uri.path_and_query().map_or("/", |path| path.as_str());
    // `OPTIONS *` asks about the server as a whole.
    let slash = if path.starts_with('/') { "" } else { "/" };
    let url = format!("{}://{authority}{slash}{path}", inquiry.scheme);
    let client = inquiry.client.to_string();
    let forwarded = forwarded_for(&inquiry.parts.headers, &client);
    let meta = meta_of(&request_id, &inquiry.parts, inquiry.tls);
    let further = [
        // What the request is for, whatever a header beside it says; HTTP/2 and 3 need not have one.
        ("host", authority.as_str()),
        ("cf-connecting-ip", client.as_str()),
        ("x-real-ip", client.as_str()),
        ("x-forwarded-for", &*forwarded),
        ("x-forwarded-proto", inquiry.scheme),
        ("cf-visitor", if inquiry.scheme == "https" { VISITOR_HTTPS } else { VISITOR_HTTP }),
        ("accept-encoding", ACCEPTED_CODINGS),
        ("cf-ray", request_id.as_str()),
    ];
    if let Some(refusal) = sockets::refusal(&inquiry.parts) {
        return refusal;
    }
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
    let event = || beginning_of(&inquiry.parts, &url, &meta, &further);
    let watch = Watch::begin(&edge, &deployed, id, None, event);
    match dispatch::send(&edge, &pool, id, &head, body, watch.as_ref(), &calls).await {
        Ok(answered) => {
            match response_of(&edge, &deployed, answered, upgrade, &inquiry.parts, &request_id, watch.as_ref()) {
                Ok(response) => {
                    let response = match edge.broken_of(&deployed.key) {
                        Some(broken) => pages::with_notice(response, &broken.message),
                        None => response,
                    };
                    coding::fit(&deployed.key.account, &inquiry.parts.method, &inquiry.parts.headers, response)
                }
                Err(failure) => {
                    if let Some(watch) = &watch {
                        watch.failed(&failure);
                    }
                    failed(&edge, &inquiry.parts.headers, about, &failure)
                }
            }
        }
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

/// The calls of workers that a request is one of: another worker's, where it came from one here.
fn calls_of(parts: &Parts) -> Result<Arc<Calls>, Loops> {
    match parts.extensions.get::<Arc<Calls>>() {
        Some(calls) => Ok(Arc::clone(calls)),
        None => Calls::arrived(&parts.headers).map(Arc::new),
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn failed(edge: &Edge, headers: &HeaderMap, about: About<'_>, failure: &Failure) -> Response<EdgeBody> {
    edge.records().failed(about.worker, about.request_id, failure);
    pages::failure(headers, about, failure)
}

pub fn no_answer_page(edge: &Edge, headers: &HeaderMap, about: About<'_>, error: NoAnswer) -> Response<EdgeBody> {
    match error {
        NoAnswer::Failed(failure) => failed(edge, headers, about, &failure),
        NoAnswer::Lost(reason) | NoAnswer::Unavailable(reason) => {
            pages::unavailable(headers, about, StatusCode::SERVICE_UNAVAILABLE, &reason)
        }
        NoAnswer::Cancelled => pages::unavailable(headers, about, StatusCode::BAD_REQUEST, "the request was cancelled"),
        NoAnswer::Body(error) => pages::plain(headers, error.status(), "bad_body", &error.to_string()),
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
    watch: Option<&Arc<Watch>>,
) -> Result<Response<EdgeBody>, Failure> {
    let allowed = deployed.version.manifest.limits.response_header_bytes;
    let head = head::answer(&answered.reply.head, allowed).map_err(|error| match error {
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
    let AnswerHead { status, reason, mut headers } = head;
    let late = || Late {
        edge: Arc::clone(edge),
        deployed: Arc::clone(deployed),
        request_id: request_id.to_owned(),
        watch: watch.cloned(),
        head_only: parts.method == http::Method::HEAD,
    };
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
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut response = Response::new(EdgeBody::door(answered.reply.body, length, late));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    if let Some(reason) = reason {
        response.extensions_mut().insert(reason);
    }
    Ok(response)
}
