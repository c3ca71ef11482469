//! The static assets of a worker, as Workers static assets behave.
//!
//! An [`AssetSet`] is an immutable index of one directory, or of files that a store keeps by hash. It guarantees:
//!
//! - **Only what was indexed is served.** A request's path is a look-up in the index, never a file name: `..`, encoded
//!   slashes, NUL and the like can only miss. A symbolic link that leads outside the directory is not indexed.
//! - **Redirects stay on the site** unless the deployer's `_redirects` names another one: no request path can become a
//!   `Location` that starts with two slashes.
//! - **Bounded.** Files, file sizes, rules, line lengths, URLs and the memory spent on contents all have limits; big
//!   files are streamed. What is compressed is compressed once where a store keeps the files ([`Variants`]).
//! - **Deciding is pure.** [`AssetSet::decide`] reads the index only. [`AssetSet::respond`] does the reading of files.
//!
//! A set does not watch its directory; whoever does opens a new one, which costs a directory walk and no file reads.
//! A file changed since is served as it is now, with the entity tag of what it is now.
//!
//! Sources: <https://developers.cloudflare.com/workers/static-assets/> and, for what the pages leave open, the observable
//! behaviour of the public implementation (`packages/workers-shared` in `cloudflare/workers-sdk`).
#![forbid(unsafe_code)]

mod asset;
mod base_path;
mod body;
mod coder;
mod compress;
mod config;
mod decide;
mod header_rules;
mod index;
mod path;
mod pattern;
mod redirect_rules;
mod request;
mod resolve;
mod respond;
mod rule_url;
mod set;
mod variants;
mod worker_first;

pub use asset::{ServeError, StoredFile};
pub use body::AssetBody;
pub use coder::{Decoder, Encoder};
pub use compress::{Coding, forbids_transform, vary_by_coding, weaken};
pub use config::{AssetsConfig, HtmlHandling, NotFoundHandling, RunWorkerFirst};
pub use decide::{Answer, AssetPlan, Decision};
pub use request::{AssetRequest, URL_BYTES_MAX};
pub use set::{AssetSet, AssetsError, ListedFile, Notice};
pub use variants::Variants;
pub use worker_first::{WORKER_FIRST_RULE_CHARS_MAX, WORKER_FIRST_RULES_MAX, WorkerFirstError};

/// Most files in one set.
pub const FILES_MAX: usize = 100_000;
/// Largest file, in bytes: 25 MiB.
pub const FILE_BYTES_MAX: u64 = 25 * 1024 * 1024;
/// Most rules in `_headers`. As on the platform, the rule being read when the count is reached is still taken.
pub const HEADER_RULES_MAX: usize = 100;
/// Most rules in `_redirects` without a splat or placeholder.
pub const STATIC_REDIRECTS_MAX: usize = 2_000;
/// Most rules in `_redirects` from the first one with a splat or placeholder on.
pub const DYNAMIC_REDIRECTS_MAX: usize = 100;
/// Longest line of `_headers` and `_redirects`, in characters.
pub const RULE_LINE_CHARS_MAX: usize = 2_000;
