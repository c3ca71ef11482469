//! Makes the base snapshot, and the table of scripts that it does not hold.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, reason = "a build script reports by panicking")]

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use deno_core::snapshot::{CreateSnapshotOptions, create_snapshot};
use deno_core::{JsRuntimeForSnapshot, scope};
use selvedge_door::{Driver, Side};
use selvedge_runtime::{DoorState, LazyFile, LazyKind, extensions, lazy_files, transpile};

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let extensions = extensions(true);
    let lazy = lazy_files(&extensions);
    let output = create_snapshot(
        CreateSnapshotOptions {
            cargo_manifest_dir: env!("CARGO_MANIFEST_DIR"),
            startup_snapshot: None,
            skip_op_registration: false,
            extensions,
            extension_transpiler: Some(Rc::new(|name, source| {
                let code = transpile(&name, source.as_str().to_owned())?;
                Ok((code.into(), None))
            })),
            with_runtime_cb: Some(Box::new(rehearse)),
        },
        None,
    )
    .expect("the snapshot is made");
    std::fs::write(out.join("base.snapshot"), &output.output).expect("the snapshot is written");
    for path in &output.files_loaded_during_snapshot {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    let consumed: HashSet<&str> = output.consumed_lazy_specifiers.iter().map(String::as_str).collect();
    let residual: Vec<&LazyFile> = lazy.iter().filter(|file| !consumed.contains(file.specifier.as_str())).collect();
    write_residual(&out, &residual);
    let mut consumed: Vec<&str> = consumed.into_iter().collect();
    consumed.sort_unstable();
    std::fs::write(out.join("base.snapshot.txt"), consumed.join("\n")).expect("the list is written");
}

/// Runs what most first requests run, so that its bytecode is in the snapshot. The door that the answers go to leads
/// nowhere.
fn rehearse(runtime: &mut JsRuntimeForSnapshot) {
    let asynchronous = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime is made");
    let _entered = asynchronous.enter();
    let (socket, _edge) = tokio::net::UnixStream::pair().expect("a pair of sockets is made");
    let driver = Driver::new(socket, Side::Isolate);
    let door = DoorState::new(Arc::clone(driver.mux()), u32::MAX, Box::new(|| false));
    runtime.op_state().borrow_mut().put(Rc::clone(&door));
    println!("cargo:rerun-if-changed=rehearsal.js");
    for script in [include_str!("rehearsal.js"), "globalThis.__selvedge.forget();"] {
        runtime.execute_script("rehearsal.js", script).expect("the rehearsal runs");
        scope!(scope, runtime);
        scope.perform_microtask_checkpoint();
    }
}

/// Writes `residual.rs`: two tables of (specifier, source).
fn write_residual(out: &Path, files: &[&LazyFile]) {
    let folder = out.join("residual");
    std::fs::create_dir_all(&folder).expect("the folder is made");
    let mut tables = String::new();
    for (name, kind) in [("RESIDUAL_SCRIPTS", LazyKind::Script), ("RESIDUAL_MODULES", LazyKind::Module)] {
        writeln!(tables, "pub static {name}: &[(&str, &str)] = &[").unwrap();
        for file in files.iter().filter(|file| file.kind == kind) {
            println!("cargo:rerun-if-changed={}", file.path.display());
            let path = write_source(&folder, file);
            writeln!(tables, "    ({:?}, include_str!({:?})),", file.specifier, path).unwrap();
        }
        writeln!(tables, "];").unwrap();
    }
    std::fs::write(out.join("residual.rs"), tables).expect("the tables are written");
}

fn write_source(folder: &Path, file: &LazyFile) -> PathBuf {
    let source = std::fs::read_to_string(&file.path).unwrap_or_else(|error| panic!("{}: {error}", file.path.display()));
    let mut code = transpile(&file.specifier, source).unwrap_or_else(|error| panic!("{}: {error}", file.specifier));
    if file.kind == LazyKind::Script {
        code = deno_core::wrap_lazy_ext_script(&code);
    }
    assert!(code.is_ascii(), "{} holds characters outside ASCII", file.specifier);
    let name: String = file.specifier.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let path = folder.join(format!("{name}.js"));
    std::fs::write(&path, code).expect("the source is written");
    path
}
