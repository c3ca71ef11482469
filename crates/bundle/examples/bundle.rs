//! `cargo run --release -p selvedge-bundle --example bundle -- ENTRY [OUT_DIR]`: one build, its modules and times.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use selvedge_bundle::{BundleOptions, bundle};

/// The first build in a process also starts the bundler's threads; the later ones are what a saved file costs.
const BUILDS: usize = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(entry) = arguments.next() else {
        eprintln!("usage: bundle ENTRY [OUT_DIR]");
        return ExitCode::FAILURE;
    };
    let root = entry.parent().map(PathBuf::from).unwrap_or_default();
    let name = entry.file_name().map(PathBuf::from).unwrap_or_default();
    let options = BundleOptions::new(root, name);
    for _ in 1..BUILDS {
        let start = Instant::now();
        let _ = bundle(&options).await;
        eprintln!("{:?}", start.elapsed());
    }
    match bundle(&options).await {
        Ok(bundle) => {
            for warning in &bundle.warnings {
                println!("warning: {warning}");
            }
            println!(
                "{:?}, {} files, exports {:?}",
                bundle.format,
                bundle.watched.len(),
                bundle.exports
            );
            for module in &bundle.modules {
                println!(
                    "{} {:?} {} bytes",
                    module.name,
                    module.kind,
                    module.body.len()
                );
                if let Some(out) = arguments.next().as_ref() {
                    let path = out.join(&module.name).with_extension("mjs");
                    if let Err(error) = std::fs::write(&path, &module.body) {
                        eprintln!("{}: {error}", path.display());
                    }
                }
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{}", error.report());
            ExitCode::FAILURE
        }
    }
}
