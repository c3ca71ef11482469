//! Gives V8 the modules of one version, and nothing else.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use deno_core::error::ModuleLoaderError;
use deno_core::{
    ModuleLoadOptions, ModuleLoadReferrer, ModuleLoadResponse, ModuleLoader, ModuleSource, ModuleSourceCode,
    ModuleSpecifier, ModuleType, ResolutionKind, SourceCodeCacheInfo,
};
use deno_error::JsErrorBox;
use selvedge_model::{Module, ModuleKind};
use selvedge_runtime::ModuleBytes;

/// Where a version's modules seem to lie: what stack traces and `import.meta.url` begin with.
pub const ROOT: &str = "file:///";

/// The name of a module in a stack trace.
pub fn module_name(specifier: &str) -> &str {
    specifier.strip_prefix(ROOT).unwrap_or(specifier)
}

/// The specifier of a module name.
pub fn specifier_of(name: &str) -> Result<ModuleSpecifier, deno_core::url::ParseError> {
    deno_core::url::Url::parse(ROOT)?.join(name.trim_start_matches('/'))
}

/// The modules of one version.
#[derive(Default)]
pub struct Loader {
    modules: RefCell<HashMap<String, Module>>,
    /// Code caches that V8 made while compiling.
    made: RefCell<Vec<(String, Bytes)>>,
}

impl Loader {
    /// Takes the modules of the version that this isolate will run. Gives those that are not code to `bytes`.
    pub fn fill(&self, modules: Vec<Module>, bytes: &ModuleBytes) -> Result<(), deno_core::url::ParseError> {
        let mut map = self.modules.borrow_mut();
        for module in modules {
            let specifier = specifier_of(&module.name)?.to_string();
            let kind = match module.kind {
                ModuleKind::Text => Some("text"),
                ModuleKind::Data => Some("data"),
                ModuleKind::Json => Some("json"),
                ModuleKind::Wasm => Some("wasm"),
                ModuleKind::CommonJs => Some("commonjs"),
                ModuleKind::EsModule | ModuleKind::Script => None,
            };
            if let Some(kind) = kind {
                bytes.insert(specifier.clone(), kind, module.body.clone());
            }
            map.insert(specifier, module);
        }
        Ok(())
    }

    /// Takes the code caches that were made, by module name.
    pub fn take_made(&self) -> Vec<(String, Bytes)> {
        std::mem::take(&mut self.made.borrow_mut())
    }

    /// The source of a classic script.
    pub fn script(&self, specifier: &ModuleSpecifier) -> Option<String> {
        let modules = self.modules.borrow();
        Some(String::from_utf8_lossy(&modules.get(specifier.as_str())?.body).into_owned())
    }

    fn source(&self, specifier: &ModuleSpecifier) -> Result<ModuleSource, ModuleLoaderError> {
        let modules = self.modules.borrow();
        let Some(module) = modules.get(specifier.as_str()) else {
            return Err(JsErrorBox::type_error(format!("No such module \"{}\".", module_name(specifier.as_str()))));
        };
        let (code, cache) = match module.kind {
            ModuleKind::EsModule | ModuleKind::Script => {
                let text = std::str::from_utf8(&module.body)
                    .map_err(|_| JsErrorBox::type_error(format!("module \"{}\" is not UTF-8 text", module.name)))?;
                let data = module.code_cache.as_ref().map(|cache| Cow::Owned(cache.to_vec()));
                (text.to_owned(), Some(SourceCodeCacheInfo { hash: 0, data }))
            }
            _ => {
                let name = serde_json::to_string(specifier.as_str()).unwrap_or_default();
                (format!("import {{ take }} from \"{TAKE}\"; export default take({name});"), None)
            }
        };
        Ok(ModuleSource::new(ModuleType::JavaScript, ModuleSourceCode::String(code.into()), specifier, cache))
    }
}

/// The runtime's module that turns a module's bytes into its default export.
const TAKE: &str = "ext:selvedge/module_bytes.js";

/// The specifier of a `cloudflare:` module. The runtime holds them under names of Node's scheme, because `deno_core` lets
/// modules of that scheme, and of no other that tenants may name, import the runtime's own.
fn cloudflare_module(name: &str) -> Result<ModuleSpecifier, ModuleLoaderError> {
    if !["email", "sockets", "workers", "workflows"].contains(&name) {
        return Err(JsErrorBox::type_error(format!("No such module \"cloudflare:{name}\".")));
    }
    deno_core::url::Url::parse(&format!("node:cloudflare/{name}"))
        .map_err(|error| JsErrorBox::type_error(error.to_string()))
}

/// Node's modules that are known by their bare names too: what tools that bundle for `nodejs_compat` leave in the code.
/// `createRequire(...)` and `builtinModules` have the same list, in `crates/runtime/js/node/module.js`.
const NODE_MODULES: &[&str] = &[
    "_http_agent",
    "_http_client",
    "_http_common",
    "_http_incoming",
    "_http_outgoing",
    "_http_server",
    "_stream_duplex",
    "_stream_passthrough",
    "_stream_readable",
    "_stream_transform",
    "_stream_writable",
    "_tls_common",
    "_tls_wrap",
    "assert",
    "assert/strict",
    "async_hooks",
    "buffer",
    "child_process",
    "cluster",
    "console",
    "constants",
    "crypto",
    "dgram",
    "diagnostics_channel",
    "dns",
    "dns/promises",
    "domain",
    "events",
    "fs",
    "fs/promises",
    "http",
    "http2",
    "https",
    "inspector",
    "inspector/promises",
    "module",
    "net",
    "os",
    "path",
    "path/posix",
    "path/win32",
    "perf_hooks",
    "process",
    "punycode",
    "querystring",
    "readline",
    "readline/promises",
    "repl",
    "stream",
    "stream/consumers",
    "stream/promises",
    "stream/web",
    "string_decoder",
    "sys",
    "timers",
    "timers/promises",
    "tls",
    "trace_events",
    "tty",
    "url",
    "util",
    "util/types",
    "v8",
    "vm",
    "wasi",
    "worker_threads",
    "zlib",
];

impl ModuleLoader for Loader {
    fn resolve(
        &self,
        specifier: &str,
        referrer: &str,
        _kind: ResolutionKind,
    ) -> Result<ModuleSpecifier, ModuleLoaderError> {
        let parse =
            |text: &str| deno_core::url::Url::parse(text).map_err(|error| JsErrorBox::type_error(error.to_string()));
        if specifier == TAKE {
            // Only the stand-ins that `source` writes may name it.
            let modules = self.modules.borrow();
            let stand_in = modules
                .get(referrer)
                .is_some_and(|module| !matches!(module.kind, ModuleKind::EsModule | ModuleKind::Script));
            if stand_in {
                return parse(specifier);
            }
        }
        if let Some(name) = specifier.strip_prefix("cloudflare:") {
            return cloudflare_module(name);
        }
        if specifier.starts_with("node:") {
            return parse(specifier);
        }
        // The runtime's own modules import each other; a version's module of such a name is none of them.
        if is_of_runtime(referrer) && specifier.starts_with("ext:") && !self.modules.borrow().contains_key(referrer) {
            return parse(specifier);
        }
        let exact = specifier_of(specifier).ok().filter(|url| self.modules.borrow().contains_key(url.as_str()));
        let relative = || {
            let base = parse(referrer).or_else(|_| parse(ROOT))?;
            base.join(specifier).map_err(|error| JsErrorBox::type_error(error.to_string()))
        };
        let found = if specifier.starts_with("./") || specifier.starts_with("../") {
            let url = relative()?;
            if self.modules.borrow().contains_key(url.as_str()) { url } else { exact.unwrap_or(url) }
        } else {
            match exact {
                Some(url) => url,
                None => relative()?,
            }
        };
        if self.modules.borrow().contains_key(found.as_str()) {
            return Ok(found);
        }
        if NODE_MODULES.contains(&specifier) {
            return parse(&format!("node:{specifier}"));
        }
        Err(JsErrorBox::type_error(format!(
            "No such module \"{specifier}\", imported from \"{}\".",
            module_name(referrer)
        )))
    }

    fn load(
        &self,
        specifier: &ModuleSpecifier,
        _referrer: Option<&ModuleLoadReferrer>,
        _options: ModuleLoadOptions,
    ) -> ModuleLoadResponse {
        ModuleLoadResponse::Sync(self.source(specifier))
    }

    fn get_code_cache(&self, specifier: &ModuleSpecifier, _source: &str) -> Option<SourceCodeCacheInfo> {
        if !is_of_runtime(specifier.as_str()) {
            return None;
        }
        let data = runtime_caches().get(specifier.as_str()).map(|cache| Cow::Borrowed(*cache));
        // The scripts of one build never change.
        Some(SourceCodeCacheInfo { hash: 0, data })
    }

    fn code_cache_ready(
        &self,
        specifier: ModuleSpecifier,
        _hash: u64,
        cache: &[u8],
    ) -> Pin<Box<dyn Future<Output = ()>>> {
        if let Some(module) = self.modules.borrow().get(specifier.as_str()) {
            self.made.borrow_mut().push((module.name.clone(), Bytes::copy_from_slice(cache)));
        } else if is_of_runtime(specifier.as_str()) {
            runtime_caches().entry(specifier.into()).or_insert_with(|| Box::leak(cache.into()));
        }
        Box::pin(std::future::ready(()))
    }
}

/// Whether a specifier is one of the runtime's own scripts, which no version can hold.
fn is_of_runtime(specifier: &str) -> bool {
    specifier.starts_with("ext:") || specifier.starts_with("node:")
}

/// The code caches of the runtime's own scripts, made by the first isolate of this process that loaded each. They depend
/// on the script alone, never on a tenant, and there are as many as there are scripts.
fn runtime_caches() -> MutexGuard<'static, HashMap<String, &'static [u8]>> {
    static CACHES: OnceLock<Mutex<HashMap<String, &'static [u8]>>> = OnceLock::new();
    CACHES.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner)
}

/// A loader that the runtime and its owner share.
pub fn shared() -> Rc<Loader> {
    Rc::new(Loader::default())
}
