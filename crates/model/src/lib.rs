//! Data that crosses between the parts: what a version is made of, what it may use, and how it is told that it used
//! too much. No behaviour beyond encoding and checking; nothing here knows a socket, a file or V8.
#![forbid(unsafe_code)]

mod deploy;
mod failure;
mod ids;
mod json;
mod limits;
mod manifest;
mod route;
mod trace;

pub use deploy::{
    AssetFile, AssetFiles, AssetsRecord, BASIS_POINTS, BindingKind, BindingRecord, CronRecord, DeploymentRecord,
    ModuleRecord, RateLimit, Share, SourceMapRecord, VersionRecord, WorkerRecord, version_key, worker_key,
};
pub use failure::{Exception, Failure, LimitError, LimitName, Place};
pub use ids::{AccountId, BlobHash, IdError, VersionId, WorkerKey, WorkerName};
pub use json::{JSON_DEPTH_MAX, JsonError, check_json};
pub use limits::{CPU_MS_MAX, Limits, SUBREQUESTS_MAX};
pub use manifest::{Binding, Format, LoadError, Loaded, Manifest, Module, ModuleKind, NamedHandlers, Ready, Version};
pub use route::{HostWildcard, ROUTE_BYTES_MAX, RouteError, RoutePattern, RouteScheme, Specificity, is_host_name};
pub use trace::{
    ChannelMessage, ConsumedEvent, ExecutionModel, Outcome, ScriptVersion, Trace, TraceEvent, TraceException, TraceLog,
    TraceOf, TraceRequest, TraceResponse,
};
