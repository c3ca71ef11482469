//! What holds, what holds in part, and what this kernel cannot do.

use std::fmt;

/// One thing that a runner is protected by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// The process had one thread, so that each restriction holds every thread.
    SingleThread,
    /// No environment variables but those kept.
    Environment,
    /// No inherited descriptors but those kept.
    Descriptors,
    /// The process dies with its parent.
    ParentDeath,
    /// No core dumps, not traceable by its own user, a bound on open descriptors, the root as working folder.
    ProcessLimits,
    /// No capabilities, and no way to gain privileges.
    Privileges,
    /// Landlock: no file or folder.
    Files,
    /// Landlock: no TCP port.
    Ports,
    /// Landlock: no signals and no abstract Unix sockets beyond the process.
    Scopes,
    /// Seccomp: no system call but those on the list.
    SystemCalls,
}

impl Protection {
    fn name(self) -> &'static str {
        match self {
            Self::SingleThread => "single thread",
            Self::Environment => "environment",
            Self::Descriptors => "inherited descriptors",
            Self::ParentDeath => "death with parent",
            Self::ProcessLimits => "process limits",
            Self::Privileges => "privileges",
            Self::Files => "file system (Landlock)",
            Self::Ports => "TCP ports (Landlock)",
            Self::Scopes => "signals and abstract sockets (Landlock)",
            Self::SystemCalls => "system calls (seccomp)",
        }
    }
}

/// How far one protection holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    Enforced,
    /// It holds but for what is named.
    Partial {
        gap: String,
    },
    /// It does not hold, and why.
    Unavailable {
        reason: String,
    },
    /// The policy did not ask for it.
    NotRequested,
}

/// The state of every protection after [`lock_down`](crate::lock_down).
///
/// Displays as one line for start-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    entries: Vec<(Protection, Status)>,
}

// === impl Report ===

impl Report {
    /// Every protection with its status, in the order in which they were set.
    pub fn entries(&self) -> &[(Protection, Status)] {
        &self.entries
    }

    pub fn status(&self, protection: Protection) -> Option<&Status> {
        self.entries.iter().find(|(entry, _)| *entry == protection).map(|(_, status)| status)
    }

    pub fn is_enforced(&self, protection: Protection) -> bool {
        self.status(protection) == Some(&Status::Enforced)
    }

    /// Whether everything that was requested is enforced in full.
    pub fn is_complete(&self) -> bool {
        self.entries.iter().all(|(_, status)| matches!(status, Status::Enforced | Status::NotRequested))
    }

    pub(crate) fn enforced(&mut self, protection: Protection) {
        self.entries.push((protection, Status::Enforced));
    }

    pub(crate) fn partial(&mut self, protection: Protection, gap: impl Into<String>) {
        let gap = gap.into();
        self.entries.push((protection, Status::Partial { gap }));
    }

    pub(crate) fn unavailable(&mut self, protection: Protection, reason: impl Into<String>) {
        let reason = reason.into();
        self.entries.push((protection, Status::Unavailable { reason }));
    }

    pub(crate) fn not_requested(&mut self, protection: Protection) {
        self.entries.push((protection, Status::NotRequested));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let enforced = self.entries.iter().filter(|(_, status)| *status == Status::Enforced).count();
        let requested = self.entries.iter().filter(|(_, status)| *status != Status::NotRequested).count();
        write!(f, "sandbox: {enforced} of {requested} protections enforced")?;
        for (protection, status) in &self.entries {
            match status {
                Status::Enforced | Status::NotRequested => {}
                Status::Partial { gap } => write!(f, "; {} in part: {gap}", protection.name())?,
                Status::Unavailable { reason } => {
                    write!(f, "; NO {}: {reason}", protection.name())?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_report_is_one_short_line() {
        let mut report = Report::default();
        report.enforced(Protection::Files);
        report.enforced(Protection::SystemCalls);
        report.not_requested(Protection::ParentDeath);
        assert!(report.is_complete());
        assert_eq!(report.to_string(), "sandbox: 2 of 2 protections enforced");
    }

    #[test]
    fn gaps_are_named_with_their_reason() {
        let mut report = Report::default();
        report.partial(Protection::Files, "truncation is not covered");
        report.unavailable(Protection::SystemCalls, "the kernel has no seccomp filters");
        assert!(!report.is_complete());
        let line = report.to_string();
        assert!(line.contains("file system (Landlock) in part: truncation is not covered"));
        assert!(line.contains("NO system calls (seccomp): the kernel has no seccomp filters"));
        assert!(!line.contains('\n'));
    }
}
