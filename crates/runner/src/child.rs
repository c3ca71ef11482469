//! What a runner process does.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use selvedge_isolate::{Blank, Stuck};
use selvedge_sandbox::Policy;

use crate::control::{self, Order};

/// Blank isolates kept waiting. One costs about 3 ms of CPU to make and 3 MB to keep.
const WARM_ISOLATES: usize = 4;
/// The memory limit of isolates in the warm pool, in MiB; an order for another makes its own.
const WARM_MEMORY_MIB: u32 = 128;
/// How long after an isolate was taken the next is made, unless none is left: about what a worker's start takes.
const RESTOCK_DELAY: Duration = Duration::from_millis(3);
/// How long to wait after an isolate could not be made.
const RESTOCK_RETRY: Duration = Duration::from_millis(100);
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
    give: mpsc::Sender<(u64, OwnedFd)>,
}

/// Runs a runner process until the edge closes its control socket. `policy` says what to keep of the process.
pub fn run(policy: &Policy) -> Result<(), ChildError> {
    // Where the machine's memory runs out, a runner is what the kernel should end.
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
        tracing::warn!(%error, "the kernel may end other processes than runners where memory runs out");
    }
    if let Err(error) = selvedge_sandbox::make_room(policy.descriptors_max) {
        tracing::warn!(%error, "no room was made for descriptors: some cold starts will wait for it");
    }
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
    let reports = control.try_clone().map_err(ChildError::Control)?;
    let report = move |stuck: &Stuck| {
        if let Err(error) = control::report(&reports, stuck) {
            tracing::error!(%error, "an isolate cannot be stopped, and the edge was not told");
        }
    };
    thread::Builder::new()
        .name("watchdog".into())
        .spawn(|| selvedge_isolate::watch(report))
        .map_err(ChildError::Thread)?;
    let pool = Arc::new(Pool::default());
    // The first order may be on its way; the others are made behind it.
    pool.lock().push_back(start(WARM_MEMORY_MIB)?);
    let stocked = Arc::clone(&pool);
    thread::Builder::new().name("stock".into()).spawn(move || stocked.keep()).map_err(ChildError::Thread)?;
    while let Some((order, socket)) = control::receive(&control).map_err(ChildError::Receive)? {
        let ready = match pool.take(order) {
            Some(warm) => warm,
            None => start(order.memory_mib)?,
        };
        // A thread that is gone drops the socket, and the edge sees its end close.
        let _ = ready.give.send((order.isolate, socket));
        pool.taken.notify_one();
    }
    Ok(())
}

/// Blank isolates, waiting.
#[derive(Default)]
struct Pool {
    warm: Mutex<VecDeque<Warm>>,
    taken: Condvar,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Warm>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The isolate that waited longest, if one is as the order wants it.
    fn take(&self, order: Order) -> Option<Warm> {
        if order.memory_mib != WARM_MEMORY_MIB {
            return None;
        }
        self.lock().pop_front()
    }

    /// Replaces isolates that were taken, for as long as the process lives. Making one would slow the start of the
    /// worker that took it: as long as others wait, it is made a little later.
    fn keep(&self) {
        loop {
            let mut warm = self.lock();
            while warm.len() >= WARM_ISOLATES {
                warm = self.taken.wait(warm).unwrap_or_else(PoisonError::into_inner);
            }
            let urgent = warm.is_empty();
            drop(warm);
            if !urgent {
                thread::sleep(RESTOCK_DELAY);
            }
            match start(WARM_MEMORY_MIB) {
                Ok(one) => self.lock().push_back(one),
                Err(error) => {
                    tracing::error!(%error, "no blank isolate");
                    thread::sleep(RESTOCK_RETRY);
                }
            }
        }
    }
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
fn isolate(memory_mib: u32, take: &mpsc::Receiver<(u64, OwnedFd)>) {
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
    let Ok((number, socket)) = take.recv() else {
        return;
    };
    runtime.block_on(async move {
        let socket = std::os::unix::net::UnixStream::from(socket);
        match tokio::net::UnixStream::from_std(socket) {
            Ok(socket) => selvedge_isolate::serve(blank, number, socket).await,
            Err(error) => tracing::error!(%error, "the socket of an isolate cannot be used"),
        }
    });
}
