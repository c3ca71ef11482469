//! How much one worker may use.

use serde::{Deserialize, Serialize};

/// The most CPU time that a worker may ask for, in milliseconds: five minutes, as on the large platforms.
pub const CPU_MS_MAX: u32 = 300_000;
/// The most subrequests that a worker may ask for.
pub const SUBREQUESTS_MAX: u32 = 10_000_000;

/// The limits of one worker. Defaults are those of the large platforms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// CPU time of one event, in milliseconds.
    pub cpu_ms: u32,
    /// Time from an event's arrival to its answer, in milliseconds.
    pub wall_ms: u64,
    /// Time from an answer's end, or from its client's leaving, to the end of what the event left to `waitUntil`, in
    /// milliseconds.
    pub wait_until_ms: u64,
    /// Memory of one isolate, V8 heap and array buffers together, in MiB.
    pub memory_mib: u32,
    /// CPU time of evaluating the worker's modules, in milliseconds.
    pub startup_ms: u32,
    /// Requests that one event may make to the world and to bindings.
    pub subrequests: u32,
    /// Requests to the world that one event may have open at once.
    pub connections: u32,
    /// Size of a request's body, in bytes.
    pub request_body_bytes: u64,
    /// Size of a response's headers, in bytes.
    pub response_header_bytes: u32,
    /// What one event may log, in bytes.
    pub log_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu_ms: 30_000,
            wall_ms: 300_000,
            wait_until_ms: 30_000,
            memory_mib: 128,
            startup_ms: 1_000,
            subrequests: 1_000,
            connections: 6,
            request_body_bytes: 100 * 1024 * 1024,
            response_header_bytes: 128 * 1024,
            log_bytes: 256 * 1024,
        }
    }
}
