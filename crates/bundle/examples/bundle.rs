//! `cargo run --release -p selvedge-bundle --example bundle -- ENTRY [OUT_DIR [BUILDS]]`: what a build gives, and how
//! long each of several takes. The first build in a process also starts the bundler's threads; the later ones are what
//! a saved file costs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use selvedge_bundle::{Bundle, BundleOptions, bundle};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (entry, out, builds) = match arguments.as_slice() {
        [entry] => (entry, None, "1"),
        [entry, out] => (entry, Some(out), "1"),
        [entry, out, builds] => (entry, Some(out), builds.as_str()),
        _ => {
            eprintln!("usage: bundle ENTRY [OUT_DIR [BUILDS]]");
            return ExitCode::FAILURE;
        }
    };
    let entry = PathBuf::from(entry);
    let root = entry.parent().unwrap_or(&entry);
    let name = entry.file_name().unwrap_or_default();
    let options = BundleOptions::new(root, name);

    for _ in 1..builds.parse().unwrap_or(1) {
        let start = Instant::now();
        let _ = bundle(&options).await;
        eprintln!("{:?}", start.elapsed());
    }
    let start = Instant::now();
    let result = bundle(&options).await;
    eprintln!("{:?}", start.elapsed());
    match result {
        Ok(bundle) => {
            print(&bundle);
            let written = out.map_or(Ok(()), |out| write(&bundle, Path::new(out)));
            if let Err(error) = written {
                eprintln!("{error}");
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", error.report());
            ExitCode::FAILURE
        }
    }
}

fn print(bundle: &Bundle) {
    for warning in &bundle.warnings {
        println!("warning: {warning}");
    }
    let (format, files) = (bundle.format, bundle.watched.len());
    println!("{format:?}, {files} files, exports {:?}", bundle.exports);
    for module in &bundle.modules {
        let bytes = module.body.len();
        println!("{} {:?} {bytes} bytes", module.name, module.kind);
    }
}

fn write(bundle: &Bundle, out: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(out)?;
    for module in &bundle.modules {
        std::fs::write(out.join(&module.name), &module.body)?;
        if let Some(map) = &module.source_map {
            std::fs::write(out.join(format!("{}.map", module.name)), map)?;
        }
    }
    Ok(())
}
