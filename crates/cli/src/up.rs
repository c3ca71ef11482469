//! `selvedge up`: the whole platform on this machine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_api::{ApiConfig, ApiServer, ApiState, Readiness};
use selvedge_control::{Clock, Control, ControlConfig, ControlError, Opened, SecretsKey};
use selvedge_edge::{Edge, EdgeConfig, Server};
use selvedge_fabric::{Embedded, Fabric};
use selvedge_pop::{Clockwork, Replica};
use selvedge_runner::Runners;
use selvedge_telemetry::{Metrics, Tails, logs};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::announce::{ADMIN_TOKEN_FILE, Addresses, Shown, announcement, say, url_of};
use crate::cli::UpCommand;
use crate::machine::{self, MachineError};
use crate::platform::{Here, Key, Telemetry};
use crate::security::{self, SecurityError};
use crate::settings::{LogFormat, Resolved, SettingsError, UpSettings};
use crate::stops::Stops;
use crate::terminal;

/// How often the control plane keeps house.
const MAINTAIN_INTERVAL: Duration = Duration::from_secs(300);
/// How often blobs that nothing needs any more are looked for in the edge's copy.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);
/// How long serving may take to end after a drain.
const STOP_MAX: Duration = Duration::from_secs(1);
/// How often what an edge holds is counted for the metrics.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked whether runners can be started.
const RUNNERS_INTERVAL: Duration = Duration::from_secs(1);
/// How long the end of the process waits for the store's log to be emptied.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the end of the process waits for who reads why it ended.
const COMPLAIN_TIME_MAX: Duration = Duration::from_secs(1);

/// Why `up` ended.
#[derive(Debug, thiserror::Error)]
enum UpError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the asynchronous runtime could not be made")]
    Runtime(#[source] std::io::Error),
    #[error("cannot use the data folder {}", .path.display())]
    Data { path: PathBuf, source: std::io::Error },
    #[error("logs cannot be written")]
    Logs(#[from] logs::LogsError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error("the store in {} cannot be opened", .path.display())]
    Fabric { path: PathBuf, source: selvedge_fabric::FabricError },
    #[error("the control plane cannot be opened")]
    Control(#[from] ControlError),
    #[error("the local copy of what is deployed cannot be opened")]
    Pop(#[from] selvedge_pop::PopError),
    #[error(transparent)]
    Server(#[from] selvedge_edge::ServerError),
    #[error(transparent)]
    Api(#[from] selvedge_api::ApiServerError),
    #[error(
        "the key that secrets were sealed with is not at {}: bring it back, or say where it is with --secrets-key",
        .path.display()
    )]
    NoKey { path: PathBuf },
    #[error(
        "{} was used before, and its store, {}, is not there: bring the folder back from a backup, or serve what the edge \
         holds with --edge-only. To begin anew, move the folders control and edge away",
        .data.display(), .file.display()
    )]
    NoStore { data: PathBuf, file: PathBuf },
    #[error("cannot look into {}", .path.display())]
    Look { path: PathBuf, source: std::io::Error },
    #[error("HTTPS cannot be served")]
    Security(#[from] SecurityError),
    #[error("signals cannot be received")]
    Signal(#[source] std::io::Error),
}

/// The control plane, where there is one.
struct ControlSide {
    control: Arc<Control>,
    shown: Option<Shown>,
    server: ApiServer,
    state: Arc<ApiState>,
    readiness: Readiness,
}

/// Runs until it is told to stop.
pub fn main(command: UpCommand) -> ExitCode {
    let result = Resolved::read(&command.settings).map_err(UpError::from).and_then(|resolved| {
        let settings = resolved.settings;
        let format = match settings.log_format {
            LogFormat::Text => logs::Format::Text,
            LogFormat::Json => logs::Format::Json,
        };
        let _log = logs::start(format, &settings.log)?;
        machine::make_room();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(UpError::Runtime)?;
        let drain = settings.drain;
        let result = runtime.block_on(up(settings, command.edge_only, command.new_admin_token));
        runtime.shutdown_timeout(drain.min(Duration::from_secs(1)));
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(terminal::chain(&error));
            if matches!(error, UpError::Settings(_)) { ExitCode::from(terminal::USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Says why it ended, to a reader who may stand still.
fn complain(text: String) {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        terminal::error(&text);
        // Who waited may have given up.
        let _ = done.send(());
    });
    // What is not read by then is lost.
    let _ = is_done.recv_timeout(COMPLAIN_TIME_MAX);
}

async fn up(settings: UpSettings, edge_only: bool, new_admin_token: bool) -> Result<(), UpError> {
    let began = Instant::now();
    let mut stops = Stops::listen().map_err(UpError::Signal)?;
    make_data_folder(&settings.data)?;
    // Before anything is changed: a port that is taken ends this here.
    let mut server = Server::bind(settings.http).await?.drain_max(settings.drain);
    if let Some(https) = settings.https {
        server = server.bind_secure(https).await?;
    }
    let api = if edge_only { None } else { Some(ApiServer::bind(settings.api).await?.drain_max(settings.drain)) };

    let (tails, metrics) = (Tails::new(), Arc::new(Metrics::new()));
    let telemetry = Arc::new(Telemetry { tails: tails.clone(), metrics: Arc::clone(&metrics) });
    let (runners, stuck) = machine::runners()?;
    let outbound = machine::outbound(settings.allow_net.clone(), false)?;
    let edge = Edge::new(edge_config(&settings), Arc::clone(&runners), stuck, outbound, Arc::clone(&telemetry) as _);
    let (security, _watch) = security::start(&settings, &edge)?.unzip();
    let api = api.map(|api| security::secure_api(api, security.as_ref()));
    let key = secrets_key(&settings)?;
    if !edge_only {
        check_store(&settings.data)?;
    }
    let store = if edge_only { None } else { Some(open_store(&settings.data)?) };
    let fabric = store.clone().map(|store| store as Arc<dyn Fabric>);
    let secrets = Arc::new(Key(key.clone()));
    let replica = Replica::open(&settings.data.join("edge"), Arc::clone(&edge), fabric.clone(), secrets).await?;
    let mut tasks = Tasks::default();
    tasks.spawn(Arc::clone(&replica).follow());

    let control = match (api, fabric) {
        (Some(api), Some(fabric)) => {
            let Opened { control, first_start } = open_control(&settings, key, fabric, &replica).await?;
            let shown = match first_start {
                Some(first) => Some(Shown::First(first)),
                None if new_admin_token => {
                    let file = settings.data.join(ADMIN_TOKEN_FILE);
                    Some(Shown::New(control.create_admin_token(&file).await?))
                }
                None => None,
            };
            Some(control_side(&settings, control, shown, api, &server, &tails, &metrics))
        }
        _ => None,
    };
    let clockwork = tokio::spawn(Clockwork::new(Arc::clone(&replica), Arc::clone(&telemetry) as _).run());
    tasks.spawn(sweep(Arc::clone(&replica)));
    tasks.spawn(count(Arc::clone(&edge), tails, metrics));

    let (stop, stopped) = watch::channel(false);
    let addresses = Addresses {
        http: server.address(),
        https: server.secure_address(),
        api: control.as_ref().map(|side| side.server.address()),
        api_url: control.as_ref().map(|side| api_url(&settings, &side.server)),
        account: match &control {
            Some(side) => side.control.first_account().await?.map(|account| account.to_string()),
            None => None,
        },
        pid: std::process::id(),
    };
    addresses.write(&settings.data);
    let shown = control.as_ref().and_then(|side| side.shown.as_ref());
    let announcement = announcement(&settings, &addresses, shown, began.elapsed());
    let serving = tokio::spawn(server.run(edge, security, stopped.clone()));
    let mut answering = None;
    if let Some(side) = control {
        tasks.spawn(maintain(Arc::clone(&side.control)));
        tasks.spawn(until_current(replica, side.readiness.clone()));
        tasks.spawn(look_at_runners(runners, side.readiness));
        answering = Some(tokio::spawn(side.server.run(side.state, stopped)));
    }
    tokio::select! {
        () = say(announcement) => stops.next().await,
        () = stops.next() => {}
    }
    tracing::info!("stopping: what was accepted is answered first");
    // What begins now would be cut off.
    clockwork.abort();
    // A receiver that is gone has stopped already.
    let _ = stop.send(true);
    drain([Some(serving), answering], settings.drain, &mut stops).await;
    if let Some(store) = store {
        settle(&store).await;
    }
    Addresses::remove(&settings.data);
    Ok(())
}

/// Waits until what was accepted is answered: for a time, and not after a second order to stop.
async fn drain(serving: [Option<JoinHandle<()>>; 2], time_max: Duration, stops: &mut Stops) {
    let drained = async {
        for task in serving.into_iter().flatten() {
            if let Err(error) = task.await {
                tracing::error!(%error, "serving ended badly");
            }
        }
    };
    tokio::select! {
        // Each bounds its drain itself, and says what it cuts off.
        drained = tokio::time::timeout(time_max.saturating_add(STOP_MAX), drained) => {
            if drained.is_err() {
                tracing::warn!("serving did not end {STOP_MAX:?} after a drain of {time_max:?}; it is cut off");
            }
        }
        () = stops.next() => tracing::warn!("told to stop again: requests that are unanswered are cut off"),
    }
}

/// Leaves the store's records in one file.
async fn settle(store: &Embedded) {
    match tokio::time::timeout(SETTLE_TIME_MAX, store.settle()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(error = terminal::chain(&error), "the store is left in two files"),
        Err(_) => tracing::warn!("the store is left in two files: it was not settled within {SETTLE_TIME_MAX:?}"),
    }
}

/// Tasks that end with the program.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(tokio::spawn(task));
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

fn make_data_folder(data: &Path) -> Result<(), UpError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data);
    made.map_err(|source| UpError::Data { path: data.to_owned(), source })
}

/// The key that secrets are sealed with. It is made at the first start alone: a new one opens nothing that is there.
fn secrets_key(settings: &UpSettings) -> Result<SecretsKey, UpError> {
    let path = &settings.secrets_key;
    let used = ["fabric", "edge"].iter().any(|folder| settings.data.join(folder).exists());
    if used && !path.exists() {
        return Err(UpError::NoKey { path: path.clone() });
    }
    Ok(SecretsKey::load_or_create(path)?)
}

/// Refuses to begin anew where there was a platform: its control plane and its edge would follow the empty store.
fn check_store(data: &Path) -> Result<(), UpError> {
    let file = data.join("fabric").join("fabric.db");
    let control = data.join("control");
    let look = |path: &Path, source| UpError::Look { path: path.to_owned(), source };
    if file.try_exists().map_err(|source| look(&file, source))? {
        return Ok(());
    }
    let is_used = match std::fs::read_dir(&control) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(source) => return Err(look(&control, source)),
    };
    if is_used || Replica::is_used(&data.join("edge"))? {
        return Err(UpError::NoStore { data: data.to_owned(), file });
    }
    Ok(())
}

fn edge_config(settings: &UpSettings) -> EdgeConfig {
    EdgeConfig {
        domain: settings.domain.clone(),
        default_worker: None,
        author: false,
        instances_per_worker_max: settings.instances.unwrap_or_else(machine::processors),
        isolates_max: settings.isolates,
        instance_idle_max: machine::INSTANCE_IDLE_MAX,
        memory_bytes_max: settings.memory_mib.unwrap_or_else(machine::half_of_memory_mib).saturating_mul(1024 * 1024),
    }
}

fn open_store(data: &Path) -> Result<Arc<Embedded>, UpError> {
    let path = data.join("fabric");
    Embedded::open(&path).map_err(|source| UpError::Fabric { path, source })
}

async fn open_control(
    settings: &UpSettings,
    key: SecretsKey,
    fabric: Arc<dyn Fabric>,
    replica: &Arc<Replica>,
) -> Result<Opened, UpError> {
    let config = ControlConfig {
        data: settings.data.join("control"),
        secrets_key: key,
        domain: settings.domain.clone(),
        admin_token: Some(settings.data.join(ADMIN_TOKEN_FILE)),
        clock: Clock::system(),
    };
    Ok(Control::open(config, fabric, Arc::new(Here(Arc::clone(replica)))).await?)
}

fn control_side(
    settings: &UpSettings,
    control: Arc<Control>,
    shown: Option<Shown>,
    server: ApiServer,
    edge: &Server,
    tails: &Tails,
    metrics: &Arc<Metrics>,
) -> ControlSide {
    let readiness = Readiness::default();
    readiness.block("edge", "it is taking in what is deployed");
    let (scheme, address, usual) = match edge.secure_address() {
        Some(https) => ("https", https, 443),
        None => ("http", edge.address(), 80),
    };
    let config = ApiConfig {
        scheme: scheme.into(),
        port: Some(address.port()).filter(|port| *port != usual),
        api_url: settings.public_url.clone(),
        ..ApiConfig::default()
    };
    let state = ApiState::new(Arc::clone(&control), tails.clone(), Arc::clone(metrics), config, readiness.clone());
    ControlSide { control, shown, server, state: Arc::new(state), readiness }
}

fn api_url(settings: &UpSettings, server: &ApiServer) -> String {
    let scheme = if server.is_secured() { "https" } else { "http" };
    if server.is_secured() && settings.public_url.is_none() {
        tracing::warn!("the API speaks TLS, and no certificate names its address: say its URL with --public-url");
    }
    settings.public_url.clone().unwrap_or_else(|| url_of(scheme, server.address()))
}

/// Says that the platform is ready once the edge serves all that is deployed.
async fn until_current(replica: Arc<Replica>, readiness: Readiness) {
    const LOOK_INTERVAL: Duration = Duration::from_millis(20);
    loop {
        match replica.is_current().await {
            Ok(true) => return readiness.clear("edge"),
            Ok(false) => {}
            Err(error) => readiness.block("edge", terminal::chain(&error)),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Says that the platform is not ready while no worker could be started.
async fn look_at_runners(runners: Arc<Runners>, readiness: Readiness) {
    loop {
        if runners.is_serving() {
            readiness.clear("runners");
        } else {
            readiness.block("runners", "no process can be started to run workers in: the log says why");
        }
        tokio::time::sleep(RUNNERS_INTERVAL).await;
    }
}

async fn maintain(control: Arc<Control>) {
    loop {
        if let Err(error) = control.maintain().await {
            tracing::warn!(error = terminal::chain(&error), "the control plane could not keep house");
        }
        tokio::time::sleep(MAINTAIN_INTERVAL).await;
    }
}

async fn sweep(replica: Arc<Replica>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        match replica.sweep().await {
            Ok(removed) => tracing::debug!(removed, "blobs that nothing is made of any more"),
            Err(error) => tracing::warn!(error = terminal::chain(&error), "old blobs of the edge's copy stay"),
        }
    }
}

async fn count(edge: Arc<Edge>, tails: Tails, metrics: Arc<Metrics>) {
    loop {
        let load = edge.load();
        metrics.set_running(load.isolates, load.in_flight);
        metrics.set_workers(load.workers);
        metrics.set_tails(tails.count());
        tokio::time::sleep(COUNT_INTERVAL).await;
    }
}
