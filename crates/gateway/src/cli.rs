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
    pub fn into_command(self) -> Command {
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

impl Command {
    /// One line that says so, for a command that is not built yet; it ends with [`EXIT_USAGE`].
    pub fn not_built(&self) -> Option<String> {
        let name = match self {
            Command::Keys(_) => "keys",
            Command::Import(_) => "import",
            Command::Serve(_) | Command::Check(_) | Command::Explain(_) | Command::Sandbox(_) => return None,
        };
        Some(format!("llm-gateway {name} is not built yet in version {}\n", env!("CARGO_PKG_VERSION")))
    }
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Command {
        Cli::try_parse_from(line.split(' ')).unwrap().into_command()
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves() {
        for line in ["llm-gateway --port 9 --sandbox", "llm-gateway serve --port 9 --sandbox"] {
            let Command::Serve(serve) = parse(line) else { panic!("{line}") };
            let args = config::Args::from(serve);
            assert_eq!((args.port, args.host, args.sandbox), (Some(9), None, true));
        }
        assert!(Cli::try_parse_from(["llm-gateway", "--port", "70000"]).is_err());
        assert!(Cli::try_parse_from(["llm-gateway", "check", "--schema", "--config", "f"]).is_err());
    }

    #[test]
    fn what_is_not_built_says_so_when_called_and_in_the_help() {
        for (line, path) in [
            ("llm-gateway keys create", ["keys", "create"]),
            ("llm-gateway keys revoke web", ["keys", "revoke"]),
            ("llm-gateway import litellm c.yaml", ["import", "litellm"]),
        ] {
            assert!(parse(line).not_built().unwrap().contains("not built yet"), "{line}");
            let mut cli = Cli::command();
            let help = cli.render_help().to_string();
            let listed = help.lines().find(|help| help.trim_start().starts_with(path[0])).unwrap();
            assert!(listed.contains("not built yet"), "{listed}");
            let parent = cli.find_subcommand_mut(path[0]).unwrap();
            assert!(parent.render_long_help().to_string().contains(NOT_BUILT));
            assert!(
                parent.find_subcommand(path[1]).unwrap().get_about().unwrap().to_string().contains("not built yet")
            );
        }
        assert!(parse("llm-gateway check").not_built().is_none());
    }
}
