//! One line for each request: what was asked, by whom, and what became of it. Never a query, a body or a token.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use parking_lot::Mutex;
use selvedge_model::AccountId;

use crate::connection::Client;
use crate::memory::{Memory, Sharer};
use crate::state::ApiState;
use crate::throttle::network;

/// Asked by whatever watches the platform, every few seconds: no line for each.
const OPERATIONS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// What handlers find out about a request, for its line in the log.
#[derive(Default)]
pub struct Note {
    /// The name of the token, which is not the token.
    pub token: Option<String>,
    pub account: Option<AccountId>,
}

#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Note>>);

/// The memory that the bodies of requests are read into.
#[derive(Clone)]
struct Bodies(Arc<Memory>);

/// Whose memory a request's body and answer take: its account's, if it is about one. None of those who are not known: what
/// they are told is short, or the same for all.
fn sharer(note: &Note, client: Option<IpAddr>) -> Option<Sharer> {
    match (&note.account, &note.token) {
        (Some(account), _) => Some(Sharer::Account(account.clone())),
        (None, Some(_)) => client.map(|client| Sharer::Client(network(client))),
        (None, None) => None,
    }
}

/// The memory that a request's body is read into, and whose part of it that is.
pub fn memory_of(parts: &Parts) -> Option<(Arc<Memory>, Sharer)> {
    let Bodies(memory) = parts.extensions.get::<Bodies>()?.clone();
    let client = parts.extensions.get::<Client>().map(|client| client.0.ip());
    let slot = parts.extensions.get::<Slot>()?;
    let sharer = sharer(&slot.0.lock(), client)?;
    Some((memory, sharer))
}

impl Note {
    /// Writes to the note of a request.
    pub fn of(parts: &Parts, write: impl FnOnce(&mut Self)) {
        if let Some(slot) = parts.extensions.get::<Slot>() {
            write(&mut slot.0.lock());
        }
    }
}

/// Writes the line, and counts.
pub async fn record(State(state): State<Arc<ApiState>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    // The template of the path: it names no object, and there are few of them.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let client = request.extensions().get::<Client>().map(|client| client.0.ip());
    let slot = Slot::default();
    request.extensions_mut().insert(slot.clone());
    request.extensions_mut().insert(Bodies(Arc::clone(&state.bodies)));
    let mut response = next.run(request).await;
    let sharer = sharer(&slot.0.lock(), client);
    if let Some(sharer) = sharer {
        response = state.answers.hold(&sharer, response).await;
    }
    let took = began.elapsed();
    let status = response.status().as_u16();
    let route = route.as_ref().map_or("(none)", MatchedPath::as_str);
    state.metrics.api_request(route, status, took);
    let note = std::mem::take(&mut *slot.0.lock());
    // What watches the platform asks again and again.
    if note.token.is_none() && OPERATIONS.contains(&route) {
        tracing::debug!(target: "selvedge::api", %method, route, status, "request");
        return response;
    }
    tracing::info!(
        target: "selvedge::api",
        %method,
        route,
        status,
        ms = took.as_micros() as f64 / 1_000.0,
        token = note.token,
        account = note.account.as_ref().map(AccountId::as_str),
        client = client.map(|client| client.to_string()),
        "request"
    );
    response
}
