//! What an edge needs of the machine that it runs on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use selvedge_outbound::{AllowRule, CertificateDer, Outbound};
use selvedge_runner::{Reports, Runners, RunnersConfig};

/// Names a file of certificates that workers' connections trust too, as it does for Node.js and Wrangler.
const ROOTS_VARIABLE: &str = "NODE_EXTRA_CA_CERTS";

/// A worker that began nothing for so long gives its memory back.
pub const INSTANCE_IDLE_MAX: Duration = Duration::from_secs(600);

/// Connections and instances take a descriptor each; no more of them than the hard limit of the system allows.
const DESCRIPTORS_MAX: u64 = 65_536;

/// The file that this process runs, also once another has taken its place or it is gone: an upgrade that is written over a
/// running platform must not mix two versions.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Why this machine cannot run an edge.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    #[error("{ROOTS_VARIABLE} names {file}")]
    RootsFile { file: PathBuf, source: std::io::Error },
    #[error("{ROOTS_VARIABLE} names {file}")]
    Roots { file: PathBuf, source: selvedge_outbound::OutboundError },
    #[error("outbound requests cannot be made ready")]
    Outbound(#[from] selvedge_outbound::OutboundError),
    #[error("no runner")]
    Runner(#[from] selvedge_runner::RunnerError),
}

/// Raises the limit of open descriptors as far as it may be.
pub fn make_room() {
    if let Err(error) = selvedge_sandbox::make_room(DESCRIPTORS_MAX) {
        tracing::warn!(%error, "the limit of open descriptors stays as it is");
    }
}

/// Starts runners: this program, run again.
pub fn runners() -> Result<(Arc<Runners>, Reports), MachineError> {
    Ok(Runners::start(RunnersConfig {
        program: OWN_PROGRAM.into(),
        arguments: vec!["runner".into(), "--parent".into(), std::process::id().to_string()],
    })?)
}

/// Workers' way to the world. Whose workers are their own may be told why it ends where it does: `refusals_explained`.
pub fn outbound(allow: Vec<AllowRule>, refusals_explained: bool) -> Result<Outbound, MachineError> {
    let roots_extra = roots_extra()?;
    Ok(Outbound::new(selvedge_outbound::Config { allow, refusals_explained, roots_extra, ..Default::default() })?)
}

fn roots_extra() -> Result<Vec<CertificateDer<'static>>, MachineError> {
    let Some(file) = std::env::var_os(ROOTS_VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from) else {
        return Ok(Vec::new());
    };
    let pem = std::fs::read(&file).map_err(|source| MachineError::RootsFile { file: file.clone(), source })?;
    selvedge_outbound::certificates(&pem).map_err(|source| MachineError::Roots { file, source })
}

/// How many processors there are.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Half of the memory that this process may use, in MiB: the machine's, or its control group's where that allows less.
/// Where neither is known, 2 GiB.
pub fn half_of_memory_mib() -> u64 {
    const UNKNOWN_MIB: u64 = 2048;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let machine = total.map(|kib| kib.saturating_mul(1024));
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = group_memory_bytes(Path::new("/sys/fs/cgroup"), &groups);
    machine.into_iter().chain(group).min().map_or(UNKNOWN_MIB, |bytes| bytes / 1024 / 1024 / 2)
}

/// The least memory that a control group of this process, or one above it, allows, in bytes. `root` is where control groups
/// are mounted; `groups` is what `/proc/self/cgroup` says. A container may see its own group as the root: the folders of
/// the path may not be there.
fn group_memory_bytes(root: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| -> Vec<PathBuf> {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (mount, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            controllers if controllers.split(',').any(|name| name == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let group = mount.join(path.trim_start_matches('/'));
        group.ancestors().take_while(|folder| folder.starts_with(&mount)).map(|folder| folder.join(file)).collect()
    });
    // No limit is `max` in the one, and more than any machine has in the other.
    limits.filter_map(|file| std::fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_memory_that_a_group_above_allows_is_what_counts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(group_memory_bytes(root, "0::/a/b\n"), None);
        for (folder, file, limit) in [
            ("", "memory.max", "max"),
            ("a", "memory.max", "1000"),
            ("a/b", "memory.max", "5000"),
            ("memory/c", "memory.limit_in_bytes", "700"),
        ] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
            std::fs::write(root.join(folder).join(file), format!("{limit}\n")).unwrap();
        }
        assert_eq!(group_memory_bytes(root, "0::/a/b\n"), Some(1000));
        // As a container sees it: the path is another's, the root is its own.
        assert_eq!(group_memory_bytes(root, "0::/elsewhere\n"), None);
        assert_eq!(group_memory_bytes(root, "3:cpu,memory:/c/d\n1:name=systemd:/a\n"), Some(700));
        assert_eq!(group_memory_bytes(root, "nonsense\n0::/../..\n"), None);
    }
}
