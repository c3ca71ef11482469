//! The ops of the runtime, and which of the extensions' ops an isolate does without.

pub mod clock;
pub mod door;
pub mod modules;

/// Whether an op of a Deno extension is left out, because it would reach the world past the host door.
pub fn is_withheld(extension: &str, _op: &str) -> bool {
    matches!(extension, "deno_fetch")
}
