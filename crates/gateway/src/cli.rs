//! The command line: what can be said, not what is done about it.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config;

/// Said once here, and at every command that it is true of.
const NOT_BUILT: &str = "This version does not have it yet: the command only says so and exits with code 2.";

/// A self-hosted gateway between programs and LLM providers. Without a command it serves.
#[derive(Debug, Parser)]
#[command(name = "llm-gateway", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub serve: Serve,
}

impl Cli {
    /// The command, with `serve` for none.
    pub fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    Serve(Serve),
    /// Validate the configuration and print what is in effect, with secrets hidden
    Check(Check),
    /// Say which targets would be tried for a request, in which order, and why not the others
    Explain(Explain),
    /// Manage virtual keys (not built yet)
    #[command(after_help = NOT_BUILT)]
    Keys(Keys),
    /// Run the simulated providers on their own
    Sandbox(Sandbox),
    /// Write gateway.yaml from the configuration of another gateway (not built yet)
    #[command(after_help = NOT_BUILT)]
    Import(Import),
}

#[derive(Debug, Default, Args)]
pub struct Serve {
    /// Configuration file [default: gateway.yaml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// IP address to listen on [default: 127.0.0.1]
    #[arg(long)]
    pub host: Option<String>,
    /// Port to listen on [default: 8000]
    #[arg(long)]
    pub port: Option<u16>,
    /// Answer from two simulated providers; needs no keys, marks every answer
    #[arg(long)]
    pub sandbox: bool,
}

#[derive(Debug, Args)]
pub struct Check {
    /// Configuration file [default: gateway.yaml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print the JSON Schema of the configuration file instead, for editors
    #[arg(long, conflicts_with = "config")]
    pub schema: bool,
}

#[derive(Debug, Args)]
pub struct Explain {
    /// Configuration file [default: gateway.yaml, if there is one]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File with the JSON body of a request
    #[arg(value_name = "REQUEST.json")]
    pub request: PathBuf,
}

#[derive(Debug, Args)]
pub struct Keys {
    #[command(subcommand)]
    pub action: KeysAction,
}

#[derive(Debug, Subcommand)]
pub enum KeysAction {
    /// Make a key and show it once (not built yet)
    Create,
    /// List all keys (not built yet)
    List,
    /// Show one key's limits and use (not built yet)
    Show { name: String },
    /// Refuse a key from now on (not built yet)
    Revoke { name: String },
}

#[derive(Debug, Args)]
pub struct Sandbox {
    /// Port to listen on, on 127.0.0.1 [default: any free one, which is printed]
    #[arg(long)]
    pub port: Option<u16>,
}

#[derive(Debug, Args)]
pub struct Import {
    #[command(subcommand)]
    pub from: ImportFrom,
}

#[derive(Debug, Subcommand)]
pub enum ImportFrom {
    /// From a LiteLLM configuration (not built yet)
    Litellm {
        #[arg(value_name = "CONFIG.yaml")]
        config: PathBuf,
    },
}

impl From<Serve> for config::Args {
    fn from(serve: Serve) -> Self {
        config::Args { config: serve.config, host: serve.host, port: serve.port, sandbox: serve.sandbox }
    }
}

impl Check {
    /// What `check` prints, or what is wrong.
    pub fn run(self, environment: &dyn config::Environment) -> Result<String, config::Problems> {
        if self.schema {
            return Ok(config::json_schema());
        }
        config::check(&config::Args { config: self.config, ..config::Args::default() }, environment)
    }
}

/// One line for a command that is not built yet.
pub fn not_built(command: &str) -> String {
    format!("llm-gateway {command}: not built yet in version {}\n", env!("CARGO_PKG_VERSION"))
}

/// The exit code for a configuration or command line that cannot be used.
pub const EXIT_USAGE: u8 = 2;

/// Writes to standard output. A reader that has gone is no error.
pub fn print(text: &str) {
    _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Writes to standard error.
pub fn complain(text: &str) {
    _ = io::stderr().lock().write_all(text.as_bytes());
}

pub fn demo() -> std::process::ExitCode {
    let result = match Cli::parse().command() {
        Command::Check(check) => check.run(&config::System),
        Command::Serve(serve) => config::load(&serve.into(), &config::System).map(|config| format!("{config:#?}\n")),
        _ => Ok(not_built("this")),
    };
    match result {
        Ok(text) => {
            print(&text);
            std::process::ExitCode::SUCCESS
        }
        Err(problems) => {
            complain(&format!("{problems}\n"));
            EXIT_USAGE.into()
        }
    }
}
