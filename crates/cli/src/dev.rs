//! `selvedge dev`: an edge and its runners on this machine, rebuilt as files change.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_edge::{Edge, EdgeConfig, NoInstance, Server};
use selvedge_model::Failure;
use selvedge_outbound::AllowRule;
use selvedge_project::{DevAddress, ProjectError, WorkerName};
use tokio::sync::watch;

use crate::build::{self, BuildError, Built};
use crate::cli::DevArguments;
use crate::machine::{self, MachineError};
use crate::stops::Stops;
use crate::terminal;
use crate::watch::Watch;

const PORT_DEFAULT: u16 = 8787;
const IP_DEFAULT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How long the end of the process waits for what still runs in it.
const STOP_MAX: Duration = Duration::from_secs(1);
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
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Server(#[from] selvedge_edge::ServerError),
    #[error("signals cannot be received")]
    Signal(#[source] std::io::Error),
    #[error("two workers are named \"{name}\": {first} and {second}")]
    SameName { name: String, first: PathBuf, second: PathBuf },
    #[error("{} does not exist: give the file of a worker, or the folder of a project", .path.display())]
    Missing { path: PathBuf },
    #[error("nothing to serve: every project has an error")]
    Nothing,
}

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
        .log_internal_errors(false)
        .init();
    machine::make_room();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(DevError::Runtime);
    let result = runtime.and_then(|runtime| {
        let result = runtime.block_on(dev(arguments));
        runtime.shutdown_timeout(STOP_MAX);
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&terminal::chain(&error));
            if matches!(error, DevError::Allow(_)) { ExitCode::from(terminal::USAGE) } else { ExitCode::FAILURE }
        }
    }
}

async fn dev(arguments: DevArguments) -> Result<(), DevError> {
    let began = Instant::now();
    let mut stops = Stops::listen().map_err(DevError::Signal)?;
    let mut allow = Vec::new();
    for rule in &arguments.allow_net {
        allow.push(rule.parse::<AllowRule>().map_err(|error| DevError::Allow(error.to_string()))?);
    }
    let (runners, stuck) = machine::runners()?;
    let outbound = machine::outbound(allow, true)?;

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
            // More likely mistyped than about to be written.
            Err(BuildError::Project(ProjectError::NotFound { path })) => return Err(DevError::Missing { path }),
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
    let configured = || built.iter().find_map(|one| one.project.dev.address).map(DevAddress::ip);
    let ip = arguments.ip.or_else(configured).unwrap_or(IP_DEFAULT);
    let server = Server::bind(SocketAddr::new(ip, port)).await?;
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
    let serving = tokio::spawn(server.run(Arc::clone(&edge), None, stopped));
    let reloading = (!arguments.no_watch).then(|| tokio::spawn(reload(edge, sources, arguments.env.clone())));
    stops.next().await;
    // A receiver that is gone has stopped already.
    let _ = stop.send(true);
    if let Some(reloading) = reloading {
        reloading.abort();
    }
    tokio::select! {
        ended = serving => {
            if let Err(error) = ended {
                tracing::error!(%error, "serving ended badly");
            }
        }
        () = stops.next() => tracing::warn!("told to stop again: requests that are unanswered are cut off"),
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
    EdgeConfig {
        domain: "localhost".into(),
        default_worker: sources.iter().find_map(|source| source.name.as_ref()).map(build::key_of),
        author: true,
        instances_per_worker_max: arguments.instances.unwrap_or_else(machine::processors).max(1),
        isolates_max: arguments.isolates,
        instance_idle_max: machine::INSTANCE_IDLE_MAX,
        memory_bytes_max: arguments.memory_mib.unwrap_or_else(machine::half_of_memory_mib).saturating_mul(1024 * 1024),
    }
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
            return Err(DevError::SameName {
                name: name.to_string(),
                first: first.clone(),
                second: source.path.clone(),
            });
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
