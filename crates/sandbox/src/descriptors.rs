//! Inherited descriptors: what the parent left open across `exec`.
//!
//! An inherited descriptor is known by the missing close-on-exec flag: whatever this program opened itself since it
//! started has the flag (the standard library and tokio set it always), and whatever had it did not survive `exec`.
//! So descriptors that a value in this process owns are never closed under it.

use std::{collections::BTreeSet, fs, os::fd::RawFd};

use nix::errno::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{Policy, Protection, Report, SandboxError};

/// Lets this process have so many descriptors open, as far as its hard limit goes, and has the kernel make the table for
/// them now. It would otherwise double the table as it fills, and whoever opens the descriptor that needs it waits for an
/// RCU grace period each time, 5 to 20 ms, as soon as the process has threads.
pub fn make_room(descriptors: u64) -> std::io::Result<()> {
    let limits = getrlimit(Resource::Nofile);
    let room = limits.maximum.map_or(descriptors, |hard| hard.min(descriptors));
    setrlimit(Resource::Nofile, Rlimit { current: Some(room), maximum: limits.maximum })?;
    let some = fs::File::open("/dev/null")?;
    let last = RawFd::try_from(room.saturating_sub(1)).unwrap_or(RawFd::MAX);
    // The table stays as large as this makes it.
    drop(rustix::io::fcntl_dupfd_cloexec(&some, last)?);
    Ok(())
}

const DESCRIPTORS: &str = "/proc/self/fd";
const DESCRIPTOR_FLAGS: &str = "/proc/self/fdinfo";

/// Inherited descriptors closed at most; a process with more is not one that the edge started.
const INHERITED_MAX: usize = 65_536;

/// Closes every inherited descriptor that the policy does not keep.
pub(crate) fn close_inherited(policy: &Policy, report: &mut Report) -> Result<(), SandboxError> {
    let open = match open_descriptors() {
        Ok(open) => open,
        Err(error) => {
            report.unavailable(Protection::Descriptors, format!("reading {DESCRIPTORS}: {error}"));
            return Ok(());
        }
    };
    for descriptor in &policy.descriptors_kept {
        if !open.contains(descriptor) {
            return Err(SandboxError::DescriptorMissing { descriptor: *descriptor });
        }
    }

    let mut files_open = Vec::new();
    for descriptor in open {
        if policy.descriptors_kept.contains(&descriptor) {
            continue;
        }
        match is_inherited(descriptor) {
            Some(true) => close(descriptor)?,
            Some(false) => files_open.extend(file_behind(descriptor)),
            // Gone since it was listed: it was the listing itself.
            None => {}
        }
    }
    if files_open.is_empty() {
        report.enforced(Protection::Descriptors);
    } else {
        report.partial(Protection::Descriptors, format!("this program holds {} open", files_open.join(", ")));
    }
    Ok(())
}

fn open_descriptors() -> std::io::Result<BTreeSet<RawFd>> {
    let mut open = BTreeSet::new();
    for entry in fs::read_dir(DESCRIPTORS)?.take(INHERITED_MAX) {
        if let Some(descriptor) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            open.insert(descriptor);
        }
    }
    Ok(open)
}

/// Whether the descriptor lacks close-on-exec; `None` if it is not open.
fn is_inherited(descriptor: RawFd) -> Option<bool> {
    let info = fs::read_to_string(format!("{DESCRIPTOR_FLAGS}/{descriptor}")).ok()?;
    Some(!has_close_on_exec(&info))
}

fn has_close_on_exec(info: &str) -> bool {
    info.lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & libc::O_CLOEXEC != 0)
}

/// The path that a descriptor of this program's own has open; `None` for sockets, events and the like.
fn file_behind(descriptor: RawFd) -> Option<String> {
    let target = fs::read_link(format!("{DESCRIPTORS}/{descriptor}")).ok()?;
    target.is_absolute().then(|| target.to_string_lossy().into_owned())
}

fn close(descriptor: RawFd) -> Result<(), SandboxError> {
    match nix::unistd::close(descriptor) {
        Ok(()) | Err(Errno::EBADF) => Ok(()),
        Err(errno) => Err(SandboxError::CloseDescriptor { descriptor, source: errno.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_on_exec_is_read_from_the_octal_flags() {
        assert!(has_close_on_exec("pos:\t0\nflags:\t02100000\nmnt_id:\t9\n"));
        assert!(!has_close_on_exec("pos:\t0\nflags:\t0100002\nmnt_id:\t9\n"));
        assert!(!has_close_on_exec(""));
    }

    #[test]
    fn descriptor_of_this_program_is_not_inherited() {
        use std::os::fd::AsRawFd;
        let file = fs::File::open("/dev/null").unwrap();
        assert_eq!(is_inherited(file.as_raw_fd()), Some(false));
        assert_eq!(file_behind(file.as_raw_fd()).as_deref(), Some("/dev/null"));
    }
}
