//! `selvedge runner`: the process that runs tenant code.

use std::process::ExitCode;

use selvedge_sandbox::Policy;

/// Runs a runner until its edge closes the control socket.
pub fn main(parent: u32) -> ExitCode {
    // No environment reaches a runner, so its own messages have a fixed form.
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .with_target(false)
        .without_time()
        .with_ansi(false)
        // A message that nobody can read must not end a runner.
        .log_internal_errors(false)
        .init();
    // Started through a link of the kernel's, it would be called `exe`.
    if let Err(error) = std::fs::write("/proc/self/comm", "selvedge") {
        tracing::debug!(%error, "this process has another name in the list of processes");
    }
    let policy = Policy { parent: Some(parent), ..Policy::default() };
    match selvedge_runner::child::run(&policy) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{}", crate::terminal::chain(&error));
            ExitCode::FAILURE
        }
    }
}
