//! `limits`: what the author asks for, within what can be meant.

use std::time::Duration;

use crate::{
    project::Limits,
    reader::{At, Reader},
};

/// The most that a platform takes.
pub const CPU_MS_MAX: u64 = 300_000;
pub const SUBREQUESTS_MAX: u64 = 10_000_000;
/// Above these a number is taken for a slip (seconds for milliseconds, bytes for megabytes).
const WALL_MS_MAX: u64 = 24 * 60 * 60 * 1000;
const STARTUP_MS_MAX: u64 = 60 * 1000;
const MEMORY_MB_MAX: u64 = 64 * 1024;
const CONNECTIONS_MAX: u64 = 1_000;
const REQUEST_BODY_MB_MAX: u64 = 64 * 1024;
/// What one frame of the host door carries.
const RESPONSE_HEADERS_KB_MAX: u64 = 512;
const LOG_KB_MAX: u64 = 1024;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * 1024;

pub(crate) fn read(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Limits> {
    let mut fields = reader.fields(at)?;
    let mut number = |key, range| {
        let at = fields.get(key)?;
        reader.integer(&at, range)
    };
    let limits = Limits {
        cpu: number("cpu_ms", 1..=CPU_MS_MAX).map(Duration::from_millis),
        subrequests: number("subrequests", 1..=SUBREQUESTS_MAX).and_then(|count| u32::try_from(count).ok()),
        wall: number("wall_ms", 1..=WALL_MS_MAX).map(Duration::from_millis),
        wait_until: number("wait_until_ms", 1..=WALL_MS_MAX).map(Duration::from_millis),
        memory_bytes: number("memory_mb", 1..=MEMORY_MB_MAX).map(|megabytes| megabytes * MIB),
        startup: number("startup_ms", 1..=STARTUP_MS_MAX).map(Duration::from_millis),
        connections: number("connections", 1..=CONNECTIONS_MAX).and_then(|count| u32::try_from(count).ok()),
        request_body_bytes: number("request_body_mb", 0..=REQUEST_BODY_MB_MAX).map(|megabytes| megabytes * MIB),
        response_header_bytes: number("response_headers_kb", 1..=RESPONSE_HEADERS_KB_MAX)
            .map(|kilobytes| kilobytes * KIB),
        log_bytes: number("log_kb", 0..=LOG_KB_MAX).map(|kilobytes| kilobytes * KIB),
    };
    fields.finish(reader);
    Some(limits)
}
