//! Projects on disk, loaded through the public API.

// A helper is test code too, which clippy.toml's exceptions for `#[test]` functions do not reach.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod config;
mod deploy;
mod environments;
mod globals;
mod mistakes;
mod secrets;
mod support;
mod targets;
