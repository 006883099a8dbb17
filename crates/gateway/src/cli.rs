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
    /// Manage virtual keys, also while gateways run
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
            Command::Import(_) => "import",
            Command::Serve(_) | Command::Check(_) | Command::Explain(_) | Command::Keys(_) | Command::Sandbox(_) => {
                return None;
            }
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
    /// Configuration file that says where the database is, unless DATABASE_URL does [default: gateway.yaml, if there is one]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum KeysAction {
    /// Make a key and show it once; gateways that run know it within a second
    Create(Box<CreateKey>),
    /// List the keys that are in use
    List(ListKeys),
    /// Show what is known of one key
    Show {
        /// Name or id
        key: String,
    },
    /// Refuse a key from now on; gateways that run do so within a second
    Revoke {
        /// Name or id
        key: String,
    },
    /// Manage teams, whose keys share limits
    #[command(subcommand)]
    Teams(TeamsAction),
    /// Show who changed what, the latest first
    Audit {
        /// Entries to show
        #[arg(long, default_value_t = 50)]
        limit: u64,
        /// See instead whether the log is as it was written
        #[arg(long)]
        verify: bool,
    },
}

#[derive(Debug, Args)]
pub struct CreateKey {
    /// Name for people, in logs and metrics
    #[arg(long)]
    pub name: String,
    /// Name or id of a team
    #[arg(long)]
    pub team: Option<String>,
    /// Whom to ask about it
    #[arg(long)]
    pub owner: Option<String>,
    /// For people; may be given several times
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    #[command(flatten)]
    pub scope: ScopeArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// When it is refused from: 2027-01-31, 2027-01-31T12:00:00Z, or a time from now as 90d, 12h, 30m [default: never]
    #[arg(long, value_name = "WHEN")]
    pub expires: Option<String>,
    /// Neither take its answers from the cache nor put them there
    #[arg(long)]
    pub no_cache: bool,
}

/// What may be used; each may be given several times, and stands for all if left out.
#[derive(Debug, Args)]
pub struct ScopeArgs {
    /// Alias or provider/model that may be used, provider/* for all of a provider [default: all]
    #[arg(long = "model", value_name = "MODEL")]
    pub models: Option<Vec<String>>,
    /// Provider that may answer [default: all]
    #[arg(long = "provider", value_name = "PROVIDER")]
    pub providers: Option<Vec<String>>,
    /// Path that may be called, as /v1/messages [default: all]
    #[arg(long = "route", value_name = "PATH")]
    pub routes: Option<Vec<String>>,
}

#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Requests per minute
    #[arg(long, value_name = "REQUESTS")]
    pub rpm: Option<u64>,
    /// Tokens, input and output, per minute
    #[arg(long, value_name = "TOKENS")]
    pub tpm: Option<u64>,
    /// Requests at the same time
    #[arg(long, value_name = "REQUESTS")]
    pub concurrent: Option<u64>,
}

#[derive(Debug, Args)]
pub struct ListKeys {
    /// Of this team only; name or id
    #[arg(long)]
    pub team: Option<String>,
    /// Of this owner only
    #[arg(long)]
    pub owner: Option<String>,
    /// Those too that were revoked
    #[arg(long)]
    pub revoked: bool,
}

#[derive(Debug, Subcommand)]
pub enum TeamsAction {
    /// Make a team
    Create {
        name: String,
        #[command(flatten)]
        scope: ScopeArgs,
        #[command(flatten)]
        limits: LimitArgs,
    },
    /// List all teams
    List,
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
        assert!(parse("llm-gateway import litellm c.yaml").not_built().unwrap().contains("not built yet"));
        let mut cli = Cli::command();
        let help = cli.render_help().to_string();
        let listed = help.lines().find(|help| help.trim_start().starts_with("import")).unwrap();
        assert!(listed.contains("not built yet"), "{listed}");
        let parent = cli.find_subcommand_mut("import").unwrap();
        assert!(parent.render_long_help().to_string().contains(NOT_BUILT));
        let about = parent.find_subcommand("litellm").unwrap().get_about().unwrap().to_string();
        assert!(about.contains("not built yet"));
        assert!(parse("llm-gateway check").not_built().is_none());
    }
}
