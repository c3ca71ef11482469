//! The keys that say how sources become modules.

use std::collections::BTreeMap;

use crate::{
    error::ProblemKind,
    project::{Bundling, ModuleRule, ModuleType},
    reader::{At, Fields, Placed, Reader, Type},
    tree::Value,
    warning::WarningKind,
};

/// Rules and globs above this number are taken for a mistake.
const RULES_MAX: usize = 1000;

/// The inheritable keys, as one environment sets them.
#[derive(Debug, Default)]
pub(crate) struct BundlingSettings {
    rules: Option<Vec<ModuleRule>>,
    no_bundle: Option<bool>,
    minify: Option<bool>,
    keep_names: Option<bool>,
    find_additional_modules: Option<bool>,
    jsx_factory: Option<String>,
    jsx_fragment: Option<String>,
    pub(crate) tsconfig: Option<Placed<String>>,
    pub(crate) base_dir: Option<Placed<String>>,
    /// A command that makes `main`, for messages: it is not run.
    pub(crate) build_command: Option<String>,
}

pub(crate) fn read(reader: &mut Reader<'_>, fields: &mut Fields<'_>) -> BundlingSettings {
    let rules = fields.get("rules").and_then(|at| rules(reader, &at));
    let build_command = fields.get("build").and_then(|at| build_command(reader, &at));
    let tsconfig = placed(reader, fields, "tsconfig");
    let base_dir = placed(reader, fields, "base_dir");
    let jsx_factory = fields.get("jsx_factory").and_then(|at| reader.text(&at));
    let jsx_fragment = fields.get("jsx_fragment").and_then(|at| reader.text(&at));
    if let Some(at) = fields.get("preserve_file_names")
        && reader.boolean(&at) == Some(true)
    {
        let reason = "the name of a module that an imported file becomes begins with the file's hash";
        reader.warn(at.node.at, at.key, WarningKind::NotSupported { reason });
    }
    let mut flag = |key| fields.get(key).and_then(|at| reader.boolean(&at));
    BundlingSettings {
        rules,
        no_bundle: flag("no_bundle"),
        minify: flag("minify"),
        keep_names: flag("keep_names"),
        find_additional_modules: flag("find_additional_modules"),
        jsx_factory,
        jsx_fragment,
        tsconfig,
        base_dir,
        build_command,
    }
}

pub(crate) fn placed(reader: &mut Reader<'_>, fields: &mut Fields<'_>, key: &'static str) -> Option<Placed<String>> {
    let at = fields.get(key)?;
    let text = reader.text(&at)?;
    Some(reader.placed(&at, text))
}

fn rules(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Vec<ModuleRule>> {
    let count = reader.list(at)?.len();
    if count > RULES_MAX {
        let count_max = RULES_MAX;
        reader.problem(at, ProblemKind::TooMany { count, count_max });
        return None;
    }
    let rules = reader.each(at, rule)?;
    Some(rules.into_iter().flatten().collect())
}

/// `Some(None)` is a rule for files that no worker here can import.
fn rule(reader: &mut Reader<'_>, at: &At<'_>) -> Option<Option<ModuleRule>> {
    let mut fields = reader.fields(at)?;
    let module_type = fields.require(reader, "type", "the type files are imported as").and_then(|at| {
        reader.choice(
            &at,
            &[
                ("ESModule", Some(ModuleType::EsModule)),
                ("CommonJS", Some(ModuleType::CommonJs)),
                ("CompiledWasm", Some(ModuleType::CompiledWasm)),
                ("Text", Some(ModuleType::Text)),
                ("Data", Some(ModuleType::Data)),
                ("PythonModule", None),
                ("PythonRequirement", None),
            ],
        )
    });
    let globs = fields.require(reader, "globs", "a list of globs").and_then(|at| match reader.texts(&at) {
        Some(globs) if globs.is_empty() && matches!(&at.node.value, Value::Array(items) if items.is_empty()) => {
            reader.mistyped(&at, "a list with at least one glob")
        }
        globs => globs,
    });
    let fallthrough = fields.get("fallthrough").and_then(|at| reader.boolean(&at)).unwrap_or(false);
    fields.finish(reader);
    let globs = globs?;
    match module_type? {
        Some(module_type) => Some(Some(ModuleRule { module_type, globs, fallthrough })),
        None => {
            let reason = "Python modules do not run in Selvedge";
            reader.warn(at.node.at, at.key.clone(), WarningKind::NotSupported { reason });
            Some(None)
        }
    }
}

fn build_command(reader: &mut Reader<'_>, at: &At<'_>) -> Option<String> {
    let mut fields = reader.fields(at)?;
    let command_at = fields.get("command");
    let command = command_at.as_ref().and_then(|at| reader.text(at));
    if let Some(at) = fields.get("cwd") {
        reader.check(&at, Type::Text);
    }
    if let Some(at) = fields.get("watch_dir") {
        let expected = if matches!(at.node.value, Value::Array(_)) { Type::Texts } else { Type::Text };
        reader.check(&at, expected);
    }
    fields.finish(reader);
    if let Some(at) = command_at.filter(|_| command.is_some()) {
        let reason = "Selvedge does not run build commands; it bundles `main` itself, or run the command beside it";
        reader.warn(at.node.at, at.key, WarningKind::NotSupported { reason });
    }
    command
}

// === impl BundlingSettings ===

impl BundlingSettings {
    /// What this environment sets, and the rest from `top`.
    pub(crate) fn inherit(self, top: Self) -> Self {
        Self {
            rules: self.rules.or(top.rules),
            no_bundle: self.no_bundle.or(top.no_bundle),
            minify: self.minify.or(top.minify),
            keep_names: self.keep_names.or(top.keep_names),
            find_additional_modules: self.find_additional_modules.or(top.find_additional_modules),
            jsx_factory: self.jsx_factory.or(top.jsx_factory),
            jsx_fragment: self.jsx_fragment.or(top.jsx_fragment),
            tsconfig: self.tsconfig.or(top.tsconfig),
            base_dir: self.base_dir.or(top.base_dir),
            build_command: self.build_command.or(top.build_command),
        }
    }

    /// All but the paths, which the caller resolves.
    pub(crate) fn finish(self, define: BTreeMap<String, String>, alias: BTreeMap<String, String>) -> Bundling {
        Bundling {
            rules: self.rules.unwrap_or_default(),
            no_bundle: self.no_bundle.unwrap_or_default(),
            minify: self.minify.unwrap_or_default(),
            keep_names: self.keep_names,
            find_additional_modules: self.find_additional_modules,
            base_dir: None,
            define,
            alias,
            tsconfig: None,
            jsx_factory: self.jsx_factory,
            jsx_fragment: self.jsx_fragment,
        }
    }
}
