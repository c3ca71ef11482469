//! Bindings to nghttp2, made ahead of the build: see README.md.
#![allow(bad_style, clippy::all, unsafe_op_in_unsafe_fn, reason = "generated code")]

include!("bindings.rs");
