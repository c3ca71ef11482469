//! TypeScript, JSX and npm imports to the modules of one version, with source maps.
//!
//! [`bundle`] takes the entry of a worker and returns what an isolate loads: one ES module, plus the files it imports
//! as text, data or WebAssembly, each a module of its own. What a user of wrangler (esbuild) relies on holds here:
//! package `exports` conditions of Workers, `node:` and `cloudflare:` imports left to the runtime, `require` of a Node
//! module inside a CommonJS package turned into an import, `process.env.NODE_ENV` replaced, names of classes kept.
//!
//! What this crate guarantees:
//! - It runs in this process and starts no other; the bundler is `rolldown`, on threads of its own.
//! - Bad input gives [`BundleError::Build`] with file, line, column and a frame of the code. A panic of the bundler
//!   gives [`BundleError::Internal`], and one that hangs gives [`BundleError::TimedOut`]; neither ends the process.
//! - Sizes are bounded by [`BundleOptions::size_max_bytes`], time by [`BundleOptions::time_max`].
//!
//! It reads files under the worker's folder and its `node_modules`; it never writes one.
#![forbid(unsafe_code)]

mod additional;
mod computed;
mod decorators;
mod diagnostics;
mod engine;
mod error;
mod no_bundle;
mod options;
mod output;
mod plugin;
mod quirks;
mod reexports;
mod rules;
mod script;
mod source_map;
mod tsconfig;

pub use error::{BundleError, Diagnostic};
pub use options::{BundleOptions, Jsx, Mode, Rule, SIZE_MAX_BYTES_DEFAULT, TIME_MAX_DEFAULT};
pub use output::{Bundle, Format, Module, ModuleKind};
pub use source_map::{Position, SourceMap, map_stack, original_position};

/// Builds the modules of one version from `options.entry`.
///
/// Works on any tokio runtime, a current-thread one included.
///
/// # Errors
/// [`BundleError::Build`] when the worker's own files are at fault; the other variants say which bound was passed or
/// what could not be read.
pub async fn bundle(options: &BundleOptions) -> Result<Bundle, BundleError> {
    let options = options.clone();
    let time_max = options.time_max;
    let task = engine::runtime()?.spawn(async move {
        if options.no_bundle { no_bundle::collect(&options).await } else { engine::build(&options).await }
    });
    let abort = task.abort_handle();
    match tokio::time::timeout(time_max, task).await {
        Ok(Ok(result)) => result,
        Ok(Err(failure)) => Err(BundleError::Internal { reason: engine::panic_text(failure) }),
        Err(_) => {
            abort.abort();
            Err(BundleError::TimedOut { time_max })
        }
    }
}
