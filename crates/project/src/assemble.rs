//! From a path to a project: read the config, apply the environment, resolve the paths, add the secrets.

use std::path::{Path, PathBuf};

use crate::{
    assets::AssetSettings,
    bindings::Taken,
    error::{Location, ProblemKind, ProjectError},
    file::SourceFile,
    globals, jsonc,
    locate::{self, Format, Target},
    name::{CompatibilityDate, EnvironmentName, WorkerName},
    paths::{self, Paths},
    project::{Assets, Identity, Project, RunWorkerFirst},
    reader::Reader,
    secrets::{self, Secrets},
    settings::{self, Settings},
    toml,
    tree::Node,
    warning::{Warning, WarningKind, Warnings},
};

pub(crate) fn load(path: &Path, env: Option<&str>, secrets: Secrets<'_>) -> Result<Project, ProjectError> {
    let environment = environment(env)?;
    let redirected = match secrets {
        Secrets::None => locate::redirected(path)?,
        Secrets::Files(_) => None,
    };
    if let Some(config) = redirected {
        return load_redirected(path, config, environment);
    }
    match locate::locate(path)? {
        Target::Script { file } => {
            let name = stem_name(&file);
            load_bare(name, &locate::folder_of(&file), &file, environment, secrets)
        }
        Target::Bare { folder, main } => {
            let root = paths::canonical(&folder)?;
            let mut project = load_bare(folder_name(&root), &folder, &main, environment, secrets)?;
            project.inputs.extend(locate::candidates(&root));
            Ok(project)
        }
        Target::Config { folder, within, file, format, shadowed } => {
            let source = SourceFile::read(&file)?;
            let paths = Paths::new(&folder, &within)?;
            let mut project = load_config(&paths, &source, format, environment, secrets)?;
            project.warnings.extend(shadowed.into_iter().map(|path| Warning {
                at: start_of(path),
                key: None,
                kind: WarningKind::Shadowed { used: file.clone() },
            }));
            Ok(project)
        }
    }
}

/// The name and account of the worker at `path`, of which nothing else needs to be there yet.
pub(crate) fn identify(path: &Path, env: Option<&str>) -> Result<Identity, ProjectError> {
    let (path, environment) = match locate::redirected(path)? {
        Some(config) => (config, None),
        None => (path.to_owned(), environment(env)?),
    };
    match locate::locate(&path)? {
        Target::Script { file } => Ok(Identity { name: stem_name(&file), account_id: None }),
        Target::Bare { folder, .. } => {
            Ok(Identity { name: folder_name(&paths::canonical(&folder)?), account_id: None })
        }
        Target::Config { folder, file, format, .. } => {
            let source = SourceFile::read(&file)?;
            let tree = parse(&source, format)?;
            let mut reader = Reader::new(&source);
            let settings = settings::read(&mut reader, &source, &tree, environment.as_ref())?;
            reader.problems.check()?;
            let root = paths::canonical(&folder)?;
            let account_id = settings.deploy.finish(false, None).account_id;
            Ok(Identity { name: settings.name.unwrap_or_else(|| folder_name(&root)), account_id })
        }
    }
}

pub(crate) fn environment(env: Option<&str>) -> Result<Option<EnvironmentName>, ProjectError> {
    env.map(|name| {
        name.parse::<EnvironmentName>()
            .map_err(|source| ProjectError::EnvironmentName { name: name.to_owned(), source })
    })
    .transpose()
}

fn parse(source: &SourceFile, format: Format) -> Result<Node, ProjectError> {
    match format {
        Format::Jsonc => jsonc::parse(source),
        Format::Toml => toml::parse(source),
    }
}

/// The project that a framework's build made of the one in `folder`. It is made for one environment, which is not in
/// its config any more.
fn load_redirected(
    folder: &Path,
    config: PathBuf,
    environment: Option<EnvironmentName>,
) -> Result<Project, ProjectError> {
    let Target::Config { folder: root, file, format, .. } = locate::locate(&config)? else {
        return Err(ProjectError::UnknownFileType { path: config });
    };
    let source = SourceFile::read(&file)?;
    let paths = Paths::new(&root, folder)?;
    let mut project = load_config(&paths, &source, format, None, Secrets::None)?;
    project.environment = environment;
    let kind = WarningKind::Redirected { used: file };
    project.warnings.push(Warning { at: start_of(folder.to_owned()), key: None, kind });
    Ok(project)
}

/// A worker without a config: all defaults, and the secrets beside it.
fn load_bare(
    name: WorkerName,
    folder: &Path,
    main: &Path,
    environment: Option<EnvironmentName>,
    secrets: Secrets<'_>,
) -> Result<Project, ProjectError> {
    let root = paths::canonical(folder)?;
    let mut project = Project::new(name, root);
    project.main = Some(paths::canonical(main)?);
    let mut warnings = Warnings::default();
    project.secrets = secrets::read(&project.root, environment.as_ref(), None, secrets, &mut warnings)?;
    project.warnings = warnings.finish();
    project.inputs = secrets::candidates(&project.root, environment.as_ref());
    project.environment = environment;
    Ok(project)
}

fn load_config(
    paths: &Paths,
    source: &SourceFile,
    format: Format,
    environment: Option<EnvironmentName>,
    secrets: Secrets<'_>,
) -> Result<Project, ProjectError> {
    let tree = parse(source, format)?;
    let mut reader = Reader::new(source);
    let mut settings = settings::read(&mut reader, source, &tree, environment.as_ref())?;
    let mut taken = std::mem::take(&mut settings.bindings.taken);
    let required = settings.bindings.secrets_required.take();
    let deploy = std::mem::take(&mut settings.deploy).finish(settings.keep_vars, required.as_deref());
    let mut project = resolve(&mut reader, source, paths, settings, &mut taken);
    project.deploy = deploy;
    let mut warnings = reader.warnings;
    reader.problems.check()?;

    project.config = Some(paths::canonical(source.path())?);
    project.inputs = project.config.iter().cloned().collect();
    project.inputs.extend(locate::candidates(paths.root()));
    project.inputs.extend(secrets::candidates(paths.root(), environment.as_ref()));
    project.inputs.dedup();
    let mut found = secrets::read(paths.root(), environment.as_ref(), required.as_deref(), secrets, &mut warnings)?;
    let vars = &project.vars;
    secrets::drop_shadowed(&mut found, &taken, |name| vars.contains_key(name), source, &mut warnings);
    project.vars.retain(|name, _| !found.contains_key(name));
    project.secrets = found;
    project.warnings = warnings.finish();
    project.environment = environment;
    Ok(project)
}

/// The checks that need more than one key, or the file system.
fn resolve(
    reader: &mut Reader<'_>,
    source: &SourceFile,
    paths: &Paths,
    settings: Settings,
    taken: &mut Taken,
) -> Project {
    let name = settings.name.unwrap_or_else(|| folder_name(paths.root()));
    let mut project = Project::new(name, paths.root().to_owned());
    project.compatibility_date = settings.compatibility_date.unwrap_or_else(|| {
        let used = CompatibilityDate::today();
        reader.warnings.push(|| Warning {
            at: source.locate(0),
            key: None,
            kind: WarningKind::NoCompatibilityDate { used },
        });
        used
    });
    let command = settings.bundling.build_command.as_deref();
    project.main = settings.main.as_ref().and_then(|main| paths.main(reader, main, command));
    // A `main` or `assets` that is there but wrong has its own problem.
    if settings.main.is_none() && settings.assets.is_none() && reader.problems.is_empty() {
        let kind = ProblemKind::NothingToServe;
        reader.problem_at(source.locate(0), "main".to_owned(), kind);
    }
    let has_main = settings.main.is_some();
    project.assets = settings.assets.and_then(|assets| resolve_assets(reader, paths, assets, has_main, taken));
    let tsconfig = settings.bundling.tsconfig.clone();
    let base_dir = settings.bundling.base_dir.clone();
    project.bundling = settings.bundling.finish(settings.define, settings.alias);
    project.bundling.tsconfig = tsconfig.and_then(|path| paths.file(reader, &path));
    project.bundling.base_dir = base_dir.and_then(|path| paths.folder(reader, &path));
    project.compatibility_flags = settings.compatibility_flags.unwrap_or_default();
    project.limits = settings.limits.unwrap_or_default();
    project.crons = settings.crons;
    project.routes = settings.routes.unwrap_or_default();
    project.dev = settings.dev;
    project.vars = settings.bindings.vars;
    project.services = settings.bindings.services;
    project.version_metadata = settings.bindings.version_metadata;
    project.rate_limits = settings.bindings.rate_limits;
    project.globals = globals::resolve(reader, paths, settings.globals, has_main, taken);
    project.unavailable = settings.bindings.unavailable;
    project
}

fn resolve_assets(
    reader: &mut Reader<'_>,
    paths: &Paths,
    assets: AssetSettings,
    has_main: bool,
    taken: &mut Taken,
) -> Option<Assets> {
    let directory = paths.assets(reader, &assets.directory)?;
    if paths.root().starts_with(&directory) {
        reader.warnings.push(|| Warning {
            at: assets.directory.at.clone(),
            key: Some(assets.directory.key.clone()),
            kind: WarningKind::AssetsExposeProject,
        });
    }
    if let Some(binding) = &assets.binding {
        if !has_main {
            let (at, key) = (binding.at.clone(), binding.key.clone());
            reader.problem_at(at, key, ProblemKind::NeedsMain);
        }
        taken.take_placed(reader, binding);
    }
    if let Some(first) = &assets.run_worker_first
        && first.value != RunWorkerFirst::Never
        && !has_main
    {
        let (at, key) = (first.at.clone(), first.key.clone());
        reader.problem_at(at, key, ProblemKind::NeedsMain);
    }
    Some(Assets {
        directory,
        binding: assets.binding.map(|binding| binding.value),
        html_handling: assets.html_handling,
        not_found_handling: assets.not_found_handling,
        run_worker_first: assets.run_worker_first.map(|first| first.value).unwrap_or_default(),
        base_path: assets.base_path,
    })
}

fn stem_name(file: &Path) -> WorkerName {
    WorkerName::sanitised(&file.file_stem().unwrap_or_default().to_string_lossy())
}

fn folder_name(root: &Path) -> WorkerName {
    WorkerName::sanitised(&root.file_name().unwrap_or_default().to_string_lossy())
}

fn start_of(file: PathBuf) -> Location {
    Location { file, line: 1, column: 1 }
}
