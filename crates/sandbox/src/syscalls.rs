//! The list of system calls: what V8, the standard library, tokio and the C library need to compute, keep time and
//! use descriptors that are already open.
//!
//! Names, not numbers: `libc` has the numbers of each architecture.

use libc::c_long;

/// Allowed with any arguments.
pub(crate) const ALLOWED: &[c_long] = &[
    // Memory; executable pages too, V8 compiles.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_membarrier,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    // Open descriptors. There is no way to name a peer: none of the sockets that a runner gets is a datagram one.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_fstat,
    libc::SYS_dup,
    libc::SYS_close,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_ppoll,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    // Reading priorities: V8's mutexes do so before they wait, and complain for each wait without it.
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    // Time.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    // Threads and signals within the process.
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Who and where am I.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getcpu,
    libc::SYS_getcwd,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_sched_getaffinity,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    // Answered with ENOSYS by a filter of its own, on which the C library falls back to `clone`, whose flags a
    // filter can read.
    libc::SYS_clone3,
];

/// Allowed with any arguments, on x86-64, where older calls than the generic ones are still in use.
#[cfg(target_arch = "x86_64")]
pub(crate) const ALLOWED_HERE: &[c_long] =
    &[libc::SYS_arch_prctl, libc::SYS_epoll_wait, libc::SYS_poll, libc::SYS_time];

#[cfg(not(target_arch = "x86_64"))]
pub(crate) const ALLOWED_HERE: &[c_long] = &[];

/// Kill the process: no library makes these calls by accident or to probe, so whoever makes one has taken over the
/// process, and is not left to try the next.
pub(crate) const FATAL: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_bpf,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
];

/// Answered as if the kernel were older than the call.
pub(crate) const ABSENT: &[c_long] = &[libc::SYS_clone3];

/// `fcntl`: copy a descriptor, read and set its flags. No locks, no owners, no leases, no pipe sizes.
pub(crate) const FCNTL_COMMANDS: &[i32] =
    &[libc::F_DUPFD, libc::F_DUPFD_CLOEXEC, libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_SETFL];

/// `ioctl`: how much can be read, blocking or not, closed on exec, is it a terminal.
pub(crate) const IOCTL_REQUESTS: &[u64] = &[libc::FIONREAD, libc::FIONBIO, libc::FIOCLEX, libc::TCGETS];

/// `prctl`: names of threads and of memory ranges.
pub(crate) const PRCTL_OPTIONS: &[i32] = &[libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA];

/// `setsockopt` at the socket level: buffers and timeouts. Not filters, which are programs.
pub(crate) const SOCKET_OPTIONS_SET: &[i32] = &[libc::SO_RCVBUF, libc::SO_SNDBUF, libc::SO_RCVTIMEO, libc::SO_SNDTIMEO];

/// `clone` flags that a thread has and a process has not.
pub(crate) const THREAD_FLAGS: i32 =
    libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND | libc::CLONE_FILES | libc::CLONE_FS;

/// `clone` flags that no thread may have: namespaces, tracing.
pub(crate) const FOREIGN_FLAGS: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_PTRACE
    | libc::CLONE_VFORK;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_both_allowed_and_fatal() {
        for call in FATAL {
            assert!(!ALLOWED.contains(call) && !ALLOWED_HERE.contains(call), "{call}");
        }
    }

    #[test]
    fn calls_that_reach_beyond_the_process_are_not_on_the_list() {
        let outward = [
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_open_by_handle_at,
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_bind,
            libc::SYS_listen,
            libc::SYS_accept,
            libc::SYS_accept4,
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_pidfd_open,
            libc::SYS_io_uring_setup,
            libc::SYS_perf_event_open,
            libc::SYS_memfd_create,
            libc::SYS_shmget,
            libc::SYS_shmat,
        ];
        for call in outward {
            assert!(!ALLOWED.contains(&call), "{call}");
        }
    }
}
