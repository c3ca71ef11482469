//! What handlers take from a request, checked: a refusal says what is wrong with what.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, RawPathParams, Request};
use http::request::Parts;
use selvedge_control::ControlError;
use selvedge_model::WorkerName;
use serde::de::DeserializeOwned;

use crate::body::read_whole;
use crate::error::ApiError;

/// The largest body of JSON, in bytes: 1 MiB.
const JSON_BYTES_MAX: usize = 1024 * 1024;

/// Parameters of the path.
pub struct Named<T>(pub T);

/// The worker that the path names.
pub struct OfWorker(pub WorkerName);

/// Parameters of the query.
pub struct Asked<T>(pub T);

/// A body of JSON, whatever its content type says: wrangler sends many as text.
pub struct JsonBody<T>(pub T);

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
        let bytes = read_whole(body, &parts.headers, JSON_BYTES_MAX).await?;
        json(&bytes, "the body").map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for MaybeJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = read_whole(body, &parts.headers, JSON_BYTES_MAX).await?;
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
        let bytes = read_whole(body, &parts.headers, JSON_BYTES_MAX).await?;
        secret_json(&bytes, "the body").map(Self)
    }
}

/// Reads JSON that holds secrets.
pub fn secret_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let kind = match error.classify() {
            serde_json::error::Category::Data => "a member is missing or of another type than it should be",
            _ => "it is not JSON",
        };
        ApiError::bad_body(format!("{what} is not right at line {line}, column {column}: {kind}"))
    })
}

/// Reads JSON. An error names the member that is wrong.
pub fn json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, ApiError> {
    if let Err(error) = std::str::from_utf8(bytes) {
        let message = format!("{what} is not UTF-8: byte {} is not part of any character", error.valid_up_to());
        return Err(ApiError::bad_body(message));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let refused = |error: &serde_json::Error, path: &str| {
        let hint = if error.to_string().starts_with("recursion limit") {
            "; it is nested deeper than 128 levels, which nothing here needs"
        } else {
            ""
        };
        let at = if path == "." { String::new() } else { format!(" at `{path}`") };
        ApiError::bad_body(format!("{what} is not the JSON that is needed{at}: {error}{hint}"))
    };
    let value = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| refused(error.inner(), &error.path().to_string()))?;
    reader.end().map_err(|error| refused(&error, "."))?;
    Ok(value)
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
    fn what_is_wrong_with_secrets_is_shown_by_its_place_alone() {
        assert!(secret_json::<Sample>(br#"{"list":[1]}"#, "the body").is_ok());
        for wrong in [r#"{"list":["hush"]}"#, r#"{"list":"hush"}"#, r#"{"list":[1]} hush"#, r#"{"hush":[1]}"#] {
            let error = secret_json::<Sample>(wrong.as_bytes(), "the body").unwrap_err();
            assert!(error.message.contains("line 1") && !error.message.contains("hush"), "{}", error.message);
        }
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = "[".repeat(100_000);
        let error = json::<serde_json::Value>(deep.as_bytes(), "metadata").unwrap_err();
        assert!(error.message.contains("128 levels"), "{}", error.message);
    }
}
