//! The command line.

use std::io::{ErrorKind, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::client::ClientCommand;
use crate::settings::{ConfigArguments, ISOLATES_DEFAULT, UpArguments, isolates};

/// The self-hosted edge: runs Cloudflare Workers code on machines of your own.
#[derive(Debug, Parser)]
#[command(
    name = "selvedge",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments.\n\
                  Colours are off where NO_COLOR is set or the output is not a terminal."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve workers on this machine, with hot reload and readable errors
    Dev(DevArguments),
    /// Run the platform on this machine: deployments by API, and the edge that serves them
    Up(UpCommand),
    #[command(flatten)]
    Client(ClientCommand),
    /// Print the settings of `selvedge up`, and where each comes from
    Config(ConfigArguments),
    /// Print a completion script for a shell
    #[command(after_help = "Examples:\n  \
        selvedge completions bash > /etc/bash_completion.d/selvedge\n  \
        selvedge completions zsh > ~/.zfunc/_selvedge\n  \
        selvedge completions fish > ~/.config/fish/completions/selvedge.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Run tenant code; started by the edge, never by hand
    #[command(hide = true)]
    Runner {
        /// The process that started it
        #[arg(long)]
        parent: u32,
    },
}

/// Arguments of `selvedge up`.
#[derive(Debug, Args)]
pub struct UpCommand {
    #[command(flatten)]
    pub settings: UpArguments,
    /// Serve what was deployed before from the edge's own copy, without the control plane and its API
    #[arg(long)]
    pub edge_only: bool,
    /// Make a new token for the platform's administrator, where the one before is lost: it is printed once and replaces
    /// admin.token in the data folder. Tokens made before stay good: see `selvedge token list` and `revoke`
    #[arg(long, conflicts_with = "edge_only")]
    pub new_admin_token: bool,
}

/// Arguments of `selvedge dev`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    selvedge dev                          the project in this folder\n  \
    selvedge dev hello.ts                 one file, as a worker named \"hello\"\n  \
    selvedge dev api web --port 3000      two projects; \"api\" also answers at http://localhost:3000/\n  \
    selvedge dev --env staging            the environment \"staging\" of wrangler.jsonc\n  \
    selvedge dev --allow-net 127.0.0.1:5432\n                                        let workers reach a private address")]
pub struct DevArguments {
    /// A .js, .mjs, .jsx, .ts, .mts or .tsx file, a folder with wrangler.jsonc, wrangler.json, wrangler.toml or an index
    /// file, or such a configuration file
    #[arg(default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// Port to listen on; 0 takes a free one [default: the first project's dev.port, or 8787]
    #[arg(long, short, env = "SELVEDGE_PORT")]
    pub port: Option<u16>,
    /// Address to listen on [default: the first project's dev.ip, or 127.0.0.1]
    #[arg(long, env = "SELVEDGE_IP")]
    pub ip: Option<IpAddr>,
    /// Named environment of the projects' configuration
    #[arg(long, short, env = "CLOUDFLARE_ENV")]
    pub env: Option<String>,
    /// Private destination that workers may reach: HOST, HOST:PORT or a network such as 10.0.0.0/8; may be repeated
    #[arg(long, value_name = "DESTINATION")]
    pub allow_net: Vec<String>,
    /// Most instances of one worker [default: the number of processors]
    #[arg(long, value_name = "N")]
    pub instances: Option<usize>,
    /// Memory that workers may hold together, in MiB, before idle ones are ended [default: half of the machine's or control group's]
    #[arg(long, value_name = "MIB")]
    pub memory_mib: Option<u64>,
    /// Most isolates at once, 1 to 2,500; the one idle longest ends where another is needed
    #[arg(long, value_name = "N", default_value_t = ISOLATES_DEFAULT, value_parser = isolates)]
    pub isolates: usize,
    /// Do not watch files for changes
    #[arg(long)]
    pub no_watch: bool,
}

/// Says what is wrong with the arguments, or what was asked about them; with `--json` as a document on standard output too.
pub fn mistaken(error: &clap::Error) -> ExitCode {
    let is_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && is_json {
        let text = error.render().to_string();
        let message = text.trim().strip_prefix("error: ").unwrap_or(text.trim());
        crate::terminal::note(&serde_json::json!({ "error": { "message": message } }).to_string());
    }
    // A reader that is gone has nothing to be told.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1))
}

/// Writes a completion script to standard output.
pub fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "selvedge", &mut script);
    match std::io::stdout().write_all(&script) {
        Ok(()) => ExitCode::SUCCESS,
        // Its reader has what it wants.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            crate::terminal::error(&format!("cannot write to the standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}
