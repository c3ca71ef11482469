//! What the bundler is told about the runtime: which modules it has, and which files are modules of their own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use nodejs_built_in_modules::is_nodejs_builtin_module;
use oxc::span::SourceType;
use rolldown_common::side_effects::HookSideEffects;
use rolldown_common::{ImportKind, ModuleType, ResolvedExternal};
use rolldown_plugin::{
    HookLoadArgs, HookLoadOutput, HookLoadReturn, HookResolveIdArgs, HookResolveIdOutput, HookResolveIdReturn,
    HookTransformArgs, HookTransformAstArgs, HookTransformAstReturn, HookTransformOutput, HookTransformOutputMap,
    HookTransformReturn, HookUsage, Plugin, PluginContext, PluginContextResolveOptions, SharedLoadPluginContext,
    SharedTransformPluginContext,
};

use crate::additional::Additional;
use crate::computed::{self, Expanded};
use crate::diagnostics::Reader;
use crate::options::BundleOptions;
use crate::output::{Module, ModuleKind};
use crate::quirks;
use crate::reexports::{self, Missing};
use crate::rules::{Rules, normalized};

/// Names the wrapper that stands between a `require` and a module only an `import` can reach.
const REQUIRE_WRAPPER: &str = "\0selvedge-require:";

/// Names the module that stands for a file which the script has as a global.
const GLOBAL: &str = "\0selvedge-global:";

/// Enough of the content's hash to tell any two files of a version apart.
const NAME_HASH_CHARS: usize = 40;

/// Set when an import would take the modules past the size allowed.
#[derive(Debug, thiserror::Error)]
#[error("the modules are {actual_bytes} bytes together")]
pub(crate) struct TooLarge {
    pub(crate) actual_bytes: u64,
}

/// How the main module gets at the files that are modules of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Files {
    /// It imports them.
    Imported,
    /// It is a script, which imports nothing: they are globals, as its bindings are.
    Global,
}

#[derive(Debug)]
pub(crate) struct WorkerPlugin {
    root: PathBuf,
    files: Files,
    alias: BTreeMap<String, String>,
    rules: Rules,
    size_max_bytes: u64,
    /// Files that are modules already, under their own names.
    additional: Arc<Additional>,
    finds_modules: bool,
    /// What an earlier attempt did not find.
    missing: Missing,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By name.
    modules: BTreeMap<String, Module>,
    size_bytes: u64,
    /// The size that was too much.
    too_large: Option<u64>,
    read: Vec<PathBuf>,
    warnings: Vec<String>,
}

/// What the build found beside JavaScript.
pub(crate) struct Collected {
    pub(crate) modules: Vec<Module>,
    pub(crate) too_large: Option<u64>,
    pub(crate) read: Vec<PathBuf>,
    pub(crate) warnings: Vec<String>,
}

impl WorkerPlugin {
    pub(crate) fn new(
        options: &BundleOptions,
        root: PathBuf,
        files: Files,
        additional: Arc<Additional>,
        missing: Missing,
    ) -> Self {
        Self {
            root,
            files,
            alias: options.alias.clone(),
            rules: Rules::new(&options.rules),
            size_max_bytes: options.size_max_bytes,
            additional,
            finds_modules: options.finds_modules(),
            missing,
            state: Mutex::default(),
        }
    }

    pub(crate) fn take(&self) -> Collected {
        let mut state = std::mem::take(&mut *self.lock());
        // Files are read side by side.
        state.warnings.sort();
        Collected {
            modules: state.modules.into_values().collect(),
            too_large: state.too_large,
            read: state.read,
            warnings: state.warnings,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every change under the lock is whole before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the bundler's own resolver finds `specifier`.
    async fn locate(
        &self,
        context: &PluginContext,
        specifier: &str,
        importer: Option<&str>,
        kind: ImportKind,
    ) -> anyhow::Result<Option<HookResolveIdOutput>> {
        let options = PluginContextResolveOptions { import_kind: kind, ..PluginContextResolveOptions::default() };
        let found = context.resolve(specifier, importer, Some(options)).await?;
        Ok(found.ok().map(HookResolveIdOutput::from_resolved_id))
    }

    /// Reads the file at `path` into a module of its own; returns the name that imports of it use, or its global.
    async fn collect(&self, path: &Path, kind: ModuleKind) -> anyhow::Result<String> {
        let size_bytes = tokio::fs::metadata(path).await?.len();
        self.admit(size_bytes)?;
        let body = Bytes::from(tokio::fs::read(path).await?);
        let file_name = path.file_name().unwrap_or_default().to_string_lossy();
        let hash = blake3::hash(&body).to_hex();
        let hash = hash.get(..NAME_HASH_CHARS).unwrap_or(&hash);
        let name = format!("./{hash}-{file_name}");
        let name = match self.files {
            Files::Imported => name,
            Files::Global => global_name(&name),
        };

        let mut state = self.lock();
        state.read.push(path.to_path_buf());
        if let Entry::Vacant(vacant) = state.modules.entry(name.clone()) {
            let bytes = body.len() as u64;
            vacant.insert(Module { name: name.clone(), kind, body, source_map: None });
            state.size_bytes += bytes;
        }
        Ok(name)
    }

    /// The import of a file that is a module under its own name. A script that is required is bundled all the same:
    /// only an import reaches a module.
    fn additional(&self, specifier: &str, importer: Option<&str>, kind: ImportKind) -> Option<HookResolveIdOutput> {
        let path = specifier.split('?').next().unwrap_or(specifier);
        if self.additional.files.is_empty() || !(path.starts_with("./") || path.starts_with("../")) {
            return None;
        }
        let folder = Path::new(importer?).parent()?;
        let (name, module) = self.additional.files.get(&normalized(&folder.join(path)))?;
        let name = format!("./{name}");
        match (module.is_script(), kind) {
            (true, ImportKind::Require) => None,
            // Importing a script may do something.
            (true, _) => Some(HookResolveIdOutput {
                external: Some(ResolvedExternal::Absolute),
                ..HookResolveIdOutput::from_id(name)
            }),
            (false, kind) => Some(runtime_import(&name, kind)),
        }
    }

    /// Puts choices among files in place of the computed imports of the file `id`.
    fn expand(&self, id: &str, code: &str, module_type: &ModuleType) -> Expanded {
        let syntax = match module_type {
            ModuleType::Js | ModuleType::Jsx => SourceType::jsx(),
            ModuleType::Ts => SourceType::ts(),
            ModuleType::Tsx => SourceType::tsx(),
            _ => return Expanded::default(),
        };
        let source = computed::Source {
            path: Path::new(id),
            code,
            syntax,
            finds_modules: self.finds_modules,
            own: !id.contains("/node_modules/"),
        };
        computed::expand(&source, &Reader::new(self.root.clone()), |name| self.rules.kind_of_path(name).is_some())
    }

    fn admit(&self, more_bytes: u64) -> anyhow::Result<()> {
        let mut state = self.lock();
        let actual_bytes = state.size_bytes.saturating_add(more_bytes);
        if actual_bytes > self.size_max_bytes {
            state.too_large = Some(actual_bytes);
            return Err(TooLarge { actual_bytes }.into());
        }
        Ok(())
    }
}

impl Plugin for WorkerPlugin {
    fn name(&self) -> Cow<'static, str> {
        Cow::Borrowed("selvedge")
    }

    fn register_hook_usage(&self) -> HookUsage {
        HookUsage::ResolveId | HookUsage::Load | HookUsage::Transform | HookUsage::TransformAst
    }

    async fn resolve_id(&self, context: &PluginContext, args: &HookResolveIdArgs<'_>) -> HookResolveIdReturn {
        if args.is_entry {
            return Ok(None);
        }
        if args.importer.is_some_and(|importer| importer.starts_with(REQUIRE_WRAPPER)) {
            return Ok(Some(left_to_runtime(args.specifier)));
        }

        let target = self.alias.get(args.specifier);
        let specifier = target.map_or(args.specifier, String::as_str);
        if let Some(name) = runtime_module(specifier) {
            return Ok(Some(runtime_import(&name, args.kind)));
        }

        // A target from the configuration is relative to the root, not to the file that happens to import it.
        let from_root = self.root.join("package.json");
        let importer = match target {
            Some(_) => from_root.to_str(),
            None => args.importer,
        };
        if let Some(found) = self.additional(specifier, importer, args.kind) {
            return Ok(Some(found));
        }
        if let Some(kind) = self.rules.kind_of_import(specifier, importer, &self.root) {
            let path = specifier.split('?').next().unwrap_or(specifier);
            return match self.locate(context, path, importer, args.kind).await? {
                Some(found) => {
                    let name = self.collect(Path::new(found.id.as_str()), kind).await?;
                    Ok(Some(match self.files {
                        Files::Imported => runtime_import(&name, args.kind),
                        Files::Global => global(&name),
                    }))
                }
                None => Ok(None),
            };
        }
        match target {
            Some(target) => self.locate(context, target, importer, args.kind).await,
            None => Ok(None),
        }
    }

    async fn load(&self, _context: SharedLoadPluginContext, args: &HookLoadArgs<'_>) -> HookLoadReturn {
        let code = if let Some(name) = args.id.strip_prefix(REQUIRE_WRAPPER) {
            require_wrapper(name)
        } else if let Some(name) = args.id.strip_prefix(GLOBAL) {
            format!("export default {name};")
        } else {
            return Ok(None);
        };
        Ok(Some(HookLoadOutput { code: code.into(), module_type: Some(ModuleType::Js), ..HookLoadOutput::default() }))
    }

    /// Notes the file, lets the worker's own `.js` files hold JSX, as wrangler does, and finds what computed imports
    /// can mean.
    async fn transform(
        &self,
        _context: SharedTransformPluginContext,
        args: &HookTransformArgs<'_>,
    ) -> HookTransformReturn {
        if !Path::new(args.id).is_absolute() {
            return Ok(None);
        }
        let expanded = self.expand(args.id, args.code, args.module_type);
        {
            let mut state = self.lock();
            state.read.push(PathBuf::from(args.id));
            state.warnings.extend(expanded.warnings);
        }
        let own_script = matches!(args.module_type, ModuleType::Js) && !args.id.contains("/node_modules/");
        let is_jsx = own_script && (args.code.contains("</") || args.code.contains("/>"));
        if !is_jsx && expanded.code.is_none() {
            return Ok(None);
        }
        Ok(Some(HookTransformOutput {
            code: expanded.code,
            map: HookTransformOutputMap::Null,
            side_effects: None,
            module_type: is_jsx.then_some(ModuleType::Jsx),
        }))
    }

    async fn transform_ast(
        &self,
        _context: &PluginContext,
        mut args: HookTransformAstArgs<'_>,
    ) -> HookTransformAstReturn {
        let offsets = self.missing.get(Path::new(args.id));
        args.ast.program.with_mut(|fields| {
            if let Some(offsets) = offsets {
                reexports::mark(fields.program, fields.source, offsets);
            }
            quirks::avoid(fields.program, fields.source, fields.allocator);
        });
        Ok(args.ast)
    }
}

/// The name of the module in the runtime that `specifier` means, if it means one.
fn runtime_module(specifier: &str) -> Option<String> {
    let has_scheme = ["node:", "cloudflare:", "workerd:"].iter().any(|scheme| specifier.starts_with(scheme));
    if has_scheme {
        return Some(specifier.to_owned());
    }
    is_nodejs_builtin_module(specifier).then(|| format!("node:{specifier}"))
}

/// An import of what only the runtime has, by whichever way `kind` says.
fn runtime_import(name: &str, kind: ImportKind) -> HookResolveIdOutput {
    match kind {
        ImportKind::Require => HookResolveIdOutput::from_id(format!("{REQUIRE_WRAPPER}{name}")),
        _ => left_to_runtime(name),
    }
}

fn left_to_runtime(name: &str) -> HookResolveIdOutput {
    // Node's modules and files do nothing by being imported: an import that nothing uses can go.
    let pure = name.starts_with("node:") || name.starts_with("./");
    HookResolveIdOutput {
        external: Some(ResolvedExternal::Absolute),
        side_effects: pure.then_some(HookSideEffects::False),
        ..HookResolveIdOutput::from_id(name.to_owned())
    }
}

/// A module whose default export is the global `name`.
fn global(name: &str) -> HookResolveIdOutput {
    HookResolveIdOutput {
        side_effects: Some(HookSideEffects::False),
        ..HookResolveIdOutput::from_id(format!("{GLOBAL}{name}"))
    }
}

/// The global for what a module would import as `name`, as wrangler calls it: what no identifier has becomes `_`. It
/// begins with `./`, so that no digit comes first.
fn global_name(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '$' { letter } else { '_' }).collect()
}

/// An ES module whose `require` gives what `require(name)` gives in Node: the default export of a Node module or a
/// file, the namespace of any other.
fn require_wrapper(name: &str) -> String {
    let name_text = format!("{name:?}");
    if name.starts_with("node:") || name.starts_with("./") {
        format!("export {{ default as \"module.exports\" }} from {name_text};")
    } else {
        format!("import * as all from {name_text};\nexport {{ all as \"module.exports\" }};")
    }
}
