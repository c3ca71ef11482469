//! What the process may be, apart from its files and system calls: threads, environment, privileges, limits.

use rustix::{
    process::{
        DumpableBehavior, Resource, Rlimit, Signal, chdir, getppid, getrlimit, set_dumpable_behavior,
        set_parent_process_death_signal, setrlimit,
    },
    thread::{CapabilitySet, CapabilitySets, clear_ambient_capability_set, set_capabilities, set_no_new_privs},
};

use crate::{Policy, Protection, Report, SandboxError};

const TASKS: &str = "/proc/self/task";

/// Refuses to go on with a second thread, which Landlock and the capability sets would not hold.
pub(crate) fn check_single_thread(report: &mut Report) -> Result<(), SandboxError> {
    match std::fs::read_dir(TASKS) {
        Ok(tasks) => match tasks.count() {
            1 => report.enforced(Protection::SingleThread),
            running => return Err(SandboxError::Threads { running }),
        },
        Err(error) => {
            report.unavailable(Protection::SingleThread, format!("reading {TASKS}: {error}"));
        }
    }
    Ok(())
}

/// Refuses an environment: it holds other people's secrets, and cannot be cleared once the process runs.
pub(crate) fn check_environment(policy: &Policy, report: &mut Report) -> Result<(), SandboxError> {
    let names: Vec<String> = std::env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .filter(|name| !policy.environment_kept.contains(name))
        .collect();
    if !names.is_empty() {
        return Err(SandboxError::Environment { names });
    }
    report.enforced(Protection::Environment);
    Ok(())
}

/// Has the kernel kill this process when its parent dies, and finds out whether that has happened already.
pub(crate) fn die_with_parent(policy: &Policy, report: &mut Report) -> Result<(), SandboxError> {
    let Some(expected) = policy.parent else {
        report.not_requested(Protection::ParentDeath);
        return Ok(());
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        report.unavailable(Protection::ParentDeath, error.to_string());
        return Ok(());
    }
    // The parent may have died before the signal was asked for: then it will never come.
    let parent = getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    if parent != Some(expected) {
        return Err(SandboxError::ParentGone { expected });
    }
    report.enforced(Protection::ParentDeath);
    Ok(())
}

/// Memory of tenants must not reach a core file or a debugger, and open descriptors are bounded.
pub(crate) fn limit(policy: &Policy, report: &mut Report) {
    let steps = [
        ("working folder", chdir("/")),
        ("core dumps", limit_to(Resource::Core, 0)),
        ("open descriptors", limit_to(Resource::Nofile, policy.descriptors_max)),
        ("dumpable", set_dumpable_behavior(DumpableBehavior::NotDumpable)),
    ];
    summarize(Protection::ProcessLimits, steps, report);
}

/// Drops every capability (a runner started by root has all of them) and the ways to gain one.
pub(crate) fn drop_privileges(report: &mut Report) {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    let steps = [
        ("no new privileges", set_no_new_privs(true)),
        ("ambient capabilities", clear_ambient_capability_set()),
        ("capabilities", set_capabilities(None, none)),
    ];
    summarize(Protection::Privileges, steps, report);
}

/// Sets the soft and the hard limit, never above the hard limit there is.
fn limit_to(resource: Resource, wanted: u64) -> rustix::io::Result<()> {
    let value = getrlimit(resource).maximum.map_or(wanted, |hard| hard.min(wanted));
    setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })
}

fn summarize<const N: usize>(protection: Protection, steps: [(&str, rustix::io::Result<()>); N], report: &mut Report) {
    let gaps: Vec<String> =
        steps.into_iter().filter_map(|(name, result)| result.err().map(|error| format!("{name}: {error}"))).collect();
    if gaps.is_empty() {
        report.enforced(protection);
    } else if gaps.len() == N {
        report.unavailable(protection, gaps.join(", "));
    } else {
        report.partial(protection, gaps.join(", "));
    }
}
