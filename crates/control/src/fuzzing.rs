//! What is looked at of what clients ask for before anything is asked of the state: as pure functions.

use std::collections::BTreeMap;

use selvedge_model::{AssetsRecord, BlobHash, Share, WorkerName};
use serde_json::{Map, Value};

use crate::account::{self, check_name};
use crate::asset::{self, Claims};
use crate::compatibility::{check_date, check_flags};
use crate::draft::{check_annotations, check_inputs, read_limits};
use crate::upload_version::{self, read_assets};
use crate::version::inputs_of;
use crate::zone::zone_of;
use crate::{
    AssetEntry, BindingInput, ControlError, DomainInput, EnvPatch, Metadata, NewAccount, NewDeployment, NewResource,
    NewToken, Route, RouteInput, ScriptSettings, SecretsKey, SettingsPatch, deployment, domain, resource, route,
    schedule,
};

/// The platform's own domain.
pub const DOMAIN: &str = "apps.example";
/// What tokens are signed with.
const KEY: [u8; 32] = [7; 32];
/// Later than any date that is written with four digits of a year, so that what is taken depends on no clock.
const LATE_MS: u64 = u64::MAX;

/// Gives the subdomain that the account would have.
pub fn check_account(new: &NewAccount) -> Result<String, ControlError> {
    check_name("name", &new.name)?;
    let subdomain = new.subdomain.clone().unwrap_or_else(|| account::subdomain_of(&new.name));
    account::check_subdomain(&subdomain)?;
    Ok(subdomain)
}

pub fn check_subdomain(subdomain: &str) -> Result<(), ControlError> {
    account::check_subdomain(subdomain)
}

pub fn check_token(new: &NewToken) -> Result<(), ControlError> {
    check_name("name", &new.name)
}

pub fn check_deployment(new: &NewDeployment) -> Result<Vec<Share>, ControlError> {
    check_annotations(&new.annotations)?;
    deployment::shares(&new.versions)
}

pub fn read_domains(domains: Vec<DomainInput>) -> Result<Vec<DomainInput>, ControlError> {
    domain::read_domains(domains, DOMAIN)
}

pub fn read_route(input: &RouteInput, worker: Option<WorkerName>) -> Result<Route, ControlError> {
    route::read_route(input, worker, DOMAIN)
}

pub fn read_crons(crons: Vec<String>) -> Result<Vec<String>, ControlError> {
    schedule::read_crons(crons)
}

/// The zone of a name.
pub fn read_zone(name: &str) -> Result<String, ControlError> {
    zone_of(&name.to_ascii_lowercase(), DOMAIN)
}

pub fn check_resource(new: &NewResource) -> Result<(), ControlError> {
    resource::check_resource_name(new.kind, &new.name)?;
    resource::check_data(&new.data)
}

pub fn check_resource_data(data: &Map<String, Value>) -> Result<(), ControlError> {
    resource::check_data(data)
}

/// Gives the buckets that the files would be sent in if none were here.
pub fn check_manifest(manifest: &BTreeMap<String, AssetEntry>) -> Result<Vec<Vec<String>>, ControlError> {
    asset::check_manifest(manifest)?;
    let sizes: BTreeMap<String, u64> = manifest.values().map(|entry| (entry.hash.clone(), entry.size)).collect();
    let missing: Vec<String> = sizes.keys().cloned().collect();
    Ok(asset::buckets(&missing, &sizes))
}

/// Gives the bindings that become of it.
pub fn check_env(env: &EnvPatch, annotations: &BTreeMap<String, String>) -> Result<Vec<BindingInput>, ControlError> {
    check_annotations(annotations)?;
    let inputs = inputs_of(env);
    check_inputs(&inputs)?;
    Ok(inputs)
}

pub fn check_script_settings(settings: &ScriptSettings) -> Result<(), ControlError> {
    let ScriptSettings { tags, tail_consumers, observability, .. } = settings;
    upload_version::check_settings(tags.as_deref(), tail_consumers.as_deref(), observability.as_ref())
}

pub fn check_settings_patch(patch: &SettingsPatch) -> Result<(), ControlError> {
    check_script_settings(&patch.script)?;
    check_inputs(patch.bindings.as_deref().unwrap_or_default())?;
    check_annotations(&patch.annotations)?;
    read_limits(patch.limits.as_ref())?;
    let (date, flags) = (patch.compatibility_date.as_deref(), patch.compatibility_flags.as_deref());
    check_date(date.unwrap_or("2026-01-31"), LATE_MS)?;
    check_flags(flags.unwrap_or_default())
}

/// Gives what is kept of how the assets are served.
pub fn check_metadata(mut metadata: Metadata, worker: &WorkerName) -> Result<Option<AssetsRecord>, ControlError> {
    upload_version::check_metadata(&mut metadata, worker, LATE_MS)?;
    let hash = blake3::hash(b"").to_hex();
    let files: BlobHash =
        hash.as_str().parse().map_err(|_| ControlError::invalid("assets", "their list has no name"))?;
    metadata.assets.map(|assets| read_assets(files, 0, assets.config)).transpose()
}

/// The token of an upload of assets.
pub fn assets_token(session: &str, exp: u64) -> Result<String, ControlError> {
    asset::token_of(&Claims { session: session.to_owned(), exp }, &SecretsKey::from_bytes(KEY))
}

/// Of which upload a token is, and when it ends.
pub fn assets_claims(token: &str) -> Option<(String, u64)> {
    asset::claims_of(token, &SecretsKey::from_bytes(KEY)).map(|claims| (claims.session, claims.exp))
}
