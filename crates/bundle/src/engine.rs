//! One build: options to the bundler's options, its output to modules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use rolldown::{
    BundleOutput, Bundler, BundlerOptions, ChecksOptions, CodeSplittingMode, CommentsOptions, InputItem, ModuleType,
    OutputFormat, Platform, RawMinifyOptions, ResolveOptions, SourceMapType,
};
use rolldown_common::{Output, OutputChunk};
use rolldown_error::BatchedBuildDiagnostic;
use tokio::runtime::Runtime;
use tokio::task::JoinError;

use crate::additional::{self, Additional};
use crate::decorators;
use crate::diagnostics::Reader;
use crate::error::BundleError;
use crate::options::BundleOptions;
use crate::output::{Bundle, Format, Module, ModuleKind};
use crate::plugin::{Files, WorkerPlugin};
use crate::reexports::{self, Missing};
use crate::script;
use crate::tsconfig::Compiler;

/// The bundler blocks the threads it runs on, so it has its own; two keep one build's parsing and reading busy.
const THREADS_MIN: usize = 2;
const THREADS_MAX: usize = 4;

/// Parser, transformer and printer recurse over the syntax tree, and generated code nests thousands deep. Only touched
/// pages cost memory.
const STACK_BYTES: usize = 256 * 1024 * 1024;

/// How many builds one may take to settle names that turned out to be types: a chain of files that pass one on settles
/// a link at a time. A script with files takes one more.
const ATTEMPTS_MAX: u32 = 8;

/// The threads of every build in this process.
pub(crate) fn runtime() -> Result<&'static Runtime, BundleError> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    // One caller starts the threads: a second runtime could not be dropped again, as callers are asynchronous.
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let threads = std::thread::available_parallelism().map_or(THREADS_MIN, usize::from).clamp(THREADS_MIN, THREADS_MAX);
    let built = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("bundle")
        .thread_stack_size(STACK_BYTES)
        .enable_all()
        .build()
        .map_err(|source| BundleError::Threads { source })?;
    // The bundler prints on rayon's global pool. Where the process has one already, that one serves.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("bundle-{index}"))
        .stack_size(STACK_BYTES)
        .build_global();
    Ok(RUNTIME.get_or_init(|| built))
}

/// What a task that did not end by itself says for the log.
pub(crate) fn panic_text(failure: JoinError) -> String {
    if !failure.is_panic() {
        return "the build was cancelled".to_owned();
    }
    let payload = failure.into_panic();
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked without a message").to_owned()
}

pub(crate) async fn build(options: &BundleOptions) -> Result<Bundle, BundleError> {
    let root = options.real_root();
    let entry = options.entry_path();
    if !tokio::fs::try_exists(&entry).await.unwrap_or(false) {
        return Err(BundleError::EntryMissing { path: entry });
    }
    let entry = tokio::fs::canonicalize(&entry).await.map_err(|source| BundleError::Read { path: entry, source })?;

    let reader = Reader::new(root.clone());
    let compiler = Compiler::of(options, &entry)
        .map_err(|diagnostic| BundleError::Build { diagnostics: vec![diagnostic], watched: vec![entry.clone()] })?;
    let mut read: BTreeSet<PathBuf> = compiler.file.iter().cloned().collect();
    read.insert(entry.clone());
    let additional = Arc::new(files_beside(options, &entry).await?);
    read.extend(additional.files.keys().cloned());
    let mut missing = Missing::new();
    let mut attempts_left = ATTEMPTS_MAX;
    let mut files = Files::Imported;
    let (output, (collected, notices)) = loop {
        let plugin =
            Arc::new(WorkerPlugin::new(options, root.clone(), files, Arc::clone(&additional), missing.clone()));
        let bundler_options = bundler_options(options, &compiler, &root, &entry);
        let result = generate(bundler_options, Arc::clone(&plugin)).await;
        let collected = plugin.take();
        if let Some(actual_bytes) = collected.too_large {
            return Err(BundleError::TooLarge { actual_bytes, max_bytes: options.size_max_bytes });
        }
        read.extend(collected.read);
        attempts_left = attempts_left.saturating_sub(1);
        match result {
            // Whether it is a script shows when it is built; what files it has, too.
            Ok(output) if files == Files::Imported && !collected.modules.is_empty() && is_script(&output.assets) => {
                files = Files::Global;
            }
            Ok(output) => break (output, (collected.modules, collected.warnings)),
            Err(errors) => {
                let errors = errors.into_vec();
                if attempts_left == 0 || !reexports::note(&errors, &mut missing, &root) {
                    return Err(BundleError::Build {
                        diagnostics: reader.errors(errors),
                        watched: read.into_iter().collect(),
                    });
                }
            }
        }
    };
    let watched: Vec<PathBuf> = read.into_iter().collect();
    let (mut warnings, unresolved) = reader.warnings(output.warnings);
    warnings.extend(compiler.warning.iter().map(ToString::to_string));
    warnings.extend(notices);
    if !unresolved.is_empty() {
        return Err(BundleError::Build { diagnostics: unresolved, watched });
    }

    let Some(chunk) = entry_chunk(&output.assets) else {
        return Err(BundleError::Internal { reason: "the output has no entry".to_owned() });
    };
    let left = decorators::find(chunk);
    if !left.is_empty() {
        return Err(BundleError::Build { diagnostics: reader.at_places(&left), watched });
    }

    if chunk.exports.is_empty() {
        script::check(options, &entry, &chunk.code, &watched)?;
    }

    let mut modules = vec![module(chunk)];
    modules.extend(collected);
    modules.extend(additional.modules.iter().cloned());
    check_size(&modules, options.size_max_bytes)?;
    let exports: Vec<String> = chunk.exports.iter().map(|name| name.to_string()).collect();
    Ok(Bundle {
        main: chunk.filename.to_string(),
        format: if exports.is_empty() { Format::ServiceWorker } else { Format::Modules },
        exports,
        modules,
        watched,
        warnings,
    })
}

/// Reads the files beside the entry that are modules as they are.
async fn files_beside(options: &BundleOptions, entry: &Path) -> Result<Additional, BundleError> {
    if !options.finds_modules() {
        return Ok(Additional::default());
    }
    let (options, entry) = (options.clone(), entry.to_path_buf());
    let task = tokio::task::spawn_blocking(move || additional::find(&options, &entry, &main_name(&entry)));
    task.await.unwrap_or_else(|failure| Err(BundleError::Internal { reason: panic_text(failure) }))
}

/// What the main module is called.
fn main_name(entry: &Path) -> String {
    format!("{}.js", entry.file_stem().unwrap_or_default().to_string_lossy())
}

fn entry_chunk(output: &[Output]) -> Option<&OutputChunk> {
    output.iter().find_map(|asset| match asset {
        Output::Chunk(chunk) if chunk.is_entry => Some(chunk.as_ref()),
        _ => None,
    })
}

/// Whether the entry exports nothing, as one in the service-worker form.
fn is_script(output: &[Output]) -> bool {
    entry_chunk(output).is_some_and(|chunk| chunk.exports.is_empty())
}

fn module(chunk: &OutputChunk) -> Module {
    Module {
        name: chunk.filename.to_string(),
        kind: ModuleKind::EsModule,
        body: Bytes::from(chunk.code.clone()),
        source_map: chunk.map.as_ref().map(|map| map.to_json_string()),
    }
}

pub(crate) fn check_size(modules: &[Module], max_bytes: u64) -> Result<(), BundleError> {
    let actual_bytes = modules.iter().map(|module| module.body.len() as u64).fold(0, u64::saturating_add);
    if actual_bytes > max_bytes {
        return Err(BundleError::TooLarge { actual_bytes, max_bytes });
    }
    Ok(())
}

async fn generate(options: BundlerOptions, plugin: Arc<WorkerPlugin>) -> Result<BundleOutput, BatchedBuildDiagnostic> {
    let mut bundler = Bundler::with_plugins(options, vec![plugin as _])?;
    let result = bundler.generate().await;
    // Nothing is left open but the plugins' close hooks, and ours has none.
    let _ = bundler.close().await;
    result
}

fn bundler_options(options: &BundleOptions, compiler: &Compiler, root: &Path, entry: &Path) -> BundlerOptions {
    let name = entry.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut define: Vec<(String, String)> = vec![
        ("process.env.NODE_ENV".to_owned(), options.mode.literal().to_owned()),
        ("navigator.userAgent".to_owned(), "\"Cloudflare-Workers\"".to_owned()),
    ];
    define.retain(|(name, _)| !options.define.contains_key(name));
    define.extend(options.define.iter().map(|(name, value)| (name.clone(), value.clone())));

    BundlerOptions {
        input: Some(vec![InputItem { name: Some(name), import: entry.to_string_lossy().into_owned() }]),
        cwd: Some(root.to_path_buf()),
        // Source maps are relative to the folder of the output, which is never written.
        dir: Some(String::new()),
        entry_filenames: Some("[name].js".to_owned().into()),
        format: Some(OutputFormat::Esm),
        platform: Some(Platform::Browser),
        sourcemap: Some(SourceMapType::Hidden),
        // One module: a dynamic import of the worker's own file needs no second load.
        code_splitting: Some(CodeSplittingMode::Bool(false)),
        // As in esbuild's output without a style sheet: the import is there and does nothing.
        module_types: Some([(".css".to_owned(), ModuleType::Empty)].into_iter().collect()),
        resolve: Some(ResolveOptions {
            condition_names: Some(options.conditions.clone()),
            main_fields: Some(["browser", "module", "main"].map(str::to_owned).to_vec()),
            extensions: Some(
                [".tsx", ".ts", ".jsx", ".js", ".mts", ".mjs", ".cts", ".cjs", ".json"].map(str::to_owned).to_vec(),
            ),
            ..ResolveOptions::default()
        }),
        define: Some(define.into_iter().collect()),
        minify: Some(RawMinifyOptions::Bool(options.minify)),
        keep_names: Some(options.keep_names),
        comments: Some(CommentsOptions { legal: true, annotation: false, jsdoc: false }),
        transform: Some(compiler.transform.clone()),
        tsconfig: Some(compiler.tsconfig.clone()),
        checks: Some(ChecksOptions {
            // The worker's author can change neither the order nor the comments of npm's packages.
            circular_dependency: Some(false),
            invalid_annotation: Some(false),
            ineffective_dynamic_import: Some(false),
            large_barrel_modules: Some(false),
            plugin_timings: Some(false),
            prefer_builtin_feature: Some(false),
            ..ChecksOptions::default()
        }),
        ..BundlerOptions::default()
    }
}
