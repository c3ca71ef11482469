//! The unmodified wrangler deploys to a real `selvedge up`: every test with the newest version that runs on Node.js 20, and
//! with the newest of all. What a command did is seen in what the workers then answer.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod support;

/// Makes a test of each function for each version of the client.
macro_rules! with_both_clients {
    ($($name:ident),* $(,)?) => {
        mod node20 {
            $(#[test] fn $name() { super::$name(crate::support::wrangler::Client::Node20); })*
        }
        mod latest {
            $(#[test] fn $name() { super::$name(crate::support::wrangler::Client::Latest); })*
        }
    };
}

#[path = "wrangler/account.rs"]
mod account;
#[path = "wrangler/assets.rs"]
mod assets;
#[path = "wrangler/delete.rs"]
mod delete;
#[path = "wrangler/deploy.rs"]
mod deploy;
#[path = "wrangler/resources.rs"]
mod resources;
#[path = "wrangler/secrets.rs"]
mod secrets;
#[path = "wrangler/services.rs"]
mod services;
#[path = "wrangler/tail.rs"]
mod tail;
#[path = "wrangler/triggers.rs"]
mod triggers;
#[path = "wrangler/versions.rs"]
mod versions;
