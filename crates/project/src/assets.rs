//! `assets`: static files beside the worker, or instead of one.

use crate::{
    error::ProblemKind,
    name::BindingName,
    project::{AssetRoutes, HtmlHandling, NotFoundHandling, RunWorkerFirst},
    reader::{At, Placed, Reader},
    tree::Value,
};

/// wrangler's bounds for `run_worker_first`.
const RULES_MAX: usize = 100;
const RULE_CHARS_MAX: usize = 100;
/// The longest path below which assets are served, in bytes.
const BASE_PATH_BYTES_MAX: usize = 256;

/// `assets` before it is known whether there is a worker, and where the folder leads.
#[derive(Debug, Clone)]
pub(crate) struct AssetSettings {
    pub(crate) directory: Placed<String>,
    pub(crate) binding: Option<Placed<BindingName>>,
    pub(crate) html_handling: HtmlHandling,
    pub(crate) not_found_handling: NotFoundHandling,
    pub(crate) run_worker_first: Option<Placed<RunWorkerFirst>>,
    pub(crate) base_path: Option<String>,
}

pub(crate) fn read(reader: &mut Reader<'_>, at: &At<'_>) -> Option<AssetSettings> {
    let mut fields = reader.fields(at)?;
    let directory = fields
        .require(reader, "directory", "the folder of the static files")
        .and_then(|at| reader.text(&at).map(|text| reader.placed(&at, text)));
    let binding = fields.get("binding").and_then(|at| {
        let name = reader.name(&at)?;
        Some(reader.placed(&at, name))
    });
    let html_handling = fields.get("html_handling").and_then(|at| {
        reader.choice(
            &at,
            &[
                ("auto-trailing-slash", HtmlHandling::AutoTrailingSlash),
                ("force-trailing-slash", HtmlHandling::ForceTrailingSlash),
                ("drop-trailing-slash", HtmlHandling::DropTrailingSlash),
                ("none", HtmlHandling::None),
            ],
        )
    });
    let not_found_handling = fields.get("not_found_handling").and_then(|at| {
        reader.choice(
            &at,
            &[
                ("single-page-application", NotFoundHandling::SinglePageApplication),
                ("404-page", NotFoundHandling::NotFoundPage),
                ("none", NotFoundHandling::None),
            ],
        )
    });
    let run_worker_first = fields.get("run_worker_first").and_then(|at| {
        let first = run_worker_first(reader, &at)?;
        Some(reader.placed(&at, first))
    });
    let base_path = fields.get("base_path").and_then(|at| base_path(reader, &at));
    fields.finish(reader);
    Some(AssetSettings {
        directory: directory?,
        binding,
        html_handling: html_handling.unwrap_or_default(),
        not_found_handling: not_found_handling.unwrap_or_default(),
        run_worker_first,
        base_path,
    })
}

fn base_path(reader: &mut Reader<'_>, at: &At<'_>) -> Option<String> {
    let path = reader.text(at)?;
    let well = path.len() <= BASE_PATH_BYTES_MAX
        && !path.contains("//")
        && !path.contains(['\\', '?', '#'])
        && !path.chars().any(|letter| letter.is_control() || letter.is_whitespace())
        && !path.split('/').any(|part| matches!(part, "." | ".."));
    if well {
        Some(path)
    } else {
        reader.mistyped(at, format!("a path such as /docs, of at most {BASE_PATH_BYTES_MAX} bytes"))
    }
}

fn run_worker_first(reader: &mut Reader<'_>, at: &At<'_>) -> Option<RunWorkerFirst> {
    match &at.node.value {
        Value::Bool(true) => return Some(RunWorkerFirst::Always),
        Value::Bool(false) => return Some(RunWorkerFirst::Never),
        Value::Array(_) => {}
        _ => return reader.mistyped(at, "true, false, or a list of paths"),
    }
    let items = reader.list(at)?;
    if items.len() > RULES_MAX {
        let (count, count_max) = (items.len(), RULES_MAX);
        reader.problem(at, ProblemKind::TooMany { count, count_max });
        return None;
    }
    let mut routes = AssetRoutes { worker: Vec::new(), assets: Vec::new() };
    for item in &items {
        match rule(reader, item) {
            Some((true, path)) => routes.worker.push(path),
            Some((false, path)) => routes.assets.push(path),
            None => {}
        }
    }
    if routes.worker.is_empty() {
        // Rules that were refused have their own problems.
        if routes.assets.len() == items.len() {
            reader.problem(at, ProblemKind::OnlyNegativeRules);
        }
        return None;
    }
    Some(RunWorkerFirst::Matching(routes))
}

/// Whether the rule sends a path to the worker, and the path.
fn rule(reader: &mut Reader<'_>, at: &At<'_>) -> Option<(bool, String)> {
    let text = reader.string(at)?;
    let (positive, path) = match text.strip_prefix('!') {
        Some(path) => (false, path),
        None => (true, text.as_str()),
    };
    if !path.starts_with('/') || text.chars().count() > RULE_CHARS_MAX {
        let expected = format!(
            "a path of at most {RULE_CHARS_MAX} characters that starts with \"/\", or with \"!/\" to exclude it"
        );
        return reader.mistyped(at, expected);
    }
    Some((positive, path.to_owned()))
}
