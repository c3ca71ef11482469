//! What an upload is made of: metadata, modules and source maps, as a client sends them, checked one by one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use selvedge_model::{ModuleKind, VersionRecord, WorkerName, check_json};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::binding::{BindingInput, uploaded};
use crate::bounds::{METADATA_BYTES_MAX, MODULE_NAME_BYTES_MAX, PARTS_MAX, SCRIPT_BYTES_MAX, SOURCE_MAP_BYTES_MAX};
use crate::deployment::Deployment;
use crate::error::ControlError;
use crate::worker::Consumer;

/// An upload, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Upload {
    pub metadata: Metadata,
    pub modules: Vec<UploadModule>,
    pub source_maps: Vec<UploadSourceMap>,
}

/// A module of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadModule {
    pub name: String,
    pub kind: ModuleKind,
    pub body: Bytes,
}

/// A source map of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSourceMap {
    /// The module that it is of: its own name without `.map`.
    pub module: String,
    pub body: Bytes,
}

/// A part of an upload's multipart body, but for `metadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadPart {
    pub name: String,
    pub content_type: Option<String>,
    pub body: Bytes,
}

/// What becomes of a version once it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deploy {
    /// Nothing: it waits.
    No,
    /// It has all the traffic.
    Now,
}

/// How an upload is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadOptions {
    pub deploy: Deploy,
    /// Refuses to make a new worker: [`ControlError::WorkerNotFound`].
    pub must_exist: bool,
}

/// A version was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Uploaded {
    pub version: VersionRecord,
    /// Where it was deployed at once.
    pub deployment: Option<Deployment>,
    /// Whether the worker was made by it.
    pub worker_created: bool,
    /// Whether the version has a preview's host name.
    pub has_preview: bool,
}

/// The JSON part of an upload. Members that have no name here are kept in `extra`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Metadata {
    #[serde(default)]
    pub main_module: Option<String>,
    /// The part that is the script, of a worker in the service-worker form.
    #[serde(default)]
    pub body_part: Option<String>,
    #[serde(default, deserialize_with = "uploaded")]
    pub bindings: Vec<BindingInput>,
    #[serde(default)]
    pub compatibility_date: Option<String>,
    #[serde(default)]
    pub compatibility_flags: Vec<String>,
    #[serde(default)]
    pub migrations: Option<Migrations>,
    /// Durable Objects by class, in the place of migrations.
    #[serde(default)]
    pub exports: Option<BTreeMap<String, Value>>,
    /// Types of bindings that are taken over from the latest version. Where nothing is said, secrets are.
    #[serde(default)]
    pub keep_bindings: Option<Vec<String>>,
    /// Takes the assets over from the latest version.
    #[serde(default)]
    pub keep_assets: bool,
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub assets: Option<AssetsInput>,
    #[serde(default)]
    pub limits: Option<Value>,
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    #[serde(default)]
    pub tail_consumers: Option<Vec<Consumer>>,
    #[serde(default)]
    pub logpush: Option<bool>,
    #[serde(default)]
    pub observability: Option<Value>,
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The assets of an upload.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct AssetsInput {
    /// The completion token.
    #[serde(default)]
    pub jwt: Option<String>,
    #[serde(default)]
    pub config: Map<String, Value>,
}

/// Changes to which classes are Durable Objects.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Migrations {
    #[serde(default)]
    pub old_tag: Option<String>,
    #[serde(default)]
    pub new_tag: Option<String>,
    #[serde(default)]
    pub steps: Vec<MigrationStep>,
    /// A single step, given without a list.
    #[serde(flatten)]
    pub step: MigrationStep,
}

/// One step of a migration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct MigrationStep {
    #[serde(default)]
    pub new_classes: Vec<String>,
    #[serde(default)]
    pub new_sqlite_classes: Vec<String>,
    #[serde(default)]
    pub renamed_classes: Vec<RenamedClass>,
    #[serde(default)]
    pub deleted_classes: Vec<String>,
    #[serde(default)]
    pub transferred_classes: Vec<TransferredClass>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RenamedClass {
    pub from: String,
    pub to: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TransferredClass {
    pub from: String,
    pub from_script: WorkerName,
    pub to: String,
}

impl Metadata {
    /// Reads the text of the `metadata` part.
    pub fn parse(text: &[u8]) -> Result<Self, ControlError> {
        if text.len() > METADATA_BYTES_MAX {
            return Err(ControlError::ScriptTooLarge {
                what: "metadata".into(),
                bytes: text.len() as u64,
                bytes_max: METADATA_BYTES_MAX as u64,
            });
        }
        check_json(text).map_err(|error| ControlError::invalid("metadata", error.to_string()))?;
        serde_json::from_slice(text).map_err(|error| ControlError::invalid("metadata", error.to_string()))
    }
}

impl Upload {
    /// Puts an upload together: sorts its parts into modules and source maps by their content types.
    pub fn assemble(metadata: Metadata, parts: Vec<UploadPart>) -> Result<Self, ControlError> {
        if parts.len() > PARTS_MAX {
            return Err(ControlError::invalid("upload", format!("it has more than {PARTS_MAX} parts")));
        }
        let mut names = BTreeSet::new();
        let mut upload = Self { metadata, modules: Vec::new(), source_maps: Vec::new() };
        for part in parts {
            check_module_name(&part.name)?;
            if !names.insert(part.name.clone()) {
                return Err(ControlError::invalid(part.name, "two parts of the upload have this name"));
            }
            let script = upload.metadata.body_part.as_deref() == Some(&part.name);
            match part_kind(&part, script)? {
                Some(kind) => upload.modules.push(UploadModule { name: part.name, kind, body: part.body }),
                None => {
                    let module = part.name.strip_suffix(".map").unwrap_or(&part.name).to_owned();
                    upload.source_maps.push(UploadSourceMap { module, body: part.body });
                }
            }
        }
        upload.check_sizes()?;
        Ok(upload)
    }

    pub(crate) fn check_sizes(&self) -> Result<(), ControlError> {
        let bytes = self.modules.iter().map(|module| module.body.len() as u64).sum();
        if bytes > SCRIPT_BYTES_MAX {
            return Err(ControlError::ScriptTooLarge { what: "modules".into(), bytes, bytes_max: SCRIPT_BYTES_MAX });
        }
        let bytes = self.source_maps.iter().map(|map| map.body.len() as u64).sum();
        if bytes > SOURCE_MAP_BYTES_MAX {
            let bytes_max = SOURCE_MAP_BYTES_MAX;
            return Err(ControlError::ScriptTooLarge { what: "source maps".into(), bytes, bytes_max });
        }
        Ok(())
    }
}

/// What a part is by its content type; none is a source map.
fn part_kind(part: &UploadPart, script: bool) -> Result<Option<ModuleKind>, ControlError> {
    let content_type = part.content_type.as_deref().unwrap_or("").split(';').next().unwrap_or("");
    Ok(Some(match content_type.trim().to_ascii_lowercase().as_str() {
        "application/javascript" | "text/javascript" if script => ModuleKind::Script,
        "application/javascript+module" | "text/javascript+module" => ModuleKind::EsModule,
        "application/javascript" | "text/javascript" => ModuleKind::CommonJs,
        "application/json" => ModuleKind::Json,
        "text/plain" => ModuleKind::Text,
        "application/octet-stream" => ModuleKind::Data,
        "application/wasm" => ModuleKind::Wasm,
        "application/source-map" => return Ok(None),
        "text/x-python" | "text/x-python-requirement" => {
            return Err(ControlError::NotAvailable { what: format!("Python ({})", part.name) });
        }
        other => {
            let shown: String = other.chars().take(80).collect();
            return Err(ControlError::invalid(
                part.name.clone(),
                format!(
                    "its content type \"{shown}\" is none of application/javascript+module, application/javascript, \
                     application/json, text/plain, application/octet-stream, application/wasm, application/source-map"
                ),
            ));
        }
    }))
}

/// A module's name is a path below a folder that nobody may leave by it.
fn check_module_name(name: &str) -> Result<(), ControlError> {
    let problem = if name.is_empty() {
        "a part of the upload has no name"
    } else if name.len() > MODULE_NAME_BYTES_MAX {
        "the name of this part is too long: 512 bytes at most"
    } else if name.chars().any(char::is_control) {
        "a module's name cannot have control characters in it"
    } else if name.contains('\\') {
        "a module's name is written with / and not with a backslash"
    } else if name.starts_with('/') {
        "a module's name cannot begin with /"
    } else if name.split('/').any(|segment| segment == "..") {
        "a module's name cannot have .. in it"
    } else {
        return Ok(());
    };
    Err(ControlError::invalid(name.chars().take(80).filter(|char| !char.is_control()).collect::<String>(), problem))
}
