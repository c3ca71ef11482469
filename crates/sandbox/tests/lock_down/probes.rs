//! What a locked-down process tries. Every probe runs in a process of its own.

use std::{
    collections::HashSet,
    env,
    fs::File,
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt, parent_id},
        },
    },
    process::Command,
    time::{Duration, Instant},
};

use nix_probes::{errno::Errno, sys::signal::Signal};
use selvedge_sandbox::{Policy, Protection, Report, SandboxError, lock_down, prepare_command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{End, PROBE};

pub struct Probe {
    pub name: &'static str,
    pub end: End,
    run: fn(),
}

const fn probe(name: &'static str, run: fn()) -> Probe {
    Probe { name, end: End::Success, run }
}

const fn fatal(name: &'static str, run: fn()) -> Probe {
    Probe { name, end: End::Killed(Signal::SIGSYS as i32), run }
}

pub const ALL: &[Probe] = &[
    probe("report_is_complete_on_this_kernel", report_is_complete),
    probe("no_file_opens", no_file_opens),
    probe("no_socket_is_made", no_socket_is_made),
    probe("no_process_starts", no_process_starts),
    fatal("exec_kills", exec_kills),
    fatal("ptrace_kills", ptrace_kills),
    fatal("mount_kills", mount_kills),
    probe("no_signal_leaves_the_process", no_signal_leaves),
    probe("limits_cannot_be_raised", limits_cannot_be_raised),
    probe("memory_can_be_executable", memory_can_be_executable),
    probe("threads_start_and_end", threads_start_and_end),
    Probe { name: "abort_ends_the_process", end: End::Killed(Signal::SIGABRT as i32), run: abort_ends_the_process },
    probe("clocks_and_sleep_work", clocks_and_sleep_work),
    probe("randomness_is_there", randomness_is_there),
    probe("hostname_and_cpu_count_are_there", cpu_count_is_there),
    probe("standard_library_io_on_the_socket_works", std_io_works),
    probe("tokio_io_on_the_socket_works", tokio_io_works),
    probe("tokio_runtimes_on_threads_work", tokio_on_threads_works),
    probe("descriptors_arrive_over_the_socket", descriptors_arrive),
    probe("second_thread_is_an_error", second_thread_is_an_error),
    probe("missing_descriptor_is_an_error", missing_descriptor_is_an_error),
    probe("gone_parent_is_an_error", gone_parent_is_an_error),
    probe("second_lock_down_is_refused", second_lock_down_is_refused),
];

pub fn run(name: &str) {
    match name {
        "descriptor_is_closed" => descriptor_is_closed(),
        "environment_is_an_error" => environment_is_an_error(),
        "parent_of_waiting_child" => parent_of_waiting_child(),
        "waiting_child" => waiting_child(),
        _ => {
            let probe = ALL.iter().find(|probe| probe.name == name).expect(name);
            (probe.run)();
        }
    }
}

fn lock() -> Report {
    lock_down(&Policy { parent: Some(parent_id()), ..Policy::default() }).unwrap()
}

fn socket() -> UnixStream {
    UnixStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap())
}

#[track_caller]
fn assert_refused<T>(result: io::Result<T>) {
    match result {
        Ok(_) => panic!("it was allowed"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}"),
    }
}

#[track_caller]
fn assert_errno<T>(result: nix_probes::Result<T>) {
    assert_eq!(result.map(|_| ()), Err(Errno::EPERM));
}

fn report_is_complete() {
    let report = lock();
    assert!(report.is_complete(), "{report}");
    assert_eq!(report.entries().len(), 10);
    assert_eq!(report.to_string(), "sandbox: 10 of 10 protections enforced");
}

fn no_file_opens() {
    let before = File::open("/proc/self/status").unwrap();
    drop(before);
    lock();
    assert_refused(File::open("/etc/passwd"));
    assert_refused(File::open("/proc/self/maps"));
    assert_refused(File::open("/dev/urandom"));
    assert_refused(File::create("/tmp/selvedge-probe"));
    assert_refused(std::fs::read_dir("/"));
    assert_refused(std::fs::metadata("/etc/passwd"));
    assert_refused(std::fs::read_link("/proc/self/exe"));
    assert_refused(std::fs::create_dir("/tmp/selvedge-probe"));
    assert_refused(std::fs::remove_file("/tmp/selvedge-probe"));
    assert_refused(env::set_current_dir("/tmp"));
}

fn no_socket_is_made() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    lock();
    assert_refused(TcpStream::connect(address));
    assert_refused(TcpListener::bind("127.0.0.1:0"));
    assert_refused(UdpSocket::bind("127.0.0.1:0"));
    assert_refused(UnixStream::connect("/run/any"));
    assert_refused(UnixStream::pair());
    assert_refused(listener.accept());
}

fn no_process_starts() {
    lock();
    assert_refused(Command::new("/bin/true").spawn());
    // With a user to change to, the standard library forks instead of spawning.
    assert_refused(Command::new("/bin/true").uid(65_534).spawn());
}

fn exec_kills() {
    lock();
    let error = Command::new("/bin/true").exec();
    panic!("exec returned: {error}");
}

fn ptrace_kills() {
    lock();
    let _ = nix_probes::sys::ptrace::traceme();
}

fn mount_kills() {
    lock();
    let none: Option<&str> = None;
    let _ = nix_probes::mount::mount(none, "/tmp", Some("tmpfs"), nix_probes::mount::MsFlags::empty(), none);
}

fn no_signal_leaves() {
    lock();
    let parent = nix_probes::unistd::Pid::from_raw(parent_id().cast_signed());
    assert_errno(nix_probes::sys::signal::kill(parent, None));
    assert_errno(nix_probes::sys::signal::kill(parent, Signal::SIGTERM));
    assert_errno(nix_probes::sys::signal::kill(nix_probes::unistd::Pid::from_raw(-1), None));
    // To itself it can: that is how abort ends a process.
    nix_probes::sys::signal::raise(Signal::SIGWINCH).unwrap();
}

fn limits_cannot_be_raised() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    lock();
    assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
    assert!(getrlimit(Resource::Nofile).maximum.unwrap() <= selvedge_sandbox::DESCRIPTORS_MAX_DEFAULT);
    let unlimited = Rlimit { current: None, maximum: None };
    assert_eq!(setrlimit(Resource::Core, unlimited), Err(rustix::io::Errno::PERM));
}

/// Maps, writes and makes executable, as V8 does with the code that it compiles.
fn memory_can_be_executable() {
    lock();
    let mut code = memmap2::MmapMut::map_anon(1 << 20).unwrap();
    code.fill(0xc3);
    let code = code.make_exec().unwrap();
    assert!(code.iter().all(|byte| *byte == 0xc3));

    let mut block: Vec<u8> = vec![1; 64 << 20];
    block.resize(128 << 20, 1);
    assert_eq!(block.iter().map(|byte| u64::from(*byte)).sum::<u64>(), 128 << 20);
}

fn abort_ends_the_process() {
    lock();
    std::process::abort();
}

fn threads_start_and_end() {
    lock();
    let threads: Vec<_> = (0..32)
        .map(|index| {
            std::thread::Builder::new()
                .name(format!("isolate-{index}"))
                .stack_size(1 << 20)
                .spawn(move || {
                    assert_refused(File::open("/etc/passwd"));
                    std::thread::current().id()
                })
                .unwrap()
        })
        .collect();
    let ids: HashSet<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(ids.len(), 32);
}

fn clocks_and_sleep_work() {
    lock();
    let started = Instant::now();
    std::thread::sleep(Duration::from_millis(2));
    assert!(started.elapsed() >= Duration::from_millis(2));
    let cpu = nix_probes::time::ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap();
    assert!(cpu.tv_nsec() > 0 || cpu.tv_sec() > 0);
}

fn randomness_is_there() {
    lock();
    // The standard library seeds each map's keys from the kernel.
    let keys: HashSet<u64> = (0..4).collect();
    assert_eq!(keys.len(), 4);
}

fn cpu_count_is_there() {
    lock();
    assert!(std::thread::available_parallelism().unwrap().get() >= 1);
    assert_eq!(env::current_dir().unwrap(), std::path::Path::new("/"));
}

fn std_io_works() {
    lock();
    let mut socket = socket();
    socket.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
    socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    assert!(socket.take_error().unwrap().is_none());
    socket.shutdown(std::net::Shutdown::Both).unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn echo_through_tokio(socket: UnixStream) {
    socket.set_nonblocking(true).unwrap();
    let mut socket = tokio::net::UnixStream::from_std(socket).unwrap();
    socket.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
    tokio::time::timeout(Duration::from_millis(1), socket.read_u8())
        .await
        .expect_err("the other end has nothing more to say");
}

fn tokio_io_works() {
    let runtime = runtime();
    let report = lock();
    assert!(report.is_complete(), "{report}");
    runtime.block_on(echo_through_tokio(socket()));
}

fn tokio_on_threads_works() {
    let first = runtime();
    lock();
    let thread = std::thread::spawn(|| runtime().block_on(echo_through_tokio(socket())));
    thread.join().unwrap();
    drop(first);
}

/// The edge passes each isolate's socket with `SCM_RIGHTS`. The near end here only echoes bytes, so the probe sends
/// a descriptor to itself over a pair that it made before.
fn descriptors_arrive() {
    use rustix::net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    };
    let (near, far) = UnixStream::pair().unwrap();
    lock();

    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let input = io::stdin();
    let sent = [input.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&sent)));
    sendmsg(&near, &[io::IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();

    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    recvmsg(&far, &mut [io::IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let received: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    let [descriptor] = <[OwnedFd; 1]>::try_from(received).unwrap();
    let mut socket = UnixStream::from(descriptor);
    socket.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

fn second_thread_is_an_error() {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || stopped.recv());
    let error = lock_down(&Policy::default()).unwrap_err();
    assert!(matches!(error, SandboxError::Threads { running: 2 }), "{error}");
    drop(stop);
    let _ = thread.join();
}

fn missing_descriptor_is_an_error() {
    let error = lock_down(&Policy { descriptors_kept: vec![0, 1, 2, 99], ..Policy::default() }).unwrap_err();
    assert!(matches!(error, SandboxError::DescriptorMissing { descriptor: 99 }), "{error}");
}

fn gone_parent_is_an_error() {
    let error = lock_down(&Policy { parent: Some(parent_id() + 1), ..Policy::default() }).unwrap_err();
    assert!(matches!(error, SandboxError::ParentGone { .. }), "{error}");
}

/// Nothing that runs later can replace the rules, be it the same call.
fn second_lock_down_is_refused() {
    lock();
    assert!(lock_down(&Policy::default()).is_err());
}

fn descriptor_is_closed() {
    let leaked = env::args().nth(3).expect("a descriptor's number");
    let path = format!("/proc/self/fd/{leaked}");
    std::fs::read_link(&path).expect("the descriptor was inherited");
    let report = lock();
    assert!(report.is_enforced(Protection::Descriptors));
    let number: i32 = leaked.parse().unwrap();
    assert_eq!(nix_probes::unistd::close(number), Err(Errno::EBADF));
}

fn environment_is_an_error() {
    let error = lock_down(&Policy::default()).unwrap_err();
    assert_eq!(error.to_string(), "the environment is not empty: AWS_SECRET_ACCESS_KEY");
    assert!(!error.to_string().contains("hunter2"));
    lock_down(&Policy { environment_kept: vec!["AWS_SECRET_ACCESS_KEY".to_owned()], ..Policy::default() }).unwrap();
}

#[allow(clippy::zombie_processes, reason = "who waits for the child is what the probe is about: nobody")]
fn parent_of_waiting_child() {
    let mut command = Command::new(env::current_exe().unwrap());
    prepare_command(&mut command, &[]);
    let mut child = command
        .args([PROBE, "waiting_child"])
        .stdin(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // The child says on its standard error that it is locked down.
    let mut line = [0; 1];
    child.stderr.take().unwrap().read_exact(&mut line).unwrap();
    // The input stays open in nobody: only the kernel ends the child now.
    std::mem::forget(child.stdin.take());
}

fn waiting_child() {
    lock();
    io::stdout().write_all(b"locked\n").unwrap();
    io::stdout().flush().unwrap();
    io::stderr().write_all(b".").unwrap();
    loop {
        std::thread::park();
    }
}
