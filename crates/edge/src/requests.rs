//! Requests of clients: find the worker and its version, answer from its assets or send it the event.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use selvedge_assets::{Answer, AssetRequest, Decision};
use selvedge_model::{Failure, LimitName};

use crate::body::EdgeBody;
use crate::client_body::ClientBody;
use crate::client_head::{authority_of, forwarded_for, host_of};
use crate::deployed::{Assets, Deployed};
use crate::dispatch::{self, Answered, EventBody, NoAnswer};
use crate::edge::{Broken, Edge, RequestId};
use crate::events;
use crate::head::{self, BadHead};
use crate::late::Late;
use crate::pages::{self, About};
use crate::pool::Pool;
use crate::site::Site;
use crate::slot::NoVersion;
use crate::sockets;
use crate::table::Found;
use crate::trace::Beginning;
use crate::upload::{self, Upload};
use crate::watch::Watch;

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
            "the request does not name one host: send one Host header, of a name and perhaps a port",
        );
    };
    let host = host_of(&authority).trim_end_matches('.').to_ascii_lowercase();
    let id = edge.request_id();
    let target = match target(&edge, &inquiry, &host, id).await {
        Ok(target) => target,
        Err(response) => return response,
    };
    let cookie = target.cookie;
    let mut response = answer(edge, target.pool, inquiry, authority, id).await;
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// What a request is for.
struct Target {
    pool: Arc<Pool>,
    /// Makes the client's next requests get the same version.
    cookie: Option<HeaderValue>,
}

/// Finds the worker, and the version of it that this request gets.
async fn target(edge: &Arc<Edge>, inquiry: &Inquiry, host: &str, id: RequestId) -> Result<Target, Response<EdgeBody>> {
    let headers = &inquiry.parts.headers;
    let not_found = |message: &str| pages::plain(headers, StatusCode::NOT_FOUND, "no_worker", message);
    let wanted = inquiry.parts.uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    let (slot, cookie) = match edge.find(inquiry.scheme, host, wanted) {
        Found::Site(site) => match site.choose(headers, id) {
            Some(chosen) => (chosen.slot, chosen.cookie),
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
                return Err(does_not_start(edge, headers, &broken));
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
        Ok(pool) => Ok(Target { pool, cookie }),
        Err(error @ NoVersion::Missing { .. }) => Err(not_found(&error.to_string())),
        Err(error @ NoVersion::Unreadable { .. }) => {
            tracing::warn!(%error, "a version cannot be served");
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

pub fn about<'a>(edge: &Edge, deployed: &'a Deployed, request_id: &'a str) -> About<'a> {
    let manifest = &deployed.version.manifest;
    About { worker: &manifest.worker, version: &manifest.version, request_id, author: edge.config().author }
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

/// A client's request, for its trace: what the worker is given of it.
fn beginning_of(parts: &Parts, url: &str, meta: &str, further: &[(&'static str, &str)]) -> Beginning {
    let mut headers = parts.headers.clone();
    for name in parts.headers.keys().filter(|name| head::is_hop_by_hop(name)) {
        headers.remove(name);
    }
    for (name, value) in further {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(*name, value);
        }
    }
    let cf = serde_json::from_str(meta).ok().and_then(|mut meta: serde_json::Value| Some(meta.get_mut("cf")?.take()));
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
    let path = inquiry.parts.uri.path_and_query().map_or("/", |path| path.as_str());
    // `OPTIONS *` asks about the server as a whole.
    let slash = if path.starts_with('/') { "" } else { "/" };
    let url = format!("{}://{authority}{slash}{path}", inquiry.scheme);
    let client = inquiry.client.to_string();
    let forwarded = forwarded_for(&inquiry.parts.headers, &client);
    let meta = meta_of(&request_id, inquiry.parts.version, inquiry.tls);
    let further = [
        // What the request is for, whatever a header beside it says; HTTP/2 and 3 need not have one.
        ("host", authority.as_str()),
        ("cf-connecting-ip", client.as_str()),
        ("x-real-ip", client.as_str()),
        ("x-forwarded-for", &*forwarded),
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
    let event = || beginning_of(&inquiry.parts, &url, &meta, &further);
    let watch = Watch::begin(&edge, &deployed, id, None, event);
    match dispatch::send(&edge, &pool, id, &head, body, watch.as_ref()).await {
        Ok(answered) => {
            match response_of(&edge, &deployed, answered, upgrade, &inquiry.parts, &request_id, watch.as_ref()) {
                Ok(response) => match edge.broken_of(&deployed.key) {
                    Some(broken) => pages::with_notice(response, &broken.message),
                    None => response,
                },
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
    headers.insert("cf-ray", HeaderValue::from_str(request_id).unwrap_or(HeaderValue::from_static("")));
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let mut response = Response::new(EdgeBody::door(answered.reply.body, length, late));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}
