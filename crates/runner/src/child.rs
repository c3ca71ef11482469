//! What a runner process does.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread;

use rustix::io::Errno;
use selvedge_isolate::Blank;
use selvedge_sandbox::Policy;

use crate::control::{self, Order};

/// Blank isolates kept waiting. One costs about 3 ms of CPU to make and 3 MB to keep.
const WARM_ISOLATES: usize = 4;
/// The memory limit of isolates in the warm pool, in MiB; an order for another makes its own.
const WARM_MEMORY_MIB: u32 = 128;
/// Stack of an isolate's thread: V8 uses up to 900 KiB of it, host callbacks the rest.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Why a runner ended itself.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    #[error("standard input is not the control socket")]
    Control(#[source] std::io::Error),
    #[error("the runner could not be locked down")]
    Sandbox(#[from] selvedge_sandbox::SandboxError),
    #[error("the asynchronous runtime could not be made")]
    Runtime(#[source] std::io::Error),
    #[error("the control socket failed")]
    Receive(#[source] Errno),
    #[error("a thread for an isolate could not be started")]
    Thread(#[source] std::io::Error),
}

/// A thread with a blank isolate, waiting for its socket.
struct Warm {
    give: mpsc::Sender<OwnedFd>,
}

/// Runs a runner process until the edge closes its control socket. `policy` says what to keep of the process.
pub fn run(policy: &Policy) -> Result<(), ChildError> {
    let control = std::io::stdin().as_fd().try_clone_to_owned().map_err(ChildError::Control)?;
    // Tokio makes its process-wide signal socket with the first runtime; afterwards no socket can be made.
    let first = runtime().map_err(ChildError::Runtime)?;
    let report = selvedge_sandbox::lock_down(policy)?;
    if report.is_complete() {
        tracing::debug!("runner sandbox: {report}");
    } else {
        tracing::warn!("runner sandbox: {report}");
    }
    drop(first);
    selvedge_isolate::init();
    thread::Builder::new().name("watchdog".into()).spawn(|| selvedge_isolate::watch()).map_err(ChildError::Thread)?;
    let mut warm = Vec::with_capacity(WARM_ISOLATES);
    for _ in 0..WARM_ISOLATES {
        warm.push(start(WARM_MEMORY_MIB)?);
    }
    while let Some((order, socket)) = control::receive(&control).map_err(ChildError::Receive)? {
        place(&mut warm, order, socket)?;
    }
    Ok(())
}

/// Gives the socket to a waiting isolate, and starts another to wait in its place.
fn place(warm: &mut Vec<Warm>, order: Order, socket: OwnedFd) -> Result<(), ChildError> {
    let ready = if order.memory_mib == WARM_MEMORY_MIB && !warm.is_empty() {
        let first = warm.remove(0);
        warm.push(start(WARM_MEMORY_MIB)?);
        first
    } else {
        start(order.memory_mib)?
    };
    // A thread that is gone drops the socket, and the edge sees its end close.
    let _ = ready.give.send(socket);
    Ok(())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn start(memory_mib: u32) -> Result<Warm, ChildError> {
    let (give, take) = mpsc::channel();
    thread::Builder::new()
        .name("isolate".into())
        .stack_size(STACK_BYTES)
        .spawn(move || isolate(memory_mib, &take))
        .map_err(ChildError::Thread)?;
    Ok(Warm { give })
}

/// An isolate's thread: make it blank, wait for a socket, serve.
fn isolate(memory_mib: u32, take: &mpsc::Receiver<OwnedFd>) {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no asynchronous runtime for an isolate");
            return;
        }
    };
    let guard = runtime.enter();
    let blank = Blank::new(memory_mib);
    drop(guard);
    let Ok(socket) = take.recv() else {
        return;
    };
    runtime.block_on(async move {
        let socket = std::os::unix::net::UnixStream::from(socket);
        match tokio::net::UnixStream::from_std(socket) {
            Ok(socket) => selvedge_isolate::serve(blank, socket).await,
            Err(error) => tracing::error!(%error, "the socket of an isolate cannot be used"),
        }
    });
}
