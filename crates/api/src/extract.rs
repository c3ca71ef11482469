//! What handlers take from a request, checked: a refusal says what is wrong with what.

use std::borrow::Cow;

use axum::extract::{FromRequest, FromRequestParts, Path, Query, RawPathParams, Request};
use http::request::Parts;
use selvedge_control::ControlError;
use selvedge_model::{WorkerName, check_json};
use serde::de::DeserializeOwned;

use crate::body::read_json;
use crate::error::ApiError;

/// The largest body of JSON, in bytes: 1 MiB.
const JSON_BYTES_MAX: usize = 1024 * 1024;
/// The most that an error shows of its beginning, and of its end, in characters: between them it may quote the body.
const SHOWN_CHARS_MAX: usize = 200;

/// Parameters of the path.
pub struct Named<T>(pub T);

/// The worker that the path names.
pub struct OfWorker(pub WorkerName);

/// Parameters of the query.
pub struct Asked<T>(pub T);

/// A body of JSON, whatever its content type says: wrangler sends many as text.
pub struct JsonBody<T>(pub T);

/// A body of JSON that is a list.
pub struct JsonList<T>(pub Vec<T>);

/// A body of JSON, or no body at all.
pub struct MaybeJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value))
            .map_err(|error| ApiError::bad_parameter(format!("the path is not right: {}", error.body_text())))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OfWorker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let params = params.map_err(|error| ApiError::bad_parameter(format!("the path is not right: {error}")))?;
        let name = params.iter().find(|(key, _)| *key == "script_name").map_or("", |(_, value)| value);
        worker_name(name).map(Self)
    }
}

/// A worker's name, or a refusal that says what is one.
pub fn worker_name(text: &str) -> Result<WorkerName, ApiError> {
    let invalid = |_| ControlError::WorkerNameInvalid { name: text.chars().take(80).collect() };
    text.parse().map_err(invalid).map_err(ApiError::from)
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(value)| Self(value))
            .map_err(|error| ApiError::bad_parameter(format!("the query is not right: {}", error.body_text())))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read_json(body, &parts, JSON_BYTES_MAX).await?;
        json(&bytes, "the body").map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonList<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read_json(body, &parts, JSON_BYTES_MAX).await?;
        any_json(&bytes, "the body").map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read_json(body, &parts, JSON_BYTES_MAX).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(T::default()));
        }
        json(&bytes, "the body").map(Self)
    }
}

/// A body of JSON that holds secrets: a refusal says where it is wrong, and shows nothing of it.
pub struct SecretJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for SecretJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read_json(body, &parts, JSON_BYTES_MAX).await?;
        secret_json(&bytes, "the body").map(Self)
    }
}

/// Reads JSON that holds secrets.
pub fn secret_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, ApiError> {
    check(bytes, what)?;
    check_object(bytes, what)?;
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let kind = match error.classify() {
            serde_json::error::Category::Data => "a member is missing or of another type than it should be",
            _ => "it is not JSON",
        };
        ApiError::bad_body(format!("{what} is not right at line {line}, column {column}: {kind}"))
    })
}

/// Reads JSON that is an object. An error names the member that is wrong.
pub fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, ApiError> {
    let value = any_json(bytes, what);
    // What is not read at all says more of why.
    value.and_then(|value| check_object(bytes, what).map(|()| value))
}

/// Reads JSON, whatever it is.
fn any_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, ApiError> {
    if let Err(error) = std::str::from_utf8(bytes) {
        let message = format!("{what} is not UTF-8: byte {} is not part of any character", error.valid_up_to());
        return Err(ApiError::bad_body(message));
    }
    check(bytes, what)?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let refused = |error: &serde_json::Error, path: &str| {
        let at = if path == "." { String::new() } else { format!(" at `{}`", shortened(path)) };
        ApiError::bad_body(format!("{what} is not the JSON that is needed{at}: {}", shortened(&error.to_string())))
    };
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| refused(error.inner(), &error.path().to_string()))?;
    reader.end().map_err(|error| refused(&error, "."))?;
    Ok(value)
}

/// Refuses JSON that is not to be read at all. Nothing of it is shown.
fn check(bytes: &[u8], what: &str) -> Result<(), ApiError> {
    check_json(bytes).map_err(|error| ApiError::bad_body(format!("{what} is not taken: {error}")))
}

/// Refuses a list in the place of an object: read as one, its entries would be the object's members in their order.
fn check_object(bytes: &[u8], what: &str) -> Result<(), ApiError> {
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'[') => Err(ApiError::bad_body(format!("{what} is a list, where an object is needed"))),
        _ => Ok(()),
    }
}

/// A text, or its beginning and its end.
fn shortened(text: &str) -> Cow<'_, str> {
    let head = text.char_indices().nth(SHOWN_CHARS_MAX).map(|(at, _)| at);
    let tail = text.char_indices().rev().nth(SHOWN_CHARS_MAX - 1).map(|(at, _)| at);
    match (head, tail) {
        (Some(head), Some(tail)) if head < tail => {
            Cow::Owned(format!("{}…{}", text.get(..head).unwrap_or_default(), text.get(tail..).unwrap_or_default()))
        }
        _ => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Sample {
        #[allow(dead_code)]
        list: Vec<u8>,
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = json::<Sample>(br#"{"list":[1,"x"]}"#, "the body").unwrap_err();
        assert!(error.message.contains("`list[1]`"), "{}", error.message);
        let error = json::<Sample>(b"\xff", "the body").unwrap_err();
        assert!(error.message.contains("UTF-8"), "{}", error.message);
        let error = json::<Sample>(br#"{"list":[1]} x"#, "the body").unwrap_err();
        assert!(error.message.contains("trailing"), "{}", error.message);
    }

    #[test]
    fn a_list_is_no_object() {
        for list in [&b"[[1]]"[..], b" [ [1] ]"] {
            let error = json::<Sample>(list, "the body").unwrap_err();
            assert!(error.message.contains("is a list"), "{}", error.message);
            let error = secret_json::<Sample>(list, "the body").unwrap_err();
            assert!(error.message.contains("is a list"), "{}", error.message);
            assert_eq!(any_json::<Vec<Vec<u8>>>(list, "the body").unwrap(), [[1]]);
        }
    }

    #[test]
    fn what_is_wrong_with_secrets_is_shown_by_its_place_alone() {
        assert!(secret_json::<Sample>(br#"{"list":[1]}"#, "the body").is_ok());
        for wrong in [r#"{"list":["hush"]}"#, r#"{"list":"hush"}"#, r#"{"list":[1]} hush"#, r#"{"hush":[1]}"#] {
            let error = secret_json::<Sample>(wrong.as_bytes(), "the body").unwrap_err();
            assert!(error.message.contains("line 1") && !error.message.contains("hush"), "{}", error.message);
        }
    }

    #[test]
    fn what_must_not_be_read_is_refused() {
        let deep = "[".repeat(100_000);
        let private = r#"{"$serde_json::private::RawValue":"hush"}"#;
        for (text, said) in [(deep.as_str(), "64 levels"), (private, "at byte 1 a name begins with")] {
            let error = json::<serde_json::Value>(text.as_bytes(), "metadata").unwrap_err();
            assert!(error.message.contains(said), "{}", error.message);
            let error = secret_json::<serde_json::Value>(text.as_bytes(), "metadata").unwrap_err();
            assert!(error.message.contains(said) && !error.message.contains("hush"), "{}", error.message);
        }
    }

    #[test]
    fn an_error_quotes_a_large_body_in_part() {
        let large = "x".repeat(1_000_000);
        for body in [format!(r#"{{"list":"{large}"}}"#), format!(r#"{{"list":[{{"{large}":1}}]}}"#)] {
            let error = json::<Sample>(body.as_bytes(), "the body").unwrap_err();
            assert!(error.message.len() < 1_000 && error.message.contains("column"), "{}", error.message.len());
        }
        assert_eq!(shortened("ä"), "ä");
        let (whole, more) = ("ä".repeat(400), "ä".repeat(401));
        assert_eq!(shortened(&whole), whole);
        assert_eq!(shortened(&more), format!("{0}…{0}", "ä".repeat(200)));
    }
}
