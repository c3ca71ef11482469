//! The ops of the runtime, and which of the extensions' ops an isolate does without.

pub mod blob;
pub mod clock;
pub mod digest;
pub mod door;
pub mod exceptions;
pub mod html_rewriter;
pub mod modules;
pub mod session;

use deno_core::OpDecl;

/// Whether the ops of a Deno extension are left out, because they would reach the world past the host door.
pub fn are_withheld(extension: &str) -> bool {
    extension == "deno_fetch"
}

/// Ops of deno_core and its extensions that ours take the place of.
pub fn stand_in(op: OpDecl) -> OpDecl {
    match op.name {
        "op_blob_create_part" => op.with_implementation_from(&blob::op_blob_part()),
        // The time that a worker sees stands still while it runs.
        "op_now" => op.with_implementation_from(&clock::op_performance_now()),
        "op_time_origin" => op.with_implementation_from(&clock::op_performance_origin()),
        // An exception that nobody caught ends what threw it, not the isolate.
        "op_dispatch_exception" => op.with_implementation_from(&exceptions::op_exception_uncaught()),
        _ => op,
    }
}
