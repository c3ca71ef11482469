//! The JavaScript that the snapshot does not hold, and what of Deno's JavaScript ours takes the place of.

use std::path::PathBuf;

use deno_ast::{MediaType, ParseParams, TranspileModuleOptions, TranspileOptions};
use deno_core::{Extension, ExtensionFileSource, ExtensionFileSourceCode};
use deno_error::JsErrorBox;

use crate::node;

/// How a script that is loaded on first use is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LazyKind {
    /// By `core.loadExtScript`.
    Script,
    /// By `import`.
    Module,
}

/// A script of an extension that is loaded on first use.
#[derive(Clone, Debug)]
pub struct LazyFile {
    pub specifier: String,
    pub path: PathBuf,
    pub kind: LazyKind,
}

/// Scripts of Deno's extensions that ours stand in for, under the same name and with the same exports.
const REPLACED: &[(&str, &str)] = &[
    // Outbound requests leave by the host door, not by a client in the isolate.
    ("ext:deno_fetch/26_fetch.js", concat!(env!("CARGO_MANIFEST_DIR"), "/js/fetch.js")),
    ("ext:deno_fetch/22_http_client.js", concat!(env!("CARGO_MANIFEST_DIR"), "/js/http_client.js")),
];

/// What is changed in one of Deno's scripts: (script, what stands there, what is to stand there).
const PATCHES: &[(&str, &str, &str)] = &[
    // A file that is made while code runs must not tell the machine's time.
    ("ext:deno_web/09_file.js", "DatePrototypeGetTime(new Date())", "core.ops.op_frozen_now()"),
    ("ext:deno_node/internal/timers.mjs", "DateNow()", "core.ops.op_frozen_now()"),
    // Bodies and what is compressed are streams of bytes: a reader may bring its own buffer. A body's bytes can be
    // those of a clone too, and a stream gives away what it is given.
    ("ext:deno_fetch/22_body.js", "  createReadableStream,\n", "  createReadableByteStream,\n"),
    (
        "ext:deno_fetch/22_body.js",
        "const stream = createReadableStream(",
        "let sent = body.length === 0;\n        const stream = createReadableByteStream(",
    ),
    (
        "ext:deno_fetch/22_body.js",
        "            controller.enqueue(chunkToU8(body));\n            controller.close();\n          },\n",
        "            if (sent) {\n\
         \x20             controller.close();\n\
         \x20             controller.byobRequest?.respond(0);\n\
         \x20           } else {\n\
         \x20             sent = true;\n\
         \x20             controller.enqueue(typeof body === \"string\" ? core.encode(body) : TypedArrayPrototypeSlice(body));\n\
         \x20           }\n\
         \x20         },\n",
    ),
    ("ext:deno_fetch/22_body.js", "          noopAsync,\n          0,\n", "          noopAsync,\n"),
    (
        "ext:deno_fetch/22_body.js",
        "return parseFormData(",
        "return core.loadExtScript(\"ext:selvedge/form_data.js\").parseFormData(",
    ),
    // What a handler returns is unusable where somebody else reads it, too: `response.body.tee()` leaves none to send.
    ("ext:deno_fetch/23_response.js", "      return body.consumed();\n", "      return body.unusable();\n"),
    ("ext:deno_web/14_compression.js", "  #transform;\n", "  #transform;\n  #bytes;\n"),
    (
        "ext:deno_web/14_compression.js",
        "return this.#transform.readable;",
        "return this.#bytes ??= core.loadExtScript(\"ext:selvedge/streams.js\").asBytes(this.#transform.readable);",
    ),
];

/// Applies our patches; a script that no longer has what they are to replace is a new one, which must be looked at.
fn patch(specifier: &str, mut source: String) -> Result<String, JsErrorBox> {
    for (_, from, to) in PATCHES.iter().filter(|(script, ..)| *script == specifier) {
        if !source.contains(from) {
            return Err(JsErrorBox::generic(format!("{specifier} has changed: it has no {from:?} to be patched")));
        }
        source = source.replace(from, to);
    }
    Ok(source)
}

/// Puts our scripts in the place of those they replace.
pub fn replace(extension: &mut Extension) {
    let replaced = |file: &ExtensionFileSource| REPLACED.iter().any(|(name, _)| *name == file.specifier);
    if !extension.lazy_loaded_js_files.iter().any(replaced) {
        return;
    }
    for file in extension.lazy_loaded_js_files.to_mut() {
        if let Some((name, path)) = REPLACED.iter().find(|(name, _)| *name == file.specifier) {
            *file = ExtensionFileSource::loaded_during_snapshot(name, path);
        }
    }
}

/// Every script of `extensions` that is loaded on first use.
pub fn lazy_files(extensions: &[Extension]) -> Vec<LazyFile> {
    let mut files: Vec<LazyFile> = extensions
        .iter()
        .flat_map(|extension| {
            let scripts = extension.lazy_loaded_js_files.iter().map(|file| (file, LazyKind::Script));
            let modules = extension.lazy_loaded_esm_files.iter().map(|file| (file, LazyKind::Module));
            scripts.chain(modules)
        })
        .filter_map(|(file, kind)| Some(LazyFile { specifier: file.specifier.to_owned(), path: path_of(file)?, kind }))
        .collect();
    files.sort_by(|a, b| a.specifier.cmp(&b.specifier));
    files.dedup_by(|a, b| a.specifier == b.specifier);
    files
}

fn path_of(file: &ExtensionFileSource) -> Option<PathBuf> {
    #[allow(deprecated, reason = "the only name that this variant has")]
    match &file.code {
        ExtensionFileSourceCode::LoadedFromFsDuringSnapshot(path) => Some(PathBuf::from(path)),
        _ => None,
    }
}

/// JavaScript from a script of an extension, which may be TypeScript.
pub fn transpile(specifier: &str, source: String) -> Result<String, JsErrorBox> {
    let source = node::adapt(specifier, patch(specifier, source)?);
    let typescript = specifier.starts_with("node:") || specifier.ends_with(".ts");
    if !typescript {
        return Ok(source);
    }
    let parsed = deno_ast::parse_module(ParseParams {
        specifier: deno_core::url::Url::parse(specifier).map_err(|error| JsErrorBox::generic(error.to_string()))?,
        text: source.into(),
        media_type: MediaType::TypeScript,
        capture_tokens: false,
        scope_analysis: false,
        maybe_syntax: None,
    })
    .map_err(|error| JsErrorBox::generic(error.to_string()))?;
    let transpiled = parsed
        .transpile(
            &TranspileOptions {
                imports_not_used_as_values: deno_ast::ImportsNotUsedAsValues::Remove,
                ..Default::default()
            },
            &TranspileModuleOptions::default(),
            &deno_ast::EmitOptions { source_map: deno_ast::SourceMapOption::None, ..Default::default() },
        )
        .map_err(|error| JsErrorBox::generic(error.to_string()))?;
    Ok(transpiled.into_source().text)
}
