//! The `selvedge` command: arguments, wiring, terminal output, nothing else.
#![forbid(unsafe_code)]

mod build;
mod cli;
mod dev;
mod machine;
mod runner;
mod settings;
mod terminal;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Dev(arguments) => dev::main(arguments),
        Command::Config(arguments) => settings::main(&arguments),
        Command::Completions { shell } => {
            cli::completions(shell);
            ExitCode::SUCCESS
        }
        Command::Runner { parent } => runner::main(parent),
    }
}
