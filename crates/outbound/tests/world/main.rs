//! Outbound requests against real servers on this machine, which only allow rules make reachable.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod bounds;
mod fetch;
mod filter;
mod redirects;
mod secure;
mod support;
mod websockets;
