//! `selvedge dev`: an edge and its runners on this machine, rebuilt as files change.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_edge::{Edge, EdgeConfig, NoInstance, Server};
use selvedge_model::Failure;
use selvedge_outbound::{AllowRule, CertificateDer, Outbound};
use selvedge_project::WorkerName;
use selvedge_runner::{Runners, RunnersConfig};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::build::{self, Built};
use crate::cli::DevArguments;
use crate::terminal;
use crate::watch::Watch;

const PORT_DEFAULT: u16 = 8787;
/// A worker that began nothing for so long gives its memory back.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// Projects up to this number are started at once, so that what is wrong with them shows; of more, each starts with
/// its first request.
const EAGER_MAX: usize = 16;

/// Why `dev` ended.
#[derive(Debug, thiserror::Error)]
enum DevError {
    #[error("the asynchronous runtime could not be made")]
    Runtime(#[source] std::io::Error),
    #[error("--allow-net: {0}")]
    Allow(String),
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
    #[error(transparent)]
    Server(#[from] selvedge_edge::ServerError),
    #[error("signals cannot be received")]
    Signal(#[source] std::io::Error),
    #[error("two workers are named \"{name}\": {first} and {second}")]
    SameName { name: String, first: PathBuf, second: PathBuf },
    #[error("nothing to serve: every project has an error")]
    Nothing,
}

/// What `--isolates` may ask for: each takes a runner 5 of its 16,384 descriptors and 20 of the 65,530 mappings that the
/// kernel allows a process.
const ISOLATES_CEILING: usize = 2_500;

/// Names a file of certificates that workers' connections trust too, as it does for Node.js and Wrangler.
const ROOTS_VARIABLE: &str = "NODE_EXTRA_CA_CERTS";

/// Connections and instances take a descriptor each; no more of them than the hard limit of the system allows.
const DESCRIPTORS_MAX: u64 = 65_536;

/// One PATH of the command line.
struct Source {
    path: PathBuf,
    name: Option<WorkerName>,
    inputs: HashSet<PathBuf>,
    assets: Option<PathBuf>,
}

/// Runs until it is told to stop.
pub fn main(arguments: DevArguments) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_from_env("SELVEDGE_LOG").unwrap_or_else(|_| "warn".into()))
        .with_writer(std::io::stderr)
        .with_target(false)
        .without_time()
        .init();
    if let Err(error) = selvedge_sandbox::make_room(DESCRIPTORS_MAX) {
        tracing::warn!(%error, "the limit of open descriptors stays as it is");
    }
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(DevError::Runtime)
        .and_then(|runtime| runtime.block_on(dev(arguments)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&terminal::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn roots_extra() -> Result<Vec<CertificateDer<'static>>, DevError> {
    let Some(file) = std::env::var_os(ROOTS_VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from) else {
        return Ok(Vec::new());
    };
    let pem = std::fs::read(&file).map_err(|source| DevError::RootsFile { file: file.clone(), source })?;
    selvedge_outbound::certificates(&pem).map_err(|source| DevError::Roots { file, source })
}

async fn dev(arguments: DevArguments) -> Result<(), DevError> {
    let began = Instant::now();
    let mut terminate = signal(SignalKind::terminate()).map_err(DevError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DevError::Signal)?;
    let (runners, stuck) = Runners::start(RunnersConfig {
        program: std::env::current_exe().map_err(DevError::Program)?,
        arguments: vec!["runner".into(), "--parent".into(), std::process::id().to_string()],
    })?;
    let mut allow = Vec::new();
    for rule in &arguments.allow_net {
        allow.push(rule.parse::<AllowRule>().map_err(|error| DevError::Allow(error.to_string()))?);
    }
    let roots_extra = roots_extra()?;
    let outbound = Outbound::new(selvedge_outbound::Config { allow, roots_extra, ..Default::default() })?;

    let mut sources: Vec<Source> = arguments
        .paths
        .iter()
        .map(|path| Source { path: path.clone(), name: None, inputs: HashSet::new(), assets: None })
        .collect();
    let mut built = Vec::new();
    let mut broken = Vec::new();
    for source in &mut sources {
        match build::build(&source.path, arguments.env.as_deref()).await {
            Ok(one) => {
                note_built(source, &one);
                built.push(one);
            }
            Err(error) => {
                let text = terminal::chain(&error);
                terminal::error(&text);
                // Its folder is watched, so that mending it is enough.
                source.inputs.insert(source.path.join("wrangler.jsonc"));
                source.inputs.insert(source.path.clone());
                source.assets = Some(source.path.join("src")).filter(|folder| folder.is_dir());
                // It answers under the name that it most likely has, with what is wrong.
                let name = likely_name(&source.path);
                broken.push((name.clone(), text));
                source.name = Some(name);
            }
        }
    }
    check_names(&sources)?;
    if built.is_empty() && arguments.no_watch {
        return Err(DevError::Nothing);
    }
    let port = arguments.port.or_else(|| built.iter().find_map(|one| one.project.dev.port)).unwrap_or(PORT_DEFAULT);
    let server = Server::bind(SocketAddr::new(arguments.ip, port)).await?;
    let edge = Edge::new(config(&arguments, &sources), runners, stuck, outbound, Arc::new(terminal::Printer));
    for (name, text) in &broken {
        edge.broken(&build::key_of(name), text, None);
    }
    let eager = built.len() <= EAGER_MAX;
    for one in built {
        if eager {
            deploy(&edge, one, None).await;
        } else {
            edge.install_cold(one.deployed);
        }
    }
    announce(&sources, server.address(), began);

    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(server.run(Arc::clone(&edge), stopped));
    let reloading = (!arguments.no_watch).then(|| tokio::spawn(reload(edge, sources, arguments.env.clone())));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // A receiver that is gone has stopped already.
    let _ = stop.send(true);
    if let Some(reloading) = reloading {
        reloading.abort();
    }
    if let Err(error) = serving.await {
        tracing::error!(%error, "serving ended badly");
    }
    Ok(())
}

/// The name of a project that cannot be read: its file's or its folder's.
fn likely_name(path: &Path) -> WorkerName {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = if path.is_dir() { path.file_name() } else { path.file_stem() };
    WorkerName::sanitised(&name.unwrap_or_default().to_string_lossy())
}

fn config(arguments: &DevArguments, sources: &[Source]) -> EdgeConfig {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    EdgeConfig {
        domain: "localhost".into(),
        default_worker: sources.iter().find_map(|source| source.name.as_ref()).map(build::key_of),
        author: true,
        instances_per_worker_max: arguments.instances.unwrap_or(processors).max(1),
        isolates_max: arguments.isolates.clamp(1, ISOLATES_CEILING),
        instance_idle_max: IDLE_MAX,
        memory_bytes_max: arguments.memory_mib.unwrap_or_else(half_of_memory_mib).saturating_mul(1024 * 1024),
    }
}

/// Half of the machine's memory, in MiB; where that is not known, 2 GiB.
fn half_of_memory_mib() -> u64 {
    const UNKNOWN_MIB: u64 = 2048;
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    total.map_or(UNKNOWN_MIB, |kib| kib / 1024 / 2)
}

fn note_built(source: &mut Source, built: &Built) {
    source.name = Some(built.project.name.clone());
    source.inputs = built.inputs.iter().cloned().collect();
    source.assets = built.project.assets.as_ref().map(|assets| assets.directory.clone());
    for warning in &built.warnings {
        terminal::warning(warning);
    }
}

fn check_names(sources: &[Source]) -> Result<(), DevError> {
    let mut seen: std::collections::HashMap<&str, &PathBuf> = std::collections::HashMap::new();
    for source in sources {
        let Some(name) = &source.name else {
            continue;
        };
        if let Some(first) = seen.insert(name.as_str(), &source.path) {
            return Err(DevError::SameName { name: name.to_string(), first: first.clone(), second: source.path.clone() });
        }
    }
    Ok(())
}

/// Starts a version and, if it starts, serves it; otherwise says why, and what served before goes on.
async fn deploy(edge: &Arc<Edge>, built: Built, since: Option<Instant>) {
    let name = built.project.name.clone();
    match edge.deploy(built.deployed).await {
        Ok(()) => {
            if let Some(since) = since {
                terminal::note(&format!("{name} reloaded in {} ms", since.elapsed().as_millis()));
            }
        }
        Err(NoInstance::Failed(failure)) => {
            let text = match &failure {
                Failure::Exception { exception, .. } if !exception.stack.is_empty() => exception.stack.clone(),
                failure => selvedge_edge::sentence(failure),
            };
            terminal::error(&format!("{name} does not start: {text}"));
            edge.broken(&build::key_of(&name), &format!("{name} does not start: {text}"), Some(failure));
        }
        Err(NoInstance::Unavailable(reason)) => terminal::error(&format!("{name} cannot be started: {reason}")),
    }
}

fn announce(sources: &[Source], address: SocketAddr, began: Instant) {
    let port = address.port();
    terminal::note(&format!("Selvedge is ready in {} ms", began.elapsed().as_millis()));
    for (index, name) in sources.iter().filter_map(|source| source.name.as_ref()).enumerate().take(EAGER_MAX) {
        let bare = if index == 0 { format!("http://localhost:{port}/ and ") } else { String::new() };
        terminal::note(&format!("  {name}  {bare}http://{name}.localhost:{port}/"));
    }
}

/// Rebuilds each project whose files change.
async fn reload(edge: Arc<Edge>, mut sources: Vec<Source>, env: Option<String>) {
    let mut watch = match Watch::new() {
        Ok(watch) => watch,
        Err(error) => {
            terminal::warning(&format!("files are not watched for changes: {error}"));
            return;
        }
    };
    for source in &sources {
        watch_source(&mut watch, source);
    }
    loop {
        let changed = watch.changed().await;
        let since = Instant::now();
        for source in &mut sources {
            let stale = changed.iter().any(|path| {
                source.inputs.contains(path) || source.assets.as_ref().is_some_and(|folder| path.starts_with(folder))
            });
            if !stale {
                continue;
            }
            match build::build(&source.path, env.as_deref()).await {
                Ok(built) => {
                    note_built(source, &built);
                    watch_source(&mut watch, source);
                    deploy(&edge, built, Some(since)).await;
                }
                Err(error) => {
                    let text = terminal::chain(&error);
                    terminal::error(&text);
                    if let Some(name) = &source.name {
                        edge.broken(&build::key_of(name), &text, None);
                    }
                }
            }
        }
    }
}

fn watch_source(watch: &mut Watch, source: &Source) {
    watch.add(&source.inputs);
    if let Some(folder) = &source.assets {
        watch.add_tree(folder);
    }
}
