//! `selvedge up`: the whole platform on this machine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_api::{ApiConfig, ApiServer, ApiState, Readiness};
use selvedge_control::{Clock, Control, ControlConfig, ControlError, FirstStart, Opened, SecretsKey};
use selvedge_edge::{Edge, EdgeConfig, Server};
use selvedge_fabric::{Embedded, Fabric};
use selvedge_pop::{Clockwork, Replica};
use selvedge_telemetry::{Metrics, Tails, logs};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::UpCommand;
use crate::machine::{self, MachineError};
use crate::platform::{Here, Key, Telemetry};
use crate::security::{self, SecurityError};
use crate::settings::{LogFormat, Resolved, SettingsError, UpSettings};
use crate::terminal;

/// A worker that began nothing for so long gives its memory back.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// How often the control plane keeps house.
const MAINTAIN_INTERVAL: Duration = Duration::from_secs(300);
/// How often blobs that nothing needs any more are looked for in the edge's copy.
const SWEEP_INTERVAL: Duration = Duration::from_secs(3600);
/// How often what an edge holds is counted for the metrics.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// Says where a running platform listens: for tools on this machine.
const ADDRESSES_FILE: &str = "addresses.json";
/// The first token, with which everything else is made.
const ADMIN_TOKEN_FILE: &str = "admin.token";

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
    #[error("HTTPS cannot be served")]
    Security(#[from] SecurityError),
    #[error("signals cannot be received")]
    Signal(#[source] std::io::Error),
}

/// Where a platform listens, and for which account it was made.
#[derive(Debug, Serialize)]
struct Addresses {
    http: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    https: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<SocketAddr>,
    /// By which clients reach the API.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    pid: u32,
}

/// The control plane, where there is one.
struct ControlSide {
    control: Arc<Control>,
    first_start: Option<FirstStart>,
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
        logs::start(format, &settings.log)?;
        machine::make_room();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(UpError::Runtime)?;
        let drain = settings.drain;
        let result = runtime.block_on(up(settings, command.edge_only));
        runtime.shutdown_timeout(drain.min(Duration::from_secs(1)));
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::error(&terminal::chain(&error));
            ExitCode::FAILURE
        }
    }
}

async fn up(settings: UpSettings, edge_only: bool) -> Result<(), UpError> {
    let began = Instant::now();
    let mut terminate = signal(SignalKind::terminate()).map_err(UpError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(UpError::Signal)?;
    make_data_folder(&settings.data)?;
    // Before anything is changed: a port that is taken ends this here.
    let mut server = Server::bind(settings.http).await?.drain_max(settings.drain);
    if let Some(https) = settings.https {
        server = server.bind_secure(https).await?;
    }
    let api = if edge_only { None } else { Some(ApiServer::bind(settings.api).await?) };

    let (tails, metrics) = (Tails::new(), Arc::new(Metrics::new()));
    let telemetry = Arc::new(Telemetry { tails: tails.clone(), metrics: Arc::clone(&metrics) });
    let (runners, stuck) = machine::runners()?;
    let outbound = machine::outbound(settings.allow_net.clone())?;
    let edge = Edge::new(edge_config(&settings), runners, stuck, outbound, Arc::clone(&telemetry) as _);
    let (security, _watch) = security::start(&settings, &edge)?.unzip();
    let api = api.map(|api| security::secure_api(api, security.as_ref()));
    let key = secrets_key(&settings)?;
    let fabric = if edge_only { None } else { Some(open_fabric(&settings.data).await?) };
    let secrets = Arc::new(Key(key.clone()));
    let replica = Replica::open(&settings.data.join("edge"), Arc::clone(&edge), fabric.clone(), secrets).await?;
    let mut tasks = Tasks::default();
    tasks.spawn(Arc::clone(&replica).follow());

    let control = match (api, fabric) {
        (Some(api), Some(fabric)) => {
            let opened = open_control(&settings, key, fabric, &replica).await?;
            Some(control_side(&settings, opened, api, &server, &tails, &metrics))
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
    write_addresses(&settings.data, &addresses)?;
    announce(&settings, &addresses, control.as_ref().and_then(|side| side.first_start.as_ref()), began);
    let serving = tokio::spawn(server.run(edge, security, stopped.clone()));
    let mut answering = None;
    if let Some(side) = control {
        tasks.spawn(maintain(Arc::clone(&side.control)));
        tasks.spawn(until_current(replica, side.readiness));
        answering = Some(tokio::spawn(side.server.run(side.state, stopped)));
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: what was accepted is answered first");
    // What begins now would be cut off.
    clockwork.abort();
    // A receiver that is gone has stopped already.
    let _ = stop.send(true);
    let drained = tokio::time::timeout(settings.drain, async {
        for task in [Some(serving), answering].into_iter().flatten() {
            if let Err(error) = task.await {
                tracing::error!(%error, "serving ended badly");
            }
        }
    });
    if drained.await.is_err() {
        tracing::warn!("requests were still unanswered after {:?}; they are cut off", settings.drain);
    }
    let file = settings.data.join(ADDRESSES_FILE);
    if let Err(error) = std::fs::remove_file(&file) {
        tracing::warn!(%error, file = %file.display(), "a file is left behind");
    }
    Ok(())
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

fn edge_config(settings: &UpSettings) -> EdgeConfig {
    EdgeConfig {
        domain: settings.domain.clone(),
        default_worker: None,
        author: false,
        instances_per_worker_max: settings.instances.unwrap_or_else(machine::processors),
        isolates_max: settings.isolates,
        instance_idle_max: IDLE_MAX,
        memory_bytes_max: settings.memory_mib.unwrap_or_else(machine::half_of_memory_mib).saturating_mul(1024 * 1024),
    }
}

async fn open_fabric(data: &Path) -> Result<Arc<dyn Fabric>, UpError> {
    let path = data.join("fabric");
    let opened = Embedded::open(&path);
    Ok(opened.map_err(|source| UpError::Fabric { path, source })?)
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
    opened: Opened,
    server: ApiServer,
    edge: &Server,
    tails: &Tails,
    metrics: &Arc<Metrics>,
) -> ControlSide {
    let Opened { control, first_start } = opened;
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
    ControlSide { control, first_start, server, state: Arc::new(state), readiness }
}

fn api_url(settings: &UpSettings, server: &ApiServer) -> String {
    let scheme = if server.is_secured() { "https" } else { "http" };
    settings.public_url.clone().unwrap_or_else(|| format!("{scheme}://{}", server.address()))
}

/// Says that the platform is ready once the edge serves all that is deployed.
async fn until_current(replica: Arc<Replica>, readiness: Readiness) {
    const LOOK_INTERVAL: Duration = Duration::from_millis(20);
    loop {
        match replica.is_current().await {
            Ok(true) => return readiness.clear("edge"),
            Ok(false) => {}
            Err(error) => readiness.block("edge", error.to_string()),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
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

fn write_addresses(data: &Path, addresses: &Addresses) -> Result<(), UpError> {
    let failed = |path: &Path, source| UpError::Data { path: path.to_owned(), source };
    let file = data.join(ADDRESSES_FILE);
    let temporary = data.join(format!("{ADDRESSES_FILE}.new"));
    let text = serde_json::to_string_pretty(addresses).map_err(|error| failed(&file, error.into()))?;
    std::fs::write(&temporary, text).map_err(|source| failed(&temporary, source))?;
    std::fs::rename(&temporary, &file).map_err(|source| failed(&file, source))
}

fn announce(settings: &UpSettings, addresses: &Addresses, first_start: Option<&FirstStart>, began: Instant) {
    let port = addresses.http.port();
    terminal::note(&format!(
        "Selvedge is up in {} ms, with its data in {}",
        began.elapsed().as_millis(),
        settings.data.display()
    ));
    terminal::note(&format!("  workers  http://<worker>.{}:{port}/", settings.domain));
    if let Some(https) = addresses.https {
        terminal::note(&format!("           https://<worker>.{}:{}/", settings.domain, https.port()));
    }
    let Some(api) = &addresses.api_url else {
        terminal::note("  no API: this serves what was deployed before, and takes in no change");
        return;
    };
    terminal::note(&format!("  API      {api}"));
    let Some(first) = first_start else {
        return;
    };
    let token_file = settings.data.join(ADMIN_TOKEN_FILE);
    terminal::note(&format!(
        "\nThis is the first start. The account is {}.\n\
         Its token is shown this once; it is in {} too, which only you can read:\n\n  {}\n\n\
         Next, deploy a worker:\n  selvedge deploy\n\
         or with wrangler, from any Workers project:\n  \
         export CLOUDFLARE_API_BASE_URL={api}/client/v4\n  \
         export CLOUDFLARE_ACCOUNT_ID={}\n  \
         export CLOUDFLARE_API_TOKEN=$(cat {})\n  \
         npx wrangler deploy",
        first.account,
        token_file.display(),
        first.token.expose(),
        first.account,
        token_file.display(),
    ));
}
