//! Tails: what becomes of a worker's events, as it happens, over a WebSocket.

use std::time::Duration;

use axum::extract::State as Extract;
use axum::response::Response;
use http::HeaderMap;
use selvedge_control::Permission;
use selvedge_model::WorkerKey;
use selvedge_telemetry::{Filters, TailError, TailSession};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{On, TailRead};
use crate::connection::{Client, Encrypted};
use crate::envelope::{Answer, Envelope, Nothing, answer};
use crate::error::ApiError;
use crate::extract::{MaybeJson, Named, OfWorker};
use crate::page::time;
use crate::socket;

pub fn router() -> Router {
    Router::default().routes(routes!(list_tails, create_tail)).routes(routes!(delete_tail))
}

/// The way of the WebSocket, whose capability is in its path.
pub fn socket_router() -> Router {
    Router::default().routes(routes!(connect_tail))
}

/// A tail.
#[derive(Serialize, ToSchema)]
struct Tail {
    id: String,
    /// Where its WebSocket is. Who has it can read the tail.
    url: String,
    #[schema(format = DateTime)]
    expires_at: String,
}

/// A tail to open.
#[derive(Default, Deserialize, ToSchema)]
pub struct CreateTail {
    /// All must hold: `{"sampling_rate": 0.5}`, `{"outcome": ["exception"]}`, `{"method": ["GET"]}`, `{"header": {"key":
    /// "x", "query": "y"}}`, `{"client_ip": ["self"]}`, `{"query": "text"}`, `{"scriptVersion": "…"}`.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Object>>)]
    pub filters: Value,
}

/// Which tail.
#[derive(Deserialize)]
struct TailPath {
    tail_id: String,
}

impl From<TailError> for ApiError {
    fn from(error: TailError) -> Self {
        match error {
            TailError::Filters { .. } | TailError::Filter { .. } => Self::bad_body(error.to_string()),
            TailError::WorkerBusy { .. } | TailError::AccountBusy { .. } | TailError::Busy { .. } => {
                Self::new(http::StatusCode::CONFLICT, crate::error::code::TOO_MANY, error.to_string())
            }
            TailError::NoRandomness { .. } => Self::internal(&error),
        }
    }
}

/// The worker of a tail, which must be there: as far as the token may know.
async fn worker(state: &crate::state::ApiState, on: &On<TailRead>, worker: &OfWorker) -> Result<WorkerKey, ApiError> {
    if on.caller.require(&on.account, Permission::WorkersRead).is_ok() {
        state.control.worker(&on.caller, &on.account, &worker.0).await?;
    }
    Ok(WorkerKey::new(on.account.clone(), worker.0.clone()))
}

/// Where a tail's WebSocket is: as clients reach this API.
fn url(public: Option<&str>, headers: &HeaderMap, encrypted: bool, id: &str) -> Result<String, ApiError> {
    if let Some(public) = public {
        let base = public.trim_end_matches('/');
        let base = match base.split_once("://") {
            Some(("https", rest)) => format!("wss://{rest}"),
            Some(("http", rest)) => format!("ws://{rest}"),
            _ => base.to_owned(),
        };
        return Ok(format!("{base}/tails/{id}"));
    }
    let host = headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    let host =
        host.ok_or_else(|| ApiError::bad_parameter("the request has no header Host to make the tail's URL of"))?;
    let scheme = if encrypted { "wss" } else { "ws" };
    Ok(format!("{scheme}://{host}/tails/{id}"))
}

fn shown(
    state: &crate::state::ApiState,
    session: TailSession,
    headers: &HeaderMap,
    encrypted: bool,
) -> Result<Tail, ApiError> {
    let url = url(state.config.api_url.as_deref(), headers, encrypted, &session.id)?;
    Ok(Tail { id: session.id, url, expires_at: time(session.expires_ms) })
}

/// How many tails of a worker are open. What they are is known to who opened them alone.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/tails", tag = "tails",
    responses((status = 200, body = Envelope<Vec<OpenTail>>))
)]
async fn list_tails(Extract(state): State, on: On<TailRead>, name: OfWorker) -> Answer<Vec<OpenTail>> {
    let key = worker(&state, &on, &name).await?;
    let tails = state.tails.sessions(&key);
    answer(tails.into_iter().map(|tail| OpenTail { expires_at: time(tail.expires_ms) }).collect())
}

/// A tail that is open.
#[derive(Serialize, ToSchema)]
struct OpenTail {
    #[schema(format = DateTime)]
    expires_at: String,
}

/// Opens a tail. What happens from now on waits for who connects to its WebSocket.
#[utoipa::path(
    post, path = "/accounts/{account_id}/workers/scripts/{script_name}/tails", tag = "tails",
    request_body = CreateTail, responses((status = 200, body = Envelope<Tail>))
)]
async fn create_tail(
    Extract(state): State,
    on: On<TailRead>,
    name: OfWorker,
    axum::Extension(client): axum::Extension<Client>,
    axum::Extension(tls): axum::Extension<Encrypted>,
    headers: HeaderMap,
    MaybeJson(body): MaybeJson<CreateTail>,
) -> Answer<Tail> {
    let key = worker(&state, &on, &name).await?;
    let filters = Filters::parse(&body.filters, client.0.ip())?;
    // Before it is opened: a tail that nobody can find would wait for nobody.
    url(state.config.api_url.as_deref(), &headers, tls.0, "")?;
    let now_ms = state.control.now_ms();
    let left = on.caller.expires_ms().map(|expires_ms| Duration::from_millis(expires_ms.saturating_sub(now_ms)));
    let session = state.tails.open(key, filters, on.caller.token_id(), left)?;
    // After it is opened: of a token that is revoked from now on, the tail is closed by who revokes it.
    if let Err(error) = state.control.check_caller(&on.caller).await {
        state.tails.close(&session.id);
        return Err(error.into());
    }
    answer(shown(&state, session, &headers, tls.0)?)
}

/// Closes a tail.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/workers/scripts/{script_name}/tails/{tail_id}", tag = "tails",
    responses((status = 200, body = Envelope<Nothing>))
)]
async fn delete_tail(
    Extract(state): State,
    on: On<TailRead>,
    OfWorker(name): OfWorker,
    Named(path): Named<TailPath>,
) -> Answer<Nothing> {
    let key = WorkerKey::new(on.account.clone(), name);
    // One that is another worker's, or over already, is not there: what was asked for is so.
    if state.tails.session(&path.tail_id).is_some_and(|session| session.worker == key) {
        state.tails.close(&path.tail_id);
    }
    answer(Nothing)
}

/// The WebSocket of a tail. Its id, which nobody can guess, is what lets in.
#[utoipa::path(
    get, path = "/tails/{tail_id}", tag = "tails",
    security(()), responses((status = 101, description = "The WebSocket, with the subprotocol trace-v1"))
)]
async fn connect_tail(
    Extract(state): State,
    Named(path): Named<TailPath>,
    request: axum::extract::Request,
) -> Result<Response, ApiError> {
    socket::connect(&state, &path.tail_id, request)
}
