//! Telemetry.
#![forbid(unsafe_code)]
