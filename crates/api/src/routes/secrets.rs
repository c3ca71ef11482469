//! Secrets of workers. What they hold is never answered.

use std::collections::BTreeMap;

use axum::extract::{Request, State as Extract};
use selvedge_control::{ControlError, Secret};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::routes;

use super::{Router, State, in_turn};
use crate::auth::{On, SecretsWrite, WorkersRead};
use crate::envelope::{Answer, Envelope, Nothing, answer};
use crate::error::ApiError;
use crate::extract::{Named, OfWorker};

pub fn router() -> Router {
    Router::default()
        .routes(routes!(list_secrets, put_secret))
        .routes(routes!(get_secret, delete_secret))
        .routes(routes!(change_secrets))
}

/// A secret, but for what it holds.
#[derive(Serialize, ToSchema)]
struct SecretView {
    name: String,
    /// Always `secret_text`.
    r#type: &'static str,
}

impl SecretView {
    fn of(name: String) -> Self {
        Self { name, r#type: "secret_text" }
    }
}

/// Secrets by name; none removes.
type Secrets = BTreeMap<String, Option<Secret>>;

/// A secret to set.
#[derive(Deserialize, ToSchema)]
pub struct PutSecret {
    #[schema(min_length = 1)]
    name: String,
    /// What it holds.
    #[schema(write_only)]
    text: String,
    /// `secret_text`.
    #[serde(default)]
    #[schema(nullable = false)]
    r#type: Option<String>,
}

impl PutSecret {
    pub fn secrets(self) -> Result<Secrets, ApiError> {
        check_type(self.r#type.as_deref())?;
        Ok(BTreeMap::from([(self.name, Some(Secret::new(self.text)))]))
    }
}

/// A secret to set, named by its key.
#[derive(Deserialize, ToSchema)]
struct SecretEdit {
    /// The key again.
    #[serde(default)]
    #[schema(nullable = false)]
    name: Option<String>,
    #[schema(write_only)]
    text: String,
    /// `secret_text`.
    #[serde(default)]
    #[schema(nullable = false)]
    r#type: Option<String>,
}

/// Secrets to set or, where null, to remove.
#[derive(Deserialize, ToSchema)]
pub struct SecretsPatch {
    #[schema(value_type = BTreeMap<String, SecretEdit>)]
    secrets: BTreeMap<String, Option<SecretEdit>>,
}

impl SecretsPatch {
    pub fn secrets(self) -> Result<Secrets, ApiError> {
        if self.secrets.is_empty() {
            return Err(ApiError::bad_body("`secrets` names nothing to change"));
        }
        let mut secrets = BTreeMap::new();
        for (key, edit) in self.secrets {
            if let Some(edit) = &edit {
                check_type(edit.r#type.as_deref())?;
                if edit.name.as_ref().is_some_and(|name| *name != key) {
                    return Err(ApiError::bad_body("a secret's `name` is not the key that it stands under"));
                }
            }
            secrets.insert(key, edit.map(|edit| Secret::new(edit.text)));
        }
        Ok(secrets)
    }
}

/// Which secret.
#[derive(Deserialize)]
struct SecretPath {
    secret_name: String,
}

fn check_type(given: Option<&str>) -> Result<(), ApiError> {
    match given {
        None | Some("secret_text") => Ok(()),
        Some("secret_key") => Err(ControlError::NotAvailable { what: "a secret of type secret_key".into() }.into()),
        Some(_) => Err(ApiError::bad_body("`type` of a secret is `secret_text`")),
    }
}

/// The names of the secrets of a worker's latest version.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/secrets", tag = "secrets",
    responses((status = 200, body = Envelope<Vec<SecretView>>))
)]
async fn list_secrets(Extract(state): State, on: On<WorkersRead>, OfWorker(name): OfWorker) -> Answer<Vec<SecretView>> {
    let mut secrets = state.control.secrets(&on.caller, &on.account, &name).await?;
    secrets.sort_unstable();
    answer(secrets.into_iter().map(SecretView::of).collect())
}

/// Sets a secret: a version that has it is made of the latest, and deployed.
#[utoipa::path(
    put, path = "/accounts/{account_id}/workers/scripts/{script_name}/secrets", tag = "secrets",
    request_body = PutSecret, responses((status = 200, body = Envelope<SecretView>))
)]
async fn put_secret(
    Extract(state): State,
    on: On<SecretsWrite>,
    OfWorker(name): OfWorker,
    request: Request,
) -> Answer<SecretView> {
    let (body, _turn) = in_turn::<PutSecret>(&state, &on.account, request).await?;
    let secret = body.name.clone();
    state.control.change_secrets(&on.caller, &on.account, &name, body.secrets()?).await?;
    answer(SecretView::of(secret))
}

/// Whether there is a secret of that name.
#[utoipa::path(
    get, path = "/accounts/{account_id}/workers/scripts/{script_name}/secrets/{secret_name}", tag = "secrets",
    responses((status = 200, body = Envelope<SecretView>))
)]
async fn get_secret(
    Extract(state): State,
    on: On<WorkersRead>,
    OfWorker(name): OfWorker,
    Named(path): Named<SecretPath>,
) -> Answer<SecretView> {
    let secrets = state.control.secrets(&on.caller, &on.account, &name).await?;
    if !secrets.contains(&path.secret_name) {
        return Err(ControlError::SecretNotFound { worker: name, name: path.secret_name }.into());
    }
    answer(SecretView::of(path.secret_name))
}

/// Removes a secret: a version without it is made of the latest, and deployed.
#[utoipa::path(
    delete, path = "/accounts/{account_id}/workers/scripts/{script_name}/secrets/{secret_name}", tag = "secrets",
    responses((status = 200, body = Envelope<Nothing>))
)]
async fn delete_secret(
    Extract(state): State,
    on: On<SecretsWrite>,
    OfWorker(name): OfWorker,
    Named(path): Named<SecretPath>,
) -> Answer<Nothing> {
    let _turn = state.upload_turn(&on.account).await?;
    state.control.delete_secret(&on.caller, &on.account, &name, path.secret_name).await?;
    answer(Nothing)
}

/// Sets and removes secrets, all at once. Removing one that is not there changes nothing.
#[utoipa::path(
    patch, path = "/accounts/{account_id}/workers/scripts/{script_name}/secrets-bulk", tag = "secrets",
    request_body(content = SecretsPatch, content_type = "application/merge-patch+json"),
    responses((status = 200, body = Envelope<Vec<SecretView>>))
)]
async fn change_secrets(
    Extract(state): State,
    on: On<SecretsWrite>,
    OfWorker(name): OfWorker,
    request: Request,
) -> Answer<Vec<SecretView>> {
    let (patch, _turn) = in_turn::<SecretsPatch>(&state, &on.account, request).await?;
    let secrets = patch.secrets()?;
    let names = secrets.iter().filter(|(_, secret)| secret.is_some()).map(|(name, _)| name.clone()).collect::<Vec<_>>();
    state.control.change_secrets(&on.caller, &on.account, &name, secrets).await?;
    answer(names.into_iter().map(SecretView::of).collect())
}
