//! Pop.
#![forbid(unsafe_code)]
