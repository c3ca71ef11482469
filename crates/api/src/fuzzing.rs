//! The parsers that read what anybody may send, as pure functions: as handlers use them, and on to what the control plane
//! looks at before it asks its state.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Uri, header};
use selvedge_control::fuzzing as control;
use selvedge_control::{
    AuditQuery, BindingInput, DomainInput, EnvPatch, EnvValue, NewAccount, NewResource, NewToken, Page, Route,
    RouteInput, Secret,
};
use selvedge_model::{AssetsRecord, Share};
use selvedge_telemetry::Filters;
use serde::de::DeserializeOwned;

use crate::auth;
use crate::error::ApiError;
use crate::extract::{Asked, JsonBody, JsonList, MaybeJson, SecretJson, json, worker_name};
use crate::multipart::Multipart;
use crate::page::PageQuery;
use crate::routes::{
    accounts, assets, audit, content, d1, deployments, domains, hosts, kv, queues, r2, schedules, scripts, secrets,
    settings, subdomains, tails, tokens, versions, workers, workflows, zones,
};
use crate::upload;

/// Why something was not understood, as the client is told.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub message: String,
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self { status: error.status.as_u16(), message: error.message }
    }
}

/// What a body was understood to ask for, as far as there is something to say of it.
#[derive(Debug)]
pub enum Asking {
    /// With the subdomain that it would have.
    Account(NewAccount, String),
    Bindings(Vec<BindingInput>),
    /// What a manifest's files would be sent in.
    Buckets(Vec<Vec<String>>),
    Crons(Vec<String>),
    Domains(Vec<DomainInput>),
    Filters(Filters),
    Metadata(Option<AssetsRecord>),
    Resource(NewResource),
    Routes(Vec<Route>),
    Shares(Vec<Share>),
    Token(NewToken),
    Zone(String),
    Other,
}

/// What the parameters of a query were understood to ask for.
#[derive(Debug)]
pub enum Parameters {
    Audit(AuditQuery),
    Page(Page),
    Other,
}

type ReadBody = fn(&[u8]) -> Result<Asking, ApiError>;
type ReadQuery = fn(&str) -> Result<Parameters, ApiError>;

/// One for each body of JSON that is taken.
const BODIES: &[ReadBody] = &[
    |body| {
        let JsonBody(body) = taken::<JsonBody<accounts::CreateAccount>>(body)?;
        let new = NewAccount::from(body);
        let subdomain = control::check_account(&new)?;
        Ok(Asking::Account(new, subdomain))
    },
    |body| {
        let manifest: assets::Manifest = json(body, "the body")?;
        Ok(Asking::Buckets(control::check_manifest(&manifest.entries())?))
    },
    |body| resource(taken::<JsonBody<d1::CreateD1Database>>(body)?.0.into()),
    |body| {
        let JsonBody(body) = taken::<JsonBody<deployments::CreateDeployment>>(body)?;
        Ok(Asking::Shares(control::check_deployment(&body.deployment(false)?)?))
    },
    |body| domains_of(taken::<JsonList<domains::DomainOrigin>>(body)?.0),
    |body| domains_of(taken::<JsonBody<domains::PutDomains>>(body)?.0.origins),
    |body| {
        let JsonList(body) = taken::<JsonList<hosts::WorkerRoute>>(body)?;
        let worker = worker_name("worker")?;
        let routes = body.into_iter().map(|route| control::read_route(&route.into(), Some(worker.clone())));
        Ok(Asking::Routes(routes.collect::<Result<_, _>>()?))
    },
    |body| {
        let JsonBody(body) = taken::<JsonBody<hosts::ZoneRoute>>(body)?;
        let worker = body.worker()?;
        let input = RouteInput { pattern: body.pattern, ..RouteInput::default() };
        Ok(Asking::Routes(vec![control::read_route(&input, worker)?]))
    },
    |body| resource(taken::<JsonBody<kv::KvTitle>>(body)?.0.into()),
    |body| resource(taken::<JsonBody<queues::QueueInput>>(body)?.0.into()),
    |body| taken::<JsonBody<queues::QueuePatch>>(body).map(|_| Asking::Other),
    |body| {
        let JsonBody(body) = taken::<JsonBody<queues::ConsumerInput>>(body)?;
        control::check_resource_data(&body.fields()?)?;
        Ok(Asking::Other)
    },
    |body| resource(taken::<JsonBody<r2::CreateR2Bucket>>(body)?.0.into()),
    |body| {
        let JsonList(body) = taken::<JsonList<schedules::ScheduleInput>>(body)?;
        let crons = body.into_iter().map(|input| input.cron).collect();
        Ok(Asking::Crons(control::read_crons(crons)?))
    },
    |body| taken::<JsonBody<scripts::UsageModel>>(body).map(|_| Asking::Other),
    |body| secrets_of(taken::<SecretJson<secrets::PutSecret>>(body)?.0.secrets()?),
    |body| secrets_of(taken::<SecretJson<secrets::SecretsPatch>>(body)?.0.secrets()?),
    |body| {
        let JsonBody(body) = taken::<JsonBody<settings::ScriptSettingsChange>>(body)?;
        control::check_script_settings(&body.settings()?)?;
        Ok(Asking::Other)
    },
    |body| {
        let patch = settings::parse_patch(body)?;
        control::check_settings_patch(&patch)?;
        Ok(Asking::Bindings(patch.bindings.unwrap_or_default()))
    },
    |body| {
        let JsonBody(body) = taken::<JsonBody<subdomains::AccountSubdomain>>(body)?;
        control::check_subdomain(&body.subdomain)?;
        Ok(Asking::Other)
    },
    |body| taken::<JsonBody<subdomains::SetWorkerSubdomain>>(body).map(|_| Asking::Other),
    |body| {
        let MaybeJson(body) = taken::<MaybeJson<tails::CreateTail>>(body)?;
        Ok(Asking::Filters(Filters::parse(&body.filters, IpAddr::V4(Ipv4Addr::LOCALHOST))?))
    },
    |body| {
        let JsonBody(body) = taken::<JsonBody<tokens::CreateToken>>(body)?;
        let new = body.token()?;
        control::check_token(&new)?;
        Ok(Asking::Token(new))
    },
    |body| {
        let SecretJson(body) = taken::<SecretJson<versions::EditLatest>>(body)?;
        let (env, annotations) = body.edit()?;
        Ok(Asking::Bindings(control::check_env(&env, &annotations)?))
    },
    |body| resource(taken::<JsonBody<workflows::PutWorkflow>>(body)?.0.resource("workflow".into())),
    |body| {
        let JsonBody(body) = taken::<JsonBody<zones::ClaimZone>>(body)?;
        Ok(Asking::Zone(control::read_zone(&body.name)?))
    },
    |body| {
        let metadata = upload::parse_metadata(body)?;
        Ok(Asking::Metadata(control::check_metadata(metadata, &worker_name("worker")?)?))
    },
];

/// One for each query that is taken.
const QUERIES: &[ReadQuery] = &[
    |query| Ok(Parameters::Page(asked::<PageQuery>(query)?.page()?)),
    |query| Ok(Parameters::Audit(asked::<audit::AuditParams>(query)?.query()?)),
    other::<assets::AssetsParams>,
    other::<content::ContentParams>,
    other::<d1::D1Params>,
    other::<deployments::DeployParams>,
    other::<domains::DomainsParams>,
    other::<domains::ChangesetParams>,
    other::<kv::KvParams>,
    other::<versions::VersionsParams>,
    other::<workers::DeleteParams>,
    other::<zones::ZonesParams>,
    // Those of the list of queues.
    other::<Vec<(String, String)>>,
];

/// Reads a body of one of the kinds that there are: of which is for `kind` to say, whatever it is.
pub fn read_body(kind: usize, body: &[u8]) -> Result<Asking, Refusal> {
    match kind.checked_rem(BODIES.len()).and_then(|kind| BODIES.get(kind)) {
        Some(read) => Ok(read(body)?),
        None => Ok(Asking::Other),
    }
}

/// Reads the query of a URL, as one of those that there are.
pub fn read_query(kind: usize, query: &str) -> Result<Parameters, Refusal> {
    match kind.checked_rem(QUERIES.len()).and_then(|kind| QUERIES.get(kind)) {
        Some(read) => Ok(read(query)?),
        None => Ok(Parameters::Other),
    }
}

/// Reads a text as each of the texts that are not JSON: the name of a worker, what the header of a token says, a content
/// type with a boundary, a file in base64.
pub fn read_text(text: &[u8]) {
    if let Ok(text) = std::str::from_utf8(text) {
        // Whatever it is taken for.
        let _ = worker_name(text);
    }
    if let Ok(value) = HeaderValue::from_bytes(text) {
        let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.clone()), (header::CONTENT_TYPE, value)]);
        let _ = auth::token(&headers);
        let _ = assets::session_token(&headers);
        let _ = Multipart::of_request(&headers, Body::empty(), upload::LIMITS);
    }
    let _ = assets::decoded("file", text);
}

fn resource(new: NewResource) -> Result<Asking, ApiError> {
    control::check_resource(&new)?;
    Ok(Asking::Resource(new))
}

fn domains_of(origins: Vec<domains::DomainOrigin>) -> Result<Asking, ApiError> {
    let inputs = origins.into_iter().map(domains::DomainOrigin::input).collect();
    Ok(Asking::Domains(control::read_domains(inputs)?))
}

fn secrets_of(secrets: BTreeMap<String, Option<Secret>>) -> Result<Asking, ApiError> {
    let env: EnvPatch = secrets.into_iter().map(|(name, secret)| (name, secret.map(EnvValue::Secret))).collect();
    Ok(Asking::Bindings(control::check_env(&env, &BTreeMap::new())?))
}

/// What a handler takes of a request with that body.
fn taken<E: FromRequest<(), Rejection = ApiError>>(body: &[u8]) -> Result<E, ApiError> {
    let request = Request::new(Body::from(Bytes::copy_from_slice(body)));
    now(E::from_request(request, &())).unwrap_or_else(|| Err(ApiError::bad_body("the body is not there")))
}

/// What a handler takes of a request with that query.
fn asked<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let uri: Uri = format!("/?{query}").parse().map_err(|_| ApiError::bad_parameter("the query is not one"))?;
    let mut request = http::Request::new(());
    *request.uri_mut() = uri;
    let (mut parts, ()) = request.into_parts();
    let taken = now(Asked::<T>::from_request_parts(&mut parts, &()));
    taken.unwrap_or_else(|| Err(ApiError::bad_parameter("the query is not there"))).map(|Asked(value)| value)
}

fn other<T: DeserializeOwned>(query: &str) -> Result<Parameters, ApiError> {
    asked::<T>(query).map(|_| Parameters::Other)
}

/// Reads the text of an upload's `metadata` part. True: it was understood.
pub fn parse_metadata(text: &[u8]) -> bool {
    upload::parse_metadata(text).is_ok()
}

/// Reads a body as a multipart upload with that boundary, and puts it together. True: it was understood.
pub fn parse_upload(boundary: &str, body: &[u8]) -> bool {
    let body = Bytes::copy_from_slice(body);
    let stream = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
    let mut multipart = Multipart::new(boundary.to_owned(), stream, upload::LIMITS);
    let mut parts = Vec::new();
    let read = async {
        while let Some(part) = multipart.next().await.ok()? {
            parts.push(part);
        }
        upload::assemble(parts).ok()
    };
    now(read).flatten().is_some()
}

/// What comes of something that waits for nothing but its own turn.
fn now<F: Future>(future: F) -> Option<F::Output> {
    futures_util::FutureExt::now_or_never(Ready(Box::pin(future)))
}

/// Polls what never waits for anything but its own turn, until it is done.
struct Ready<F>(std::pin::Pin<Box<F>>);

/// Turns that a body can take at most: one for each piece of it, and each part of it.
const TURNS_MAX: usize = 1_000_000;

impl<F: Future> Future for Ready<F> {
    type Output = F::Output;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<F::Output> {
        for _ in 0..TURNS_MAX {
            if let std::task::Poll::Ready(output) = self.0.as_mut().poll(cx) {
                return std::task::Poll::Ready(output);
            }
        }
        std::task::Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_is_read_from_its_bytes_alone() {
        let part = |name: &str, kind: &str, body: &str| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {kind}\r\n\r\n{body}\r\n")
        };
        let metadata = part("metadata", "application/json", r#"{"main_module":"i.js"}"#);
        let module = part("i.js", "application/javascript+module", &"x".repeat(100_000));
        let body = metadata + &module + "--b--\r\n";
        assert!(parse_upload("b", body.as_bytes()));
        assert!(!parse_upload("c", body.as_bytes()));
        assert!(!parse_upload("b", &body.as_bytes()[..body.len() - 9]));
        assert!(parse_metadata(br#"{"bindings":[]}"#) && !parse_metadata(b"[]"));
    }

    #[test]
    fn bodies_and_queries_are_read_as_their_handlers_read_them() {
        let account = read_body(0, br#"{"name":"Tools & Toys"}"#).unwrap();
        assert!(matches!(account, Asking::Account(_, subdomain) if subdomain == "tools-toys"));
        let refused = read_body(0, br#"{"name":5}"#).unwrap_err();
        assert!(refused.status == 400 && refused.message.contains("`name`"), "{refused:?}");
        assert!(matches!(read_body(BODIES.len(), br#"{"name":"A"}"#), Ok(Asking::Account(..))));
        // What need not be there.
        assert!(BODIES.iter().any(|read| matches!(read(b" "), Ok(Asking::Filters(_)))));
        for read in BODIES {
            assert!(read(b"\xff").is_err() && read("[".repeat(200).as_bytes()).is_err());
        }

        let page = read_query(0, "page=3&per_page=10").unwrap();
        assert!(matches!(page, Parameters::Page(Page { offset: 20, limit: 10 })), "{page:?}");
        let refused = read_query(1, "since=yesterday").unwrap_err();
        assert!(refused.status == 400 && refused.message.contains("`since`"), "{refused:?}");
        assert!(matches!(read_query(QUERIES.len(), ""), Ok(Parameters::Page(_))));
    }
}
