//! What an edge needs of the machine that it runs on.

use std::path::PathBuf;
use std::sync::Arc;

use selvedge_outbound::{AllowRule, CertificateDer, Outbound};
use selvedge_runner::{Reports, Runners, RunnersConfig};

/// Names a file of certificates that workers' connections trust too, as it does for Node.js and Wrangler.
const ROOTS_VARIABLE: &str = "NODE_EXTRA_CA_CERTS";

/// Connections and instances take a descriptor each; no more of them than the hard limit of the system allows.
const DESCRIPTORS_MAX: u64 = 65_536;

/// Why this machine cannot run an edge.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    #[error("{ROOTS_VARIABLE} names {file}")]
    RootsFile { file: PathBuf, source: std::io::Error },
    #[error("{ROOTS_VARIABLE} names {file}")]
    Roots { file: PathBuf, source: selvedge_outbound::OutboundError },
    #[error("outbound requests cannot be made ready")]
    Outbound(#[from] selvedge_outbound::OutboundError),
    #[error("the path of this program is not known")]
    Program(#[source] std::io::Error),
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
        program: std::env::current_exe().map_err(MachineError::Program)?,
        arguments: vec!["runner".into(), "--parent".into(), std::process::id().to_string()],
    })?)
}

/// Workers' way to the world.
pub fn outbound(allow: Vec<AllowRule>) -> Result<Outbound, MachineError> {
    let roots_extra = roots_extra()?;
    Ok(Outbound::new(selvedge_outbound::Config { allow, roots_extra, ..Default::default() })?)
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

/// Half of the machine's memory, in MiB; where that is not known, 2 GiB.
pub fn half_of_memory_mib() -> u64 {
    const UNKNOWN_MIB: u64 = 2048;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    total.map_or(UNKNOWN_MIB, |kib| kib / 1024 / 2)
}
