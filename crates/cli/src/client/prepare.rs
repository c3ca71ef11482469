//! From a project on disk and what the command line changes of it to what is uploaded; nothing is asked of a platform.

use std::path::{Path, PathBuf};

use clap::Args;
use selvedge_assets::AssetSet;
use selvedge_bundle::{Bundle, Mode};
use selvedge_model::{RoutePattern, is_host_name};
use selvedge_project::{
    Assets, BindingName, CompatibilityDate, Cron, HtmlHandling, NotFoundHandling, Project, Route, RunWorkerFirst,
    Secret, Var, WorkerName,
};

use super::console::Console;
use super::error::ClientError;
use crate::sources;

/// A project, and what of it is to be otherwise.
#[derive(Debug, Clone, Args)]
pub struct SourceArguments {
    /// Project: a .js, .mjs, .jsx, .ts, .mts or .tsx file, a folder with wrangler.jsonc, wrangler.json, wrangler.toml or an
    /// index file, or such a configuration file
    #[arg(value_name = "PATH", default_value = ".")]
    pub path: PathBuf,
    /// Named environment of the project's configuration
    #[arg(long, short, env = "CLOUDFLARE_ENV", value_name = "NAME")]
    pub env: Option<String>,
    /// Name of the worker
    #[arg(long, value_name = "NAME")]
    pub name: Option<WorkerName>,
    /// Variable, as text; may be repeated
    #[arg(long = "var", value_name = "NAME:VALUE")]
    pub vars: Vec<String>,
    /// Secrets to set with the version: a JSON object, or lines as in .env
    #[arg(long, value_name = "FILE")]
    pub secrets_file: Option<PathBuf>,
    /// Keep variables of the worker that the project does not have
    #[arg(long)]
    pub keep_vars: bool,
    /// Folder of static files
    #[arg(long, value_name = "DIR")]
    pub assets: Option<PathBuf>,
    /// Day whose platform behaviour the worker expects
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub compatibility_date: Option<CompatibilityDate>,
    /// Compatibility flag; may be repeated
    #[arg(long = "compatibility-flag", value_name = "FLAG")]
    pub compatibility_flags: Vec<String>,
    /// Expression in place of a global name, as in VERSION:'"1.2"'; may be repeated
    #[arg(long = "define", value_name = "NAME:VALUE")]
    pub defines: Vec<String>,
    /// Module in place of another, as in pkg:./mock.ts; may be repeated
    #[arg(long = "alias", value_name = "MODULE:MODULE")]
    pub aliases: Vec<String>,
    /// Instead of the nearest tsconfig.json
    #[arg(long, value_name = "FILE")]
    pub tsconfig: Option<PathBuf>,
    /// Make the code small
    #[arg(long)]
    pub minify: bool,
    /// Upload the script as it is
    #[arg(long)]
    pub no_bundle: bool,
}

/// What of a deployment, as opposed to a version, is to be otherwise.
#[derive(Debug, Clone, Default, Args)]
pub struct TriggerArguments {
    /// Route such as example.com/api/*, instead of the project's; may be repeated
    #[arg(long = "route", value_name = "PATTERN")]
    pub routes: Vec<String>,
    /// Host name that leads to the worker whole, instead of the project's; may be repeated
    #[arg(long = "domain", value_name = "HOST")]
    pub domains: Vec<String>,
    /// Cron trigger such as "*/5 * * * *", instead of the project's; may be repeated
    #[arg(long = "schedule", value_name = "CRON", value_parser = cron)]
    pub schedules: Vec<Cron>,
}

/// A project, ready to be uploaded.
pub struct Prepared {
    pub project: Project,
    pub bundle: Option<Bundle>,
    pub assets: Option<AssetSet>,
    /// From `--secrets-file`.
    pub secrets: std::collections::BTreeMap<BindingName, Secret>,
}

impl SourceArguments {
    /// Reads and bundles the project.
    pub fn prepare(&self, triggers: &TriggerArguments, console: &Console) -> Result<Prepared, ClientError> {
        let mut project = selvedge_project::load_deployed(&self.path, self.env.as_deref())?;
        for warning in &project.warnings {
            console.warning(&warning.to_string());
        }
        self.change(&mut project)?;
        triggers.change(&mut project);
        check_routes(&project)?;
        warn_of_limits(&project, console);
        let secrets = self.secrets_file.as_deref().map(selvedge_project::read_secrets).transpose()?;
        let bundle = bundle(&project, console)?;
        let assets = sources::asset_set(&project, bundle.is_some())?;
        for notice in assets.iter().flat_map(AssetSet::notices) {
            console.warning(&notice.to_string());
        }
        Ok(Prepared { project, bundle, assets, secrets: secrets.unwrap_or_default() })
    }

    fn change(&self, project: &mut Project) -> Result<(), ClientError> {
        if let Some(name) = &self.name {
            project.name = name.clone();
        }
        for var in &self.vars {
            let (name, value) = variable(var)?;
            project.vars.insert(name, Var::Text(value));
        }
        if let Some(date) = self.compatibility_date {
            project.compatibility_date = date;
        }
        if !self.compatibility_flags.is_empty() {
            project.compatibility_flags.clone_from(&self.compatibility_flags);
        }
        project.deploy.keep_vars |= self.keep_vars;
        for define in &self.defines {
            let (name, value) = pair("--define", define)?;
            project.bundling.define.insert(name, value);
        }
        for alias in &self.aliases {
            let (from, to) = pair("--alias", alias)?;
            project.bundling.alias.insert(from, to);
        }
        if let Some(tsconfig) = &self.tsconfig {
            project.bundling.tsconfig = Some(canonical(tsconfig)?);
        }
        project.bundling.minify |= self.minify;
        project.bundling.no_bundle |= self.no_bundle;
        if let Some(directory) = &self.assets {
            let directory = canonical(directory)?;
            match &mut project.assets {
                Some(assets) => assets.directory = directory,
                None => project.assets = Some(assets_of(directory)),
            }
        }
        Ok(())
    }
}

impl TriggerArguments {
    /// A project for what leads to it alone: nothing is bundled.
    pub fn prepare(
        &self,
        path: &Path,
        env: Option<&str>,
        name: Option<&WorkerName>,
        console: &Console,
    ) -> Result<Prepared, ClientError> {
        let mut project = selvedge_project::load_deployed(path, env)?;
        for warning in &project.warnings {
            console.warning(&warning.to_string());
        }
        if let Some(name) = name {
            project.name = name.clone();
        }
        self.change(&mut project);
        check_routes(&project)?;
        Ok(Prepared { project, bundle: None, assets: None, secrets: std::collections::BTreeMap::new() })
    }

    fn change(&self, project: &mut Project) {
        if !self.routes.is_empty() || !self.domains.is_empty() {
            let route =
                |custom_domain| move |pattern: &String| Route { pattern: pattern.clone(), zone: None, custom_domain };
            project.routes = self.routes.iter().map(route(false)).chain(self.domains.iter().map(route(true))).collect();
        }
        if !self.schedules.is_empty() {
            project.crons = Some(self.schedules.clone());
        }
    }
}

fn variable(text: &str) -> Result<(BindingName, String), ClientError> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| ClientError::Usage(format!("--var {text}: a variable is given as NAME:VALUE")))?;
    let name = name.parse().map_err(|error| ClientError::Usage(format!("--var {name}: {error}")))?;
    Ok((name, value.to_owned()))
}

/// What stands before and after the first colon that is not part of `node:` and the like.
fn pair(flag: &str, text: &str) -> Result<(String, String), ClientError> {
    let scheme =
        ["node:", "cloudflare:"].iter().find(|scheme| text.starts_with(**scheme)).map_or(0, |scheme| scheme.len());
    let colon = text.get(scheme..).and_then(|rest| rest.find(':')).map(|at| scheme + at);
    match colon.and_then(|at| Some((text.get(..at)?, text.get(at + 1..)?))) {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(ClientError::Usage(format!("{flag} {text}: two parts with a colon between are expected"))),
    }
}

/// What the platform would refuse of routes only when the version serves already.
fn check_routes(project: &Project) -> Result<(), ClientError> {
    for Route { pattern, custom_domain, .. } in &project.routes {
        let problem = if *custom_domain {
            let is_host = is_host_name(&pattern.to_ascii_lowercase());
            (!is_host).then(|| "a custom domain is a host name, without a path or `*`".to_owned())
        } else {
            pattern.parse::<RoutePattern>().err().map(|error| error.to_string())
        };
        if let Some(problem) = problem {
            return Err(ClientError::Usage(format!("the route \"{pattern}\" cannot be: {problem}")));
        }
    }
    Ok(())
}

fn cron(text: &str) -> Result<Cron, String> {
    Cron::parse(text).ok_or_else(|| "a cron trigger has five fields, such as \"*/5 * * * *\"".to_owned())
}

fn canonical(path: &Path) -> Result<PathBuf, ClientError> {
    path.canonicalize().map_err(|source| ClientError::File { path: path.to_owned(), source })
}

fn assets_of(directory: PathBuf) -> Assets {
    Assets {
        directory,
        binding: None,
        html_handling: HtmlHandling::default(),
        not_found_handling: NotFoundHandling::default(),
        run_worker_first: RunWorkerFirst::default(),
        base_path: None,
    }
}

/// The limits that a platform sets for all of its workers.
fn warn_of_limits(project: &Project, console: &Console) {
    let limits = &project.limits;
    let others = [
        ("wall_ms", limits.wall.is_some()),
        ("wait_until_ms", limits.wait_until.is_some()),
        ("memory_mb", limits.memory_bytes.is_some()),
        ("startup_ms", limits.startup.is_some()),
        ("connections", limits.connections.is_some()),
        ("request_body_mb", limits.request_body_bytes.is_some()),
        ("response_headers_kb", limits.response_header_bytes.is_some()),
        ("log_kb", limits.log_bytes.is_some()),
    ];
    for (name, _) in others.iter().filter(|(_, set)| *set) {
        console.warning(&format!("`limits.{name}` holds for `selvedge dev`; a platform has its own"));
    }
}

fn bundle(project: &Project, console: &Console) -> Result<Option<Bundle>, ClientError> {
    if project.main.is_none() {
        return Ok(None);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClientError::Runtime)?;
    let spinner = console.spinner("bundling");
    let bundle = runtime.block_on(sources::bundle(project, Mode::Production));
    spinner.finish();
    let bundle = bundle?;
    for warning in bundle.iter().flat_map(|bundle| &bundle.warnings) {
        console.warning(warning);
    }
    Ok(bundle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_may_ask_for_all_that_a_platform_takes() {
        assert_eq!(selvedge_project::CPU_MS_MAX, u64::from(selvedge_model::CPU_MS_MAX));
        assert_eq!(selvedge_project::SUBREQUESTS_MAX, u64::from(selvedge_model::SUBREQUESTS_MAX));
    }

    #[test]
    fn flags_of_two_parts_are_taken_apart_at_their_colon() {
        let apart = |text| pair("--alias", text).ok();
        let both = |one: &str, two: &str| Some((one.to_owned(), two.to_owned()));
        assert_eq!(apart("VERSION:'1:2'"), both("VERSION", "'1:2'"));
        assert_eq!(apart("node:fs:./fs.ts"), both("node:fs", "./fs.ts"));
        for text in ["pkg", "node:fs", ":x", "x:"] {
            assert_eq!(apart(text), None, "{text}");
        }
    }
}
