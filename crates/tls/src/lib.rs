//! Tls.
#![forbid(unsafe_code)]
