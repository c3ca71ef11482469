//! What the kernel forbids a runner.
//!
//! [`lock_down`] is called by a runner process once, right after it starts and before it holds a byte of tenant
//! code. When it returns, the process keeps the descriptors it was given and computes: it opens no file, makes no
//! socket, starts no program and no process, signals nobody, and nothing it loads later can undo that. The runner's
//! way to the world is the sockets that the edge hands it, and nothing else.
//!
//! Two mechanisms overlap on purpose: Landlock refuses by object (files, TCP ports, signals, abstract sockets),
//! seccomp refuses by system call. Where a kernel lacks one, the other still holds most of the line, and the
//! [`Report`] says so in one plain sentence that start-up prints.
//!
//! # The caller's part
//!
//! - **One thread.** Landlock (before ABI 8) and the capability sets hold the calling thread and the threads that it
//!   starts later. With a second thread already running, `lock_down` is an error, whatever the policy.
//! - **Before V8's platform**, which starts threads. V8 seeds itself from `/dev/urandom`, which can no longer be
//!   opened: install an entropy source over `getrandom` before V8 starts, or its seeds are the clock.
//! - **One tokio runtime with I/O first.** Tokio makes one process-wide socket pair (for signals) together with the
//!   first runtime that has I/O enabled; `socketpair` is refused afterwards. Build a current-thread runtime (it
//!   starts no thread), lock down, and every later runtime on any thread works.
//! - **The edge spawns the runner through [`prepare_command`]**, from a thread that lives as long as the runner:
//!   the kernel sends the parent-death signal when the *thread* that forked ends.
//! - **Descriptors travel as standard input** (`Command::stdin(OwnedFd)`), or later over that socket.
//!
//! # What stays possible
//!
//! Memory (executable too: V8 compiles), threads, timers, clocks, futexes, epoll, and reading and writing what is
//! already open. A locked-down process can still burn CPU and memory: limits on those belong to the isolate.

#![forbid(unsafe_code)]

mod descriptors;
mod filter;
mod objects;
mod policy;
mod process;
mod report;
mod syscalls;

pub use self::{
    descriptors::make_room,
    policy::{DESCRIPTORS_MAX_DEFAULT, Policy, prepare_command},
    report::{Protection, Report, Status},
};

/// Why a process was not locked down.
///
/// After an error the process may be locked down in part; it must exit.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("the sandbox must be entered by a process with one thread; {running} are running")]
    Threads { running: usize },
    #[error("the environment is not empty: {}", .names.join(", "))]
    Environment { names: Vec<String> },
    #[error("the parent process {expected} is gone")]
    ParentGone { expected: u32 },
    #[error("descriptor {descriptor}, which the policy keeps, is not open")]
    DescriptorMissing { descriptor: i32 },
    #[error("closing the inherited descriptor {descriptor}")]
    CloseDescriptor { descriptor: i32, source: std::io::Error },
    #[error("setting the Landlock rules")]
    Landlock(#[source] landlock::RulesetError),
    #[error("compiling the system call filter")]
    CompileFilter(#[source] seccompiler::BackendError),
    #[error("installing the system call filter")]
    InstallFilter(#[source] seccompiler::Error),
    #[error("the policy is strict and this kernel falls short: {report}")]
    Strict { report: Box<Report> },
    #[error("the kernel reported a closed file system and still opened {path}")]
    Leak { path: &'static str },
}

/// Takes from this process, for good, all that a runner does not need.
///
/// Protections that the kernel lacks are reported, not fatal, unless [`Policy::strict`].
///
/// # Errors
///
/// [`SandboxError::Threads`], [`SandboxError::Environment`] and [`SandboxError::DescriptorMissing`] are mistakes of
/// whoever started the process; [`SandboxError::Strict`] names what the kernel lacks. After any error: exit.
pub fn lock_down(policy: &Policy) -> Result<Report, SandboxError> {
    let mut report = Report::default();

    // What reads /proc comes first: a process that is not dumpable no longer owns its own entries there.
    process::check_single_thread(&mut report)?;
    process::check_environment(policy, &mut report)?;
    descriptors::close_inherited(policy, &mut report)?;

    process::die_with_parent(policy, &mut report)?;
    process::limit(policy, &mut report);
    process::drop_privileges(&mut report);

    objects::restrict(&mut report)?;
    filter::install(&mut report)?;
    verify(&report)?;

    if policy.strict && !report.is_complete() {
        return Err(SandboxError::Strict { report: Box::new(report) });
    }
    Ok(report)
}

/// The other side of the boundary: what was reported closed must be closed.
fn verify(report: &Report) -> Result<(), SandboxError> {
    const PROBE: &str = "/proc/self/status";

    let closed = [Protection::SystemCalls, Protection::Files].iter().any(|protection| report.is_enforced(*protection));
    if closed && std::fs::File::open(PROBE).is_ok() {
        return Err(SandboxError::Leak { path: PROBE });
    }
    Ok(())
}
