//! From what an operator said to a [`Config`] that is ready to run.
//!
//! ```text
//! gateway.yaml ─ tree::yaml ─ interpolate ┐
//! environment, .env ───────── variables   ├─ one tree ─ schema (shape) ─ raw::File ─ check (sense) ─ runtime::Config
//! flags ──────────────────────────────────┘
//! ```
//!
//! Every value knows where it was said, and every step reports all that it finds, so that an operator sees everything that is
//! wrong at once.

mod changes;
mod check;
mod environment;
mod problem;
mod raw;
mod runtime;
mod schema;
mod show;
mod tree;
mod variables;
mod vendors;
mod watched;

#[cfg(test)]
mod docs;
#[cfg(test)]
mod on_the_wire;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use changes::Said;
pub use environment::{Environment, System};
pub use problem::{Origin, Problem, Problems, nearest, path_text};
pub use runtime::*;
pub use watched::{Files, Watched};

use environment::Variables;
use problem::Report;
use schema::Schema;
use tree::{Node, Value};
use vendors::Vendor;

use crate::store::database::Location;

pub const DEFAULT_FILE: &str = "gateway.yaml";

/// What the command line says about the configuration.
#[derive(Debug, Default, Clone)]
pub struct Args {
    /// None: `gateway.yaml`, if there is one.
    pub config: Option<PathBuf>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub sandbox: bool,
}

/// Reads, checks and completes the configuration. All problems come at once; the exit code for them is 2.
pub fn load(args: &Args, environment: &dyn Environment) -> Result<Config, Problems> {
    resolve(args, environment).map(|resolved| resolved.config)
}

/// The effective configuration as YAML, with secrets hidden and the origin of every value that is not a default, and the
/// warnings as comments after it.
pub fn check(args: &Args, environment: &dyn Environment) -> Result<String, Problems> {
    resolve(args, environment).map(|resolved| show::effective(&resolved))
}

/// The JSON Schema of the configuration file, for editors.
pub fn json_schema() -> String {
    Schema::of_file().text()
}

impl Config {
    /// The two simulated providers, served by the simulator at `addr`: named and routed like the real ones.
    pub fn sandbox_providers(addr: SocketAddr) -> Vec<Provider> {
        vendors::all().map(|vendors| check::sandbox_providers(&vendors, addr)).unwrap_or_default()
    }
}

/// Everything that is known once a configuration has been accepted.
struct Resolved {
    config: Config,
    /// What was said, completed.
    file: raw::File,
    tree: Node,
    schema: Schema,
}

fn resolve(args: &Args, environment: &dyn Environment) -> Result<Resolved, Problems> {
    resolve_with(&vendors::all()?, args, environment)
}

fn resolve_with(vendors: &[Vendor], args: &Args, environment: &dyn Environment) -> Result<Resolved, Problems> {
    let schema = Schema::of_file();
    let mut report = Report::default();

    let variables = Variables::read(environment, &mut report);
    let mut tree = Node::empty();
    let mut folder = None;
    if let Some((path, text)) = read_file(args, environment)? {
        tree = tree::yaml::read(&path.display().to_string(), &text)?;
        folder = Some(path.parent().map(Path::to_path_buf).unwrap_or_default());
    }
    if args.sandbox {
        for section in ["providers", "aliases"] {
            if let Some(node) = tree.remove(section) {
                report.warn(format!("{}: {section}: not used in sandbox mode", node.origin));
            }
        }
    }
    tree::interpolate::interpolate(&mut tree, &variables, &mut report);
    let overlaid_vendors = if args.sandbox { &[] } else { vendors };
    variables::overlay(&mut tree, &variables, overlaid_vendors, &mut report);
    if let Some(host) = &args.host {
        tree.set(&["server", "host"], Value::Loose(host.clone()), &Origin::Flag("--host"));
    }
    if let Some(port) = args.port {
        tree.set(&["server", "port"], Value::Loose(port.to_string()), &Origin::Flag("--port"));
    }
    if !args.sandbox {
        variables::warn_of_typing_errors(&variables, vendors, &mut report);
    }

    schema.validate(&mut tree, &mut report);
    let mut file = deserialize(&tree, &mut report);
    let situation =
        check::Situation { environment, vendors, tree: &tree, sandbox: args.sandbox, folder: folder.as_deref() };
    let mut config = check::check(&mut file, &situation, &mut report);
    show::warn_of_what_is_not_in_effect(&tree, &schema, &mut report);
    config.warnings = report.finish()?;
    config.said = Said::of(&tree, config.server.tls.as_ref());
    Ok(Resolved { config, file, tree, schema })
}

/// Where the keys are that are not in the file, for who wants nothing else of the configuration: whatever is wrong with the
/// rest of it is no matter.
pub fn database(args: &Args, environment: &dyn Environment) -> Result<Option<Location>, Problems> {
    let schema = Schema::of_file();
    let mut report = Report::default();
    let variables = Variables::read(environment, &mut report);
    let mut tree = Node::empty();
    if let Some((path, text)) = read_file(args, environment)? {
        tree = only_storage(tree::yaml::read(&path.display().to_string(), &text)?);
    }
    tree::interpolate::interpolate(&mut tree, &variables, &mut report);
    variables::overlay(&mut tree, &variables, &[], &mut report);
    let mut tree = only_storage(tree);
    schema.validate(&mut tree, &mut report);
    let file = deserialize(&tree, &mut report);
    let situation = check::Situation { environment, vendors: &[], tree: &tree, sandbox: false, folder: None };
    let database = check::database(&file.storage, &situation, &mut report);
    report.finish()?;
    Ok(database)
}

fn only_storage(mut tree: Node) -> Node {
    let storage = tree.remove("storage");
    let mut only = Node::empty();
    if let (Some(storage), Value::Map(map)) = (storage, &mut only.value) {
        map.insert("storage".to_owned(), storage);
    }
    only
}

/// The configuration file and its text; none if none was named and there is no `gateway.yaml`.
fn read_file(args: &Args, environment: &dyn Environment) -> Result<Option<(PathBuf, String)>, Problems> {
    let path = args.config.clone().unwrap_or_else(|| DEFAULT_FILE.into());
    let bytes = match environment.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound && args.config.is_none() => return Ok(None),
        Err(error) => {
            let problem = Problem::new(Origin::Default, format!("{} cannot be read: {error}", path.display()));
            return Err(problem.into());
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some((path, text))),
        Err(_) => Err(Problem::new(Origin::Default, format!("{} is not UTF-8 text", path.display())).into()),
    }
}

/// The schema has passed it; should serde still refuse, the two disagree, and that is reported rather than run.
fn deserialize(tree: &Node, report: &mut Report) -> raw::File {
    serde_json::from_value(tree.to_json()).unwrap_or_else(|error| {
        report.problem(Problem::new(Origin::Default, format!("cannot be read: {error}")));
        raw::File::default()
    })
}
