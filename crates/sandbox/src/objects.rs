//! Landlock: no file, no port, no signal beyond the process, whatever system call asks.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetError, Scope,
};

use crate::{Protection, Report, SandboxError};

/// The newest Landlock that this list of rights was read against; older kernels get what they know.
const NEWEST: ABI = ABI::V10;

/// The versions of Landlock from which a protection is whole. What later ones add (rights over Unix socket paths and
/// UDP) is asked for as well, and refused by seccomp in any case.
const FILES_WHOLE_ABI: ABI = ABI::V5;
const PORTS_ABI: ABI = ABI::V4;
const SCOPES_ABI: ABI = ABI::V6;

/// Handles every right and grants none.
pub(crate) fn restrict(report: &mut Report) -> Result<(), SandboxError> {
    let status = deny_all().map_err(SandboxError::Landlock)?;
    match status.landlock {
        LandlockStatus::NotImplemented => missing(report, "the kernel has no Landlock"),
        LandlockStatus::NotEnabled => {
            missing(report, "Landlock is built into this kernel but off: add landlock to the lsm= boot parameter")
        }
        LandlockStatus::Available { effective_abi, .. } => judge(effective_abi, report),
    }
    Ok(())
}

fn deny_all() -> Result<RestrictionStatus, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .restrict_self()
}

fn missing(report: &mut Report, reason: &str) {
    for protection in [Protection::Files, Protection::Ports, Protection::Scopes] {
        report.unavailable(protection, reason);
    }
}

fn judge(abi: ABI, report: &mut Report) {
    if abi >= FILES_WHOLE_ABI {
        report.enforced(Protection::Files);
    } else {
        report.partial(Protection::Files, format!("{} leaves truncation or device controls open", name(abi)));
    }
    for (protection, needed) in [(Protection::Ports, PORTS_ABI), (Protection::Scopes, SCOPES_ABI)] {
        if abi >= needed {
            report.enforced(protection);
        } else {
            report.unavailable(protection, format!("{} is older than {}", name(abi), name(needed)));
        }
    }
}

fn name(abi: ABI) -> String {
    format!("Landlock ABI {}", abi as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Status;

    #[test]
    fn landlock_of_linux_6_12_is_whole() {
        let mut report = Report::default();
        judge(ABI::V6, &mut report);
        assert!(report.is_complete(), "{report}");
    }

    #[test]
    fn first_landlock_closes_files_in_part_and_nothing_else() {
        let mut report = Report::default();
        judge(ABI::V1, &mut report);
        assert!(matches!(report.status(Protection::Files), Some(Status::Partial { .. })));
        assert_eq!(
            report.status(Protection::Ports),
            Some(&Status::Unavailable { reason: "Landlock ABI 1 is older than Landlock ABI 4".to_owned() })
        );
    }

    #[test]
    fn kernel_without_landlock_is_said_plainly() {
        let mut report = Report::default();
        missing(&mut report, "the kernel has no Landlock");
        assert!(report.to_string().contains("NO file system (Landlock): the kernel has no Landlock"));
    }
}
