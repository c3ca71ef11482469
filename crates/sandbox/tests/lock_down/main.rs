//! The sandbox on the real kernel.
//!
//! Each case re-executes this test program with `--probe NAME`: the child locks itself down, tries one thing on its
//! only thread, and answers by its exit status. Nothing here runs two threads before it is locked down.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing probe is a failing test")]

mod probes;

use std::{
    env,
    io::Read,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{net::UnixStream, process::ExitStatusExt},
    },
    process::{Command, Output, Stdio},
};

use libtest_mimic::{Arguments, Failed, Trial};
use nix_probes::fcntl::{FcntlArg, FdFlag, fcntl};
use selvedge_sandbox::prepare_command;

const PROBE: &str = "--probe";

fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(PROBE) {
        let name = arguments.next().expect("a probe's name");
        probes::run(&name);
        return;
    }

    let mut trials: Vec<Trial> =
        probes::ALL.iter().map(|probe| Trial::test(probe.name, move || passes(probe))).collect();
    trials.push(Trial::test("inherited_descriptor_is_closed", inherited_descriptor_is_closed));
    trials.push(Trial::test("environment_is_refused", environment_is_refused));
    trials.push(Trial::test("dies_with_its_parent", dies_with_its_parent));
    trials.push(Trial::test("kernel_shows_the_process_locked", kernel_shows_the_process_locked));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// How a probe's process must end.
pub enum End {
    Success,
    Killed(i32),
}

fn passes(probe: &probes::Probe) -> Result<(), Failed> {
    let output = child(probe.name).output()?;
    let ended_well = match probe.end {
        End::Success => output.status.success(),
        End::Killed(signal) => output.status.signal() == Some(signal),
    };
    if ended_well { Ok(()) } else { Err(failure(&output)) }
}

fn failure(output: &Output) -> Failed {
    format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into()
}

/// The probe as the edge would start it: no environment, its one socket as standard input.
fn child(name: &str) -> Command {
    let (near, far) = UnixStream::pair().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    prepare_command(&mut command, &[]);
    command.args([PROBE, name]).stdin(OwnedFd::from(far));
    // The near end answers what it reads, on a thread that ends with the child.
    std::thread::spawn(move || {
        let mut writer = near.try_clone().unwrap();
        let mut reader = near;
        std::io::copy(&mut reader, &mut writer)
    });
    command
}

fn inherited_descriptor_is_closed() -> Result<(), Failed> {
    // A descriptor without close-on-exec is what a careless parent leaks.
    let leaked = std::fs::File::open("/etc/passwd")?;
    fcntl(leaked.as_raw_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
    let output = child("descriptor_is_closed").arg(leaked.as_raw_fd().to_string()).output()?;
    if output.status.success() { Ok(()) } else { Err(failure(&output)) }
}

fn environment_is_refused() -> Result<(), Failed> {
    let output = child("environment_is_an_error").env("AWS_SECRET_ACCESS_KEY", "hunter2").output()?;
    if output.status.success() { Ok(()) } else { Err(failure(&output)) }
}

fn dies_with_its_parent() -> Result<(), Failed> {
    // This process starts a parent, which starts a sandboxed child that waits for ever and holds the write end of
    // the parent's standard output. The parent ends at once; the pipe closes when the kernel has killed the child.
    let mut parent = child("parent_of_waiting_child");
    let output = parent.stdout(Stdio::piped()).output()?;
    if !output.status.success() {
        return Err(failure(&output));
    }
    if output.stdout == b"locked\n" {
        Ok(())
    } else {
        Err(format!("{:?}", String::from_utf8_lossy(&output.stdout)).into())
    }
}

/// What the process cannot be asked any more, the kernel tells from outside.
fn kernel_shows_the_process_locked() -> Result<(), Failed> {
    let mut locked = child("waiting_child").stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut line = [0; "locked\n".len()];
    locked.stdout.take().ok_or("no standard output")?.read_exact(&mut line)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", locked.id()));
    locked.kill()?;
    locked.wait()?;

    let status = status?;
    for expected in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        if !status.lines().any(|line| line == expected) {
            return Err(format!("no {expected:?} in:\n{status}").into());
        }
    }
    Ok(())
}
