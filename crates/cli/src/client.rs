//! The client: `selvedge deploy` and all else that asks a platform's API.
//!
//! It asks what wrangler asks, in the same calls, and what is Selvedge's own. Results go to standard output, all else to
//! standard error; with `--json` the result is one document. It exits with 0, 1 for what failed, 2 for wrong arguments.

mod accounts;
mod api;
mod assets;
mod audit;
mod bindings;
mod console;
mod delete;
mod deploy;
mod deployments;
mod dial;
mod error;
mod fields;
mod local;
mod multipart;
mod place;
mod prepare;
mod provision;
mod secrets;
mod tail;
mod tokens;
mod triggers;
mod upload;
mod versions;
mod versions_secrets;
mod whoami;
mod worker;
mod zones;

use std::process::ExitCode;

use clap::Subcommand;

use console::Console;

/// What a platform can be asked to do.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Upload a project and serve it
    Deploy(deploy::DeployArguments),
    /// Upload, list and look at versions, and choose which serve
    #[command(subcommand)]
    Versions(versions::VersionsCommand),
    /// Which versions served when
    #[command(subcommand)]
    Deployments(deployments::DeploymentsCommand),
    /// Go back to an earlier version
    Rollback(deployments::RollbackArguments),
    /// Set what leads to a worker, without another version of it
    #[command(subcommand)]
    Triggers(triggers::TriggersCommand),
    /// Put, list and delete secrets
    #[command(subcommand)]
    Secret(secrets::SecretCommand),
    /// Follow what a worker does, as it does it
    Tail(tail::TailArguments),
    /// Remove a worker with all of its versions
    Delete(delete::DeleteArguments),
    /// Who the token is, and what it may do
    Whoami(whoami::WhoamiArguments),
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(tokens::TokenCommand),
    /// Make and list accounts
    #[command(subcommand)]
    Account(accounts::AccountCommand),
    /// Claim, list and release zones: the domains that routes and custom domains lie in
    #[command(subcommand)]
    Zone(zones::ZoneCommand),
    /// Who changed what, when, and from where
    Audit(audit::AuditArguments),
}

/// Runs a command of the client to its end.
pub fn main(command: ClientCommand) -> ExitCode {
    // Another one may be there already: any does.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let console = Console { json: command.json() };
    let result = match command {
        ClientCommand::Deploy(arguments) => deploy::deploy(&arguments, &console),
        ClientCommand::Versions(command) => versions::run(&command, &console),
        ClientCommand::Deployments(command) => deployments::run(&command, &console),
        ClientCommand::Rollback(arguments) => deployments::rollback(&arguments, &console),
        ClientCommand::Triggers(command) => triggers::run(&command, &console),
        ClientCommand::Secret(command) => secrets::run(&command, &console),
        ClientCommand::Tail(arguments) => tail::tail(&arguments, &console),
        ClientCommand::Delete(arguments) => delete::delete(&arguments, &console),
        ClientCommand::Whoami(arguments) => whoami::whoami(&arguments, &console),
        ClientCommand::Token(command) => tokens::run(&command, &console),
        ClientCommand::Account(command) => accounts::run(&command, &console),
        ClientCommand::Zone(command) => zones::run(&command, &console),
        ClientCommand::Audit(arguments) => audit::audit(&arguments, &console),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.failure(&error);
            if error.is_usage() { ExitCode::from(crate::terminal::USAGE) } else { ExitCode::FAILURE }
        }
    }
}

// === impl ClientCommand ===

impl ClientCommand {
    fn json(&self) -> bool {
        let place = match self {
            Self::Deploy(arguments) => &arguments.place,
            Self::Versions(command) => command.place(),
            Self::Deployments(command) => command.place(),
            Self::Rollback(arguments) => &arguments.place,
            Self::Triggers(command) => command.place(),
            Self::Secret(command) => command.place(),
            Self::Tail(arguments) => &arguments.place,
            Self::Delete(arguments) => &arguments.place,
            Self::Whoami(arguments) => &arguments.place,
            Self::Token(command) => command.place(),
            Self::Account(command) => command.place(),
            Self::Zone(command) => command.place(),
            Self::Audit(arguments) => &arguments.place,
        };
        place.json
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_command_takes_two_arguments_of_one_name() {
        // Where there are no debug assertions, clap does not look for itself.
        fn check(command: &clap::Command) {
            let mut seen = HashSet::new();
            for argument in command.get_arguments() {
                let long = argument.get_long().map(|name| format!("--{name}"));
                let short = argument.get_short().map(|name| format!("-{name}"));
                for name in [Some(argument.get_id().to_string()), long, short].into_iter().flatten() {
                    assert!(seen.insert(name.clone()), "{}: {name} is there twice", command.get_name());
                }
            }
            command.get_subcommands().for_each(check);
        }
        let command = clap::Command::new("selvedge").version("1").propagate_version(true);
        let mut command = ClientCommand::augment_subcommands(command);
        command.build();
        check(&command);
    }
}
