//! Runner processes: disposable, held by the kernel, full of tenant code.
//!
//! The edge's side is [`Runners`]: it keeps one runner serving and one spare, already started, so that a runner that
//! crashes is replaced by the next instance that is asked for. The runner's side is [`child::run`]: lock down, start
//! V8, keep blank isolates warm, give each socket that arrives to one of them.
//!
//! Guarantees:
//! - a runner has no environment, no files and no network; of what it inherits it has its control socket, as standard
//!   input, and a pipe to the edge's log, as standard error. Its standard output is `/dev/null`;
//! - a runner dies with its edge;
//! - an isolate's socket is made by the edge and handed over: a runner cannot open one.
#![forbid(unsafe_code)]

pub mod child;
mod control;
mod supervise;

pub use control::Order;
pub use selvedge_isolate::Stuck;
pub use supervise::{Ordered, Reports, RunnerError, Runners, RunnersConfig};
