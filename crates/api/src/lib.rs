//! Api.
#![forbid(unsafe_code)]
