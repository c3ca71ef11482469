//! Telemetry.
#![forbid(unsafe_code)]

mod redact;

pub use redact::{is_credential, redacted};
