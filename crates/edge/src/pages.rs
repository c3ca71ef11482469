//! What a client is told when there is no answer: JSON, or a page for a browser.

use http::header::{self, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use selvedge_model::{Failure, LimitName, Place};
use serde_json::{Value, json};

use crate::body::EdgeBody;

/// Who failed and for which request.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    pub worker: &'a str,
    pub version: &'a str,
    pub request_id: &'a str,
    /// Whether the client is the worker's author: then it is told the message and the stack.
    pub author: bool,
}

/// The response to a request whose event failed.
pub fn failure(headers: &HeaderMap, about: About<'_>, failure: &Failure) -> Response<EdgeBody> {
    let status = status_of(failure);
    let mut value = value_of(failure, about);
    if let Value::Object(map) = &mut value {
        map.insert("worker".into(), about.worker.into());
        map.insert("version".into(), about.version.into());
        map.insert("request_id".into(), about.request_id.into());
    }
    page(headers, status, value)
}

/// The response to a request that no worker could be asked.
pub fn unavailable(headers: &HeaderMap, about: About<'_>, status: StatusCode, reason: &str) -> Response<EdgeBody> {
    let value = json!({
        "error": "unavailable",
        "message": reason,
        "worker": about.worker,
        "version": about.version,
        "request_id": about.request_id,
    });
    page(headers, status, value)
}

/// The response where no worker has this host, or the request is not one.
pub fn plain(headers: &HeaderMap, status: StatusCode, error: &str, message: &str) -> Response<EdgeBody> {
    page(headers, status, json!({ "error": error, "message": message }))
}

/// The response of a worker that has no version that builds and starts.
pub fn broken(headers: &HeaderMap, message: &str) -> Response<EdgeBody> {
    let value = json!({ "error": "build", "message": "the worker does not build or start", "stack": message });
    page(headers, StatusCode::INTERNAL_SERVER_ERROR, value)
}

/// A response of the last good version that tells its author what is wrong with the newest source: in a header, and
/// over the page where it is one.
pub fn with_notice(response: Response<EdgeBody>, message: &str) -> Response<EdgeBody> {
    let (mut parts, body) = response.into_parts();
    let first: String =
        message.lines().next().unwrap_or_default().chars().filter(|c| (' '..='~').contains(c)).collect();
    if let Ok(value) = HeaderValue::from_str(&first) {
        parts.headers.insert("x-selvedge-error", value);
    }
    let html = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !html || parts.headers.contains_key(header::CONTENT_ENCODING) {
        return Response::from_parts(parts, body);
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.remove(header::ETAG);
    let notice = format!(
        "<div role=\"alert\" style=\"position:fixed;inset:auto 0 0 0;max-height:60vh;overflow:auto;z-index:2147483647;\
         background:#2b1110;color:#ffdad6;padding:1rem 1.5rem;font:14px/1.5 ui-monospace,monospace;white-space:pre-wrap;\
         border-top:4px solid #b3261e\">The newest source does not build or start; the last good version serves.\n\n{}</div>",
        escape(message)
    );
    Response::from_parts(parts, body.followed_by(notice.into()))
}

fn status_of(failure: &Failure) -> StatusCode {
    match failure {
        Failure::Exception { .. } | Failure::Hung { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        Failure::Limit { error } => match error.limit {
            LimitName::RequestBodyBytes => StatusCode::PAYLOAD_TOO_LARGE,
            LimitName::ResponseHeaderBytes => StatusCode::BAD_GATEWAY,
            LimitName::WallMs => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        },
    }
}

/// One sentence that says what happened.
pub fn sentence(failure: &Failure) -> String {
    match failure {
        Failure::Exception { exception, .. } => format!("{}: {}", exception.name, exception.message),
        Failure::Hung { exception } => exception.message.clone(),
        Failure::Limit { error } => {
            let name = limit_text(error.limit);
            let place = error.place.as_ref().map(|place| format!(", at {}", place_text(place))).unwrap_or_default();
            let why = match error.limit {
                LimitName::AccountIsolates => {
                    "; others had no room, and this account had more than its part of the isolates"
                }
                LimitName::AccountMemoryBytes => {
                    "; the platform was out of memory, and this account's isolates held more than its part"
                }
                _ => "",
            };
            format!(
                "{name} limit exceeded: used {}, allowed {}{place}{why} (version {})",
                error.used, error.allowed, error.version
            )
        }
    }
}

fn place_text(place: &Place) -> String {
    let function = place.function.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    format!("{}:{}:{}{function}", place.file, place.line, place.column)
}

/// The name of a limit as it stands in configuration and reports.
pub fn limit_text(limit: LimitName) -> String {
    match serde_json::to_value(limit) {
        Ok(Value::String(text)) => text,
        _ => String::new(),
    }
}

fn value_of(failure: &Failure, about: About<'_>) -> Value {
    match failure {
        Failure::Exception { exception, .. } if about.author => json!({
            "error": "exception",
            "message": sentence(failure),
            "name": exception.name,
            "stack": exception.stack,
        }),
        Failure::Exception { .. } => json!({
            "error": "exception",
            "message": "the worker threw an exception",
        }),
        Failure::Hung { .. } => json!({ "error": "hung", "message": sentence(failure) }),
        Failure::Limit { error } => json!({
            "error": "limit_exceeded",
            "message": sentence(failure),
            "limit": limit_text(error.limit),
            "used": error.used,
            "allowed": error.allowed,
            "where": error.place.as_ref().map(place_text),
        }),
    }
}

fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.split(',').any(|part| part.trim_start().starts_with("text/html")))
}

fn page(headers: &HeaderMap, status: StatusCode, value: Value) -> Response<EdgeBody> {
    let (content_type, body) = if wants_html(headers) {
        (HeaderValue::from_static("text/html; charset=utf-8"), html(status, &value))
    } else {
        (HeaderValue::from_static("application/json"), format!("{value:#}\n"))
    };
    let mut response = Response::new(EdgeBody::full(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn html(status: StatusCode, value: &Value) -> String {
    let text = |name: &str| value.get(name).and_then(Value::as_str).map(escape);
    let message = text("message").unwrap_or_default();
    let stack = text("stack").map(|stack| format!("<pre>{stack}</pre>")).unwrap_or_default();
    let rows: String = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, value)| !["message", "stack"].contains(&name.as_str()) && !value.is_null())
        .map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!("<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(&value))
        })
        .collect();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{status}</title><style>\
         body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:3rem auto;padding:0 1rem;color:#1a1a1a}}\
         pre{{background:#f4f4f2;padding:1rem;overflow:auto;border-left:4px solid #b3261e}}\
         th{{text-align:left;padding-right:1.5rem;font-weight:600}}\
         @media(prefers-color-scheme:dark){{body{{background:#161616;color:#eee}}pre{{background:#222}}}}\
         </style></head><body><h1>{status}</h1><p>{message}</p>{stack}<table>{rows}</table></body></html>\n"
    )
}
