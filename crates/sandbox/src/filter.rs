//! Seccomp: the list of system calls, installed on every thread.
//!
//! Three filters, of which the kernel applies the strictest answer: one kills, one answers "no such call", and the
//! list itself, last because after it no further filter can be installed, refuses everything else.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Compare, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

use crate::{Protection, Report, SandboxError, syscalls};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// Installs the filters, or reports a kernel without them.
pub(crate) fn install(report: &mut Report) -> Result<(), SandboxError> {
    let programs = programs(std::process::id()).map_err(SandboxError::CompileFilter)?;
    for (installed, program) in programs.iter().enumerate() {
        match apply_filter_all_threads(program) {
            Ok(()) => {}
            Err(seccompiler::Error::Seccomp(error)) if installed == 0 && is_missing(&error) => {
                report.unavailable(Protection::SystemCalls, "the kernel has no seccomp filters");
                return Ok(());
            }
            Err(error) => return Err(SandboxError::InstallFilter(error)),
        }
    }
    report.enforced(Protection::SystemCalls);
    Ok(())
}

fn is_missing(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
}

/// The filters in the order in which they must be installed.
fn programs(process: u32) -> Result<Vec<BpfProgram>, BackendError> {
    let errno = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    let filters = [
        SeccompFilter::new(any_arguments(syscalls::FATAL), SeccompAction::Allow, SeccompAction::KillProcess, ARCH)?,
        SeccompFilter::new(any_arguments(syscalls::ABSENT), SeccompAction::Allow, errno(libc::ENOSYS), ARCH)?,
        SeccompFilter::new(allowed(process)?, errno(libc::EPERM), SeccompAction::Allow, ARCH)?,
    ];
    filters.into_iter().map(BpfProgram::try_from).collect()
}

fn any_arguments(calls: &[c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn allowed(process: u32) -> Result<Rules, BackendError> {
    let mut rules = any_arguments(syscalls::ALLOWED);
    rules.extend(any_arguments(syscalls::ALLOWED_HERE));
    rules.insert(libc::SYS_fcntl, one_of(1, syscalls::FCNTL_COMMANDS)?);
    rules.insert(libc::SYS_prctl, one_of(0, syscalls::PRCTL_OPTIONS)?);
    rules.insert(libc::SYS_ioctl, ioctl_rules()?);
    rules.insert(libc::SYS_getsockopt, vec![socket_level(None)?]);
    rules.insert(libc::SYS_setsockopt, setsockopt_rules()?);
    rules.insert(libc::SYS_clone, vec![new_thread()?]);
    rules.insert(libc::SYS_tgkill, vec![own_process(process)?]);
    rules.insert(libc::SYS_prlimit64, vec![read_own_limit()?]);
    Ok(rules)
}

/// One rule for each value that the argument may have.
fn one_of(argument: u8, values: &[i32]) -> Result<Vec<SeccompRule>, BackendError> {
    values.iter().map(|value| SeccompRule::new(vec![equals(argument, *value)?])).collect()
}

fn ioctl_rules() -> Result<Vec<SeccompRule>, BackendError> {
    syscalls::IOCTL_REQUESTS
        .iter()
        .map(|request| {
            let condition = SeccompCondition::new(1, Width::Dword, Compare::Eq, *request)?;
            SeccompRule::new(vec![condition])
        })
        .collect()
}

fn setsockopt_rules() -> Result<Vec<SeccompRule>, BackendError> {
    syscalls::SOCKET_OPTIONS_SET.iter().map(|option| socket_level(Some(*option))).collect()
}

fn socket_level(option: Option<i32>) -> Result<SeccompRule, BackendError> {
    let mut conditions = vec![equals(1, libc::SOL_SOCKET)?];
    if let Some(option) = option {
        conditions.push(equals(2, option)?);
    }
    SeccompRule::new(conditions)
}

/// `clone` that makes a thread of this process in this process's namespaces, and nothing else.
fn new_thread() -> Result<SeccompRule, BackendError> {
    let mask = syscalls::THREAD_FLAGS | syscalls::FOREIGN_FLAGS;
    SeccompRule::new(vec![SeccompCondition::new(
        0,
        Width::Qword,
        Compare::MaskedEq(u64::from(mask.cast_unsigned())),
        u64::from(syscalls::THREAD_FLAGS.cast_unsigned()),
    )?])
}

fn own_process(process: u32) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(0, Width::Dword, Compare::Eq, u64::from(process))?])
}

/// `prlimit64(0, _, NULL, _)`: the limits of this process, read.
fn read_own_limit() -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![equals(0, 0)?, SeccompCondition::new(2, Width::Qword, Compare::Eq, 0)?])
}

fn equals(argument: u8, value: i32) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, Width::Dword, Compare::Eq, u64::from(value.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_compile_and_fit() {
        let programs = programs(1).unwrap();
        assert_eq!(programs.len(), 3);
        assert!(programs.iter().all(|program| !program.is_empty()));
    }

    #[test]
    fn fork_is_not_a_thread() {
        let mask = syscalls::THREAD_FLAGS | syscalls::FOREIGN_FLAGS;
        let thread_of_glibc = 0x003d_0f00;
        let fork_of_glibc = libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
        assert_eq!(thread_of_glibc & mask, syscalls::THREAD_FLAGS);
        assert_ne!(fork_of_glibc & mask, syscalls::THREAD_FLAGS);
        let thread_in_new_namespace = thread_of_glibc | libc::CLONE_NEWUSER;
        assert_ne!(thread_in_new_namespace & mask, syscalls::THREAD_FLAGS);
    }
}
