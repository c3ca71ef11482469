//! The control plane's decisions and its state: accounts, tokens, workers, versions, deployments, secrets, routes.
//!
//! What it guarantees: a command that was acknowledged is in one log of the fabric, and is published to every edge,
//! whatever ends the process in between; a version exists only if it was started once; nobody sees, changes or can tell
//! the existence of what belongs to another account; secrets are sealed before anything keeps them.
//!
//! All state is made of the log's events. [`Control`] keeps a view of it in SQLite, which can be deleted: it is made
//! again from the log. Nothing here speaks HTTP, and nothing but this crate may write the log `control` and the keys
//! `worker/`, `version/`, `exclusions/` and `control/`.
#![forbid(unsafe_code)]

mod account;
mod asset;
mod audit;
mod binding;
mod bounds;
mod caller;
mod compatibility;
mod control;
mod core;
mod deployment;
mod domain;
mod draft;
mod error;
mod event;
#[doc(hidden)]
pub mod fuzzing;
mod maintain;
mod make;
mod migration;
mod nearest;
mod page;
mod pins;
mod resource;
mod route;
mod schedule;
mod secret;
mod store;
mod token;
mod upload;
mod upload_version;
mod version;
mod worker;
mod zone;

pub use account::{Account, NewAccount};
pub use asset::{AssetEntry, AssetsSession, AssetsUploaded};
pub use audit::{AuditEntry, AuditPage, AuditQuery};
pub use binding::BindingInput;
pub use bounds::*;
pub use caller::{Caller, Origin, Permission, Scope};
pub use control::{Clock, Control, ControlConfig, FirstStart, Opened};
pub use deployment::{Deployment, NewDeployment};
pub use domain::{CustomDomain, DomainChanges, DomainInput, DomainOptions};
pub use error::ControlError;
pub use nearest::{NearestPop, StartFailure, Started};
pub use page::Page;
pub use resource::{NewResource, Resource, ResourceKind};
pub use route::{Route, RouteInput};
pub use schedule::Schedule;
pub use secret::{Secret, SecretsKey};
pub use token::{NewToken, Token};
pub use upload::{
    AssetsInput, Deploy, Metadata, MigrationStep, Migrations, RenamedClass, TransferredClass, Upload, UploadModule,
    UploadOptions, UploadPart, UploadSourceMap, Uploaded,
};
pub use version::{EnvPatch, EnvValue, VersionContent, VersionSummary};
pub use worker::{Consumer, References, ScriptSettings, SettingsPatch, Worker};
pub use zone::Zone;
