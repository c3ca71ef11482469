//! Uploads of static assets. A session says what is missing; its token, and no other, lets that be uploaded.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::{Request, State as Extract};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, header};
use selvedge_control::{ASSET_BYTES_MAX, ASSETS_BUCKET_BYTES, ASSETS_BUCKET_FILES, AssetEntry, AssetsUploaded};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::routes;

use super::{Router, State};
use crate::auth::{On, WorkersWrite, bearer};
use crate::body::read_whole;
use crate::envelope::{Answer, Envelope, answer};
use crate::error::ApiError;
use crate::extract::{Asked, Named, OfWorker, json};
use crate::multipart::{Limits, Multipart, shown};

/// The largest manifest, in bytes: 32 MiB.
const MANIFEST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What the boundaries and heads of a bucket may take, in bytes: 1 MiB.
const FRAMING_BYTES_MAX: u64 = 1024 * 1024;
/// A file in base64, in bytes: four for three, with some line breaks.
const ENCODED_BYTES_MAX: u64 = ASSET_BYTES_MAX / 3 * 4 + 64 * 1024;
/// A bucket: what a session puts into one, or one largest file, in base64.
const BUCKET_BYTES_MAX: u64 = ENCODED_BYTES_MAX + ASSETS_BUCKET_BYTES / 3 * 4 + FRAMING_BYTES_MAX;

pub fn router() -> Router {
    Router::default().routes(routes!(start_assets_upload)).routes(routes!(upload_assets)).routes(routes!(upload_asset))
}

/// What an upload of assets is to have, by path.
#[derive(Deserialize, ToSchema)]
pub struct Manifest {
    /// By path, such as `/index.html`.
    manifest: BTreeMap<String, ManifestEntry>,
}

#[derive(Deserialize, ToSchema)]
struct ManifestEntry {
    /// The first 32 hexadecimal digits of BLAKE3 over the content in base64, followed by the extension without its dot.
    hash: String,
    /// Bytes.
    size: u64,
}

impl Manifest {
    pub fn entries(self) -> BTreeMap<String, AssetEntry> {
        let entry = |(path, entry): (String, ManifestEntry)| (path, AssetEntry { hash: entry.hash, size: entry.size });
        self.manifest.into_iter().map(entry).collect()
    }
}

/// An upload of assets has begun.
#[derive(Serialize, ToSchema)]
struct Session {
    /// The token that the files are to be uploaded with.
    jwt: String,
    /// Hashes of files that are missing, grouped as they are to be sent.
    buckets: Vec<Vec<String>>,
}

/// How far an upload of assets is.
#[derive(Serialize, ToSchema)]
struct Progress {
    /// What an upload's metadata names as `assets.jwt`: there once nothing is missing.
    jwt: Option<String>,
    /// How many files are missing.
    missing: u64,
}

impl From<AssetsUploaded> for Progress {
    fn from(uploaded: AssetsUploaded) -> Self {
        Self { jwt: uploaded.completion, missing: uploaded.missing }
    }
}

/// How files are sent.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AssetsParams {
    /// They are in base64.
    base64: Option<bool>,
}

/// A part for each file: its name is the hash, its content type the file's.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the shape of a multipart body")]
struct AssetsForm {
    #[schema(format = Binary)]
    #[schema(rename = "00000000000000000000000000000000")]
    file: Option<String>,
}

/// Which file.
#[derive(Deserialize)]
struct AssetPath {
    hash: String,
}

pub fn session_token(headers: &HeaderMap) -> Result<&str, ApiError> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
    value.ok_or_else(|| {
        ApiError::unauthenticated(
            "Authentication error: the request has no token of an upload of assets (`Authorization: Bearer`, with the \
             `jwt` of the session)",
        )
    })
}

/// Begins an upload of assets for a worker, which need not exist yet.
#[utoipa::path(
    post, path = "/accounts/{account_id}/workers/scripts/{script_name}/assets-upload-session", tag = "assets",
    request_body = Manifest, responses((status = 200, body = Envelope<Session>))
)]
async fn start_assets_upload(
    Extract(state): State,
    on: On<WorkersWrite>,
    OfWorker(name): OfWorker,
    request: Request,
) -> Answer<Session> {
    let turn = state.upload_turn(&on.account).await?;
    let (parts, body) = request.into_parts();
    let bytes = read_whole(turn.hurry(body), &parts.headers, MANIFEST_BYTES_MAX).await?;
    let manifest: Manifest = json(&bytes, "the body")?;
    let session = state.control.start_assets(&on.caller, &on.account, &name, manifest.entries()).await?;
    answer(Session { jwt: session.token, buckets: session.buckets })
}

/// Takes files of an upload, a part for each.
#[utoipa::path(
    post, path = "/accounts/{account_id}/workers/assets/upload", tag = "assets", params(AssetsParams),
    request_body(content = AssetsForm, content_type = "multipart/form-data"),
    responses((status = 200, body = Envelope<Progress>))
)]
async fn upload_assets(
    Extract(state): State,
    Asked(params): Asked<AssetsParams>,
    request: Request,
) -> Answer<Progress> {
    let (parts, body) = request.into_parts();
    let token = session_token(&parts.headers)?;
    let account = state.control.check_assets_token(token).await?;
    let turn = state.upload_turn(&account).await?;
    let limits = Limits {
        whole_bytes_max: BUCKET_BYTES_MAX,
        part_bytes_max: ENCODED_BYTES_MAX,
        special: None,
        parts_max: ASSETS_BUCKET_FILES,
    };
    let mut multipart = Multipart::of_request(&parts.headers, turn.hurry(body), limits)?;
    let mut progress = None;
    while let Some(part) = multipart.next().await? {
        let content = if params.base64 == Some(true) { decoded(&part.name, &part.body)? } else { part.body };
        let content_type = part.content_type.as_deref();
        progress = Some(state.control.put_asset(token, &part.name, content_type, content).await?);
    }
    let progress = progress.ok_or_else(|| ApiError::bad_body("the body has no part: each file is one"))?;
    answer(progress.into())
}

pub fn decoded(name: &str, text: &[u8]) -> Result<Bytes, ApiError> {
    let wrong = |problem: String| {
        ApiError::bad_body(format!("the part \"{}\" is not base64, as `base64=true` says: {problem}", shown(name)))
    };
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(text).map(Bytes::from).map_err(|error| wrong(error.to_string()))
}

/// Takes one file of an upload, as it is.
#[utoipa::path(
    post, path = "/accounts/{account_id}/workers/assets/upload/{hash}", tag = "assets",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = Envelope<Progress>))
)]
async fn upload_asset(
    Extract(state): State,
    Named(path): Named<AssetPath>,
    headers: HeaderMap,
    body: Body,
) -> Answer<Progress> {
    let token = session_token(&headers)?;
    let account = state.control.check_assets_token(token).await?;
    let turn = state.upload_turn(&account).await?;
    let content = read_whole(turn.hurry(body), &headers, ASSET_BYTES_MAX as usize).await?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    answer(state.control.put_asset(token, &path.hash, content_type, content).await?.into())
}
