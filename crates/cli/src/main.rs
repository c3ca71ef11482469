//! The `selvedge` command: arguments, wiring, terminal output, nothing else.
#![forbid(unsafe_code)]

mod announce;
mod build;
mod cli;
mod client;
mod dev;
mod machine;
mod platform;
mod runner;
mod security;
mod settings;
mod sources;
mod stops;
mod terminal;
mod up;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return cli::mistaken(&error),
    };
    match cli.command {
        Command::Dev(arguments) => dev::main(arguments),
        Command::Up(command) => up::main(command),
        Command::Config(arguments) => settings::main(&arguments),
        Command::Client(command) => client::main(command),
        Command::Completions { shell } => cli::completions(shell),
        Command::Runner { parent } => runner::main(parent),
    }
}
