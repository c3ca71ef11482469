//! The V8 sandbox: one isolate on one thread, which loads one version of a worker and answers its events.
//!
//! Guarantees:
//! - [`init`] runs before any thread that will enter an isolate exists; on current processors V8 faults otherwise;
//! - code that uses more CPU time or memory than its limits allow is stopped wherever it is (loops, regular
//!   expressions, WebAssembly, start-up), the events it held are told which limit, and the isolate is never used again;
//! - a blank isolate ([`Blank`]) holds nothing of any tenant, so that it can wait in a warm pool;
//! - all that leaves the isolate leaves by its host door.
//!
//! This crate and those that link it depend on V8.

mod blank;
mod dispatch;
mod guard;
mod loader;
mod memory;
mod serve;

mod snapshot {
    pub static BASE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/base.snapshot"));
    include!(concat!(env!("OUT_DIR"), "/residual.rs"));
}

pub use blank::{Blank, init};
pub use guard::{Stuck, watch};
pub use serve::serve;
