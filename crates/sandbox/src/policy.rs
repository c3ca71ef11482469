//! What the caller decides; everything else about the sandbox is fixed.

use std::{os::fd::RawFd, process::Command};

/// Descriptors that one runner may hold: five for each of 3,000 isolates (a socket, an epoll, an event, a clone of
/// tokio's signal pipe, one spare), and some.
pub const DESCRIPTORS_MAX_DEFAULT: u64 = 16_384;

/// The part of the sandbox that differs between callers.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Inherited descriptors that stay open. Each must be open; every other inherited one is closed.
    pub descriptors_kept: Vec<RawFd>,
    /// Environment variables that may be present; any other is an error.
    pub environment_kept: Vec<String>,
    /// The limit on open descriptors; lowered to the hard limit where that is smaller.
    pub descriptors_max: u64,
    /// The process whose death kills this one; `None` leaves this process running when its parent dies.
    pub parent: Option<u32>,
    /// Whether a protection that the kernel lacks is an error.
    pub strict: bool,
}

impl Default for Policy {
    /// Standard input, output and error kept, no environment, gaps in the kernel reported.
    fn default() -> Self {
        Self {
            descriptors_kept: vec![0, 1, 2],
            environment_kept: Vec::new(),
            descriptors_max: DESCRIPTORS_MAX_DEFAULT,
            parent: None,
            strict: false,
        }
    }
}

/// Makes `command` start its program without environment and from the root folder.
///
/// `environment_kept` names the variables to copy from this process, and should be what the child's
/// [`Policy::environment_kept`] holds.
pub fn prepare_command(command: &mut Command, environment_kept: &[String]) {
    command.env_clear().current_dir("/");
    for name in environment_kept {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
}
