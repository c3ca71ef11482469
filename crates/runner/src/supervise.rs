//! The edge's side of its runners: start, replace, order instances.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use selvedge_isolate::Stuck;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use crate::control::{self, Order};

/// How long until a runner that cannot be started is tried again: at first, and twice as long each time, up to the second.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(5);
/// How long after the first runner its spare is started.
const SPARE_DELAY: Duration = Duration::from_millis(100);
/// A runner that ends sooner than this after its start is not replaced at once.
const CRASH_INTERVAL: Duration = Duration::from_secs(1);
/// Tries at ordering an instance before giving up: the serving runner, the spare, and the spare's successor.
const ORDER_TRIES: usize = 3;
/// The longest line of a runner's own messages that is passed on as one, in bytes.
const MESSAGE_BYTES_MAX: u64 = 4 * 1024;
/// What a runner is called in the list of processes, whichever file it is started from.
const PROCESS_NAME: &str = "selvedge";
/// Reports that wait to be acted on; a runner that sends more is not listened to meanwhile.
const REPORTS_WAITING_MAX: usize = 16;

/// How runners are started.
#[derive(Debug, Clone)]
pub struct RunnersConfig {
    /// The program that runs [`crate::child::run`].
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// Why no instance could be had.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    // Not from which file: clients of workers are told this.
    #[error("a runner process could not be started")]
    Spawn(#[source] std::io::Error),
    #[error("a pair of sockets could not be made")]
    Sockets(#[source] std::io::Error),
    #[error("a thread for a runner's reports could not be started")]
    Thread(#[source] std::io::Error),
    #[error("no runner took the instance")]
    Order(#[source] std::io::Error),
}

#[derive(Debug)]
struct Runner {
    pid: u32,
    control: OwnedFd,
    alive: AtomicBool,
    /// It is to be ended: nothing that counts runs in it any more.
    end: Notify,
}

/// Which isolates cannot be stopped, each with the process that it is in.
pub type Reports = mpsc::Receiver<(u32, Stuck)>;

/// What an order came to.
#[derive(Debug)]
pub struct Ordered {
    /// The number of the isolate, by which a runner speaks of it.
    pub isolate: u64,
    /// The process that the isolate is in.
    pub runner: u32,
    /// The edge's end of its socket.
    pub socket: UnixStream,
}

#[derive(Debug, Default)]
struct Set {
    serving: Option<Arc<Runner>>,
    spare: Option<Arc<Runner>>,
    /// Those that were replaced, by process: they take no more orders.
    retired: HashMap<u32, Arc<Runner>>,
}

/// The runners of an edge.
#[derive(Debug)]
pub struct Runners {
    config: RunnersConfig,
    set: Mutex<Set>,
    next_isolate: AtomicU64,
    stuck: mpsc::Sender<(u32, Stuck)>,
}

impl Runners {
    /// Starts a runner, and a spare behind it. What comes with them tells of isolates that cannot be stopped, and in which process:
    /// it takes no more orders then, and must be ended ([`Runners::end`]).
    pub fn start(config: RunnersConfig) -> Result<(Arc<Self>, Reports), RunnerError> {
        let (stuck, reports) = mpsc::channel(REPORTS_WAITING_MAX);
        let runners = Arc::new(Self { config, set: Mutex::default(), next_isolate: AtomicU64::new(1), stuck });
        runners.lock().serving = Some(runners.spawn()?);
        let behind = Arc::clone(&runners);
        tokio::spawn(async move {
            // What the first is to answer comes first.
            tokio::time::sleep(SPARE_DELAY).await;
            behind.keep_spare().await;
        });
        Ok((runners, reports))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a process to serve now.
    pub fn is_serving(&self) -> bool {
        self.lock().serving.as_ref().is_some_and(|runner| runner.alive.load(Ordering::Acquire))
    }

    /// The process that serves now.
    pub fn serving_pid(&self) -> Option<u32> {
        self.lock().serving.as_ref().map(|runner| runner.pid)
    }

    fn spawn(self: &Arc<Self>) -> Result<Arc<Runner>, RunnerError> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|error| RunnerError::Sockets(error.into()))?;
        let mut command = std::process::Command::new(&self.config.program);
        // What it says goes through the edge's log: a reader of that which stands still must not hold a runner.
        command.arg0(PROCESS_NAME).args(&self.config.arguments);
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
        selvedge_sandbox::prepare_command(&mut command, &[]);
        // An interrupt typed at the terminal is for the edge, which drains first.
        command.process_group(0);
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        let mut child = command.spawn().map_err(RunnerError::Spawn)?;
        let runner = Arc::new(Runner {
            pid: child.id().unwrap_or_default(),
            control: ours,
            alive: AtomicBool::new(true),
            end: Notify::new(),
        });
        if let Some(messages) = child.stderr.take() {
            tokio::spawn(pass_on(runner.pid, messages));
        }
        tokio::spawn(Arc::clone(self).watch(Arc::clone(&runner), child));
        let (runners, heard, handle) = (Arc::clone(self), Arc::clone(&runner), Handle::current());
        std::thread::Builder::new()
            .name("reports".into())
            .spawn(move || runners.listen(&heard, &handle))
            .map_err(RunnerError::Thread)?;
        Ok(runner)
    }

    /// Waits for a runner's end and puts the spare in its place.
    async fn watch(self: Arc<Self>, runner: Arc<Runner>, mut child: Child) {
        let began = Instant::now();
        let status = tokio::select! {
            status = child.wait() => status,
            () = runner.end.notified() => child.kill().await.and(child.wait().await),
        };
        runner.alive.store(false, Ordering::Release);
        let retired = self.lock().retired.remove(&runner.pid).is_some();
        match status {
            Ok(_) if retired => {
                tracing::info!(pid = runner.pid, "a runner that was replaced ended")
            }
            Ok(status) => tracing::warn!(pid = runner.pid, "runner ended: {status}; its requests in flight failed"),
            Err(error) => tracing::error!(pid = runner.pid, %error, "the end of a runner could not be awaited"),
        }
        self.promote();
        if began.elapsed() < CRASH_INTERVAL {
            // A runner that cannot live is not started over and over without a pause.
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        self.keep_spare().await;
    }

    /// Sees to it that there is a runner, and a spare.
    async fn keep_spare(self: &Arc<Self>) {
        let mut retry = RETRY_INTERVAL;
        while let Err(error) = self.restock() {
            tracing::error!(error = chain(&error), "no spare runner");
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_INTERVAL_MAX);
        }
    }

    /// Hears what a runner says, for as long as it lives: on a thread of its own, which sleeps.
    fn listen(self: &Arc<Self>, runner: &Runner, handle: &Handle) {
        let _runtime = handle.enter();
        while let Ok(Some(stuck)) = control::take_report(&runner.control) {
            self.retire(runner.pid);
            // The edge that would act on it may have gone.
            let _ = self.stuck.blocking_send((runner.pid, stuck));
        }
    }

    /// Orders nothing more from a runner: its spare takes its place.
    pub fn retire(self: &Arc<Self>, runner: u32) {
        {
            let mut set = self.lock();
            let set = &mut *set;
            for place in [&mut set.serving, &mut set.spare] {
                if let Some(retired) = place.take_if(|one| one.pid == runner) {
                    set.retired.insert(runner, retired);
                }
            }
            if set.serving.is_none() {
                set.serving = set.spare.take();
            }
        }
        if let Err(error) = self.restock() {
            tracing::error!(error = chain(&error), "no spare runner");
        }
    }

    /// Ends a retired runner.
    pub fn end(&self, runner: u32) {
        if let Some(runner) = self.lock().retired.get(&runner) {
            runner.end.notify_one();
        }
    }

    fn promote(&self) {
        let mut set = self.lock();
        let lives = |runner: &Arc<Runner>| runner.alive.load(Ordering::Acquire);
        set.spare = set.spare.take().filter(lives);
        set.serving = set.serving.take().filter(lives);
        if set.serving.is_none() {
            set.serving = set.spare.take();
        }
    }

    fn restock(self: &Arc<Self>) -> Result<(), RunnerError> {
        loop {
            {
                let set = self.lock();
                if set.serving.is_some() && set.spare.is_some() {
                    return Ok(());
                }
            }
            let runner = self.spawn()?;
            let mut set = self.lock();
            if set.serving.is_none() {
                set.serving = Some(runner);
            } else if set.spare.is_none() {
                set.spare = Some(runner);
            } else {
                // Two were started at once.
                runner.end.notify_one();
                set.retired.insert(runner.pid, runner);
            }
        }
    }

    /// Orders an isolate with so much memory.
    pub fn order(self: &Arc<Self>, memory_mib: u32) -> Result<Ordered, RunnerError> {
        let order = Order { isolate: self.next_isolate.fetch_add(1, Ordering::Relaxed), memory_mib };
        let mut last = std::io::Error::from(std::io::ErrorKind::NotConnected);
        for _ in 0..ORDER_TRIES {
            let serving = self.lock().serving.clone();
            let Some(runner) = serving else {
                self.restock()?;
                continue;
            };
            match hand_over(&runner, order) {
                Ok(socket) => return Ok(Ordered { isolate: order.isolate, runner: runner.pid, socket }),
                Err(error) => {
                    last = error;
                    runner.alive.store(false, Ordering::Release);
                    self.promote();
                }
            }
        }
        Err(RunnerError::Order(last))
    }
}

/// Logs what a runner writes to its standard error, for as long as it does.
async fn pass_on(pid: u32, messages: ChildStderr) {
    let mut messages = BufReader::new(messages);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut messages).take(MESSAGE_BYTES_MAX).read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim();
                if !text.is_empty() {
                    tracing::warn!(pid, "a runner says: {text}");
                }
            }
            Err(error) => {
                tracing::warn!(pid, %error, "what a runner says cannot be read");
                return;
            }
        }
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn hand_over(runner: &Runner, order: Order) -> std::io::Result<UnixStream> {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    control::send(runner.control.as_fd(), order, &theirs)?;
    UnixStream::from_std(std::os::unix::net::UnixStream::from(ours))
}
