//! The world outside the configuration, handed in: variables, files, the terminal; and `.env`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};
use std::path::Path;

use super::problem::{Origin, Problem, Report};
use super::tree::interpolate::is_variable_name;

/// What loading a configuration may ask of the system.
pub trait Environment {
    /// All environment variables that are valid Unicode.
    fn variables(&self) -> Vec<(String, String)>;
    /// Paths are relative to the working directory.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Whether every user of the machine may read the file.
    fn is_world_readable(&self, path: &Path) -> bool;
    /// Whether a person reads the log.
    fn is_terminal(&self) -> bool;
}

/// The process's own environment.
#[derive(Debug)]
pub struct System;

impl Environment for System {
    fn variables(&self) -> Vec<(String, String)> {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    #[cfg(unix)]
    fn is_world_readable(&self, path: &Path) -> bool {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
    }

    #[cfg(not(unix))]
    fn is_world_readable(&self, _: &Path) -> bool {
        false
    }

    fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    pub value: String,
    pub origin: Origin,
}

/// A problem was found, and reported where it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported;

/// Variables by name: the real environment, and below it `.env`. An empty variable is one that is not set.
pub struct Variables<'a> {
    environment: &'a dyn Environment,
    by_name: BTreeMap<String, Variable>,
    /// Names that were asked for, so that a name which only the file uses is not taken for a typing error.
    asked: RefCell<BTreeSet<String>>,
}

impl<'a> Variables<'a> {
    pub fn read(environment: &'a dyn Environment, report: &mut Report) -> Self {
        let mut by_name = BTreeMap::new();
        match environment.read(Path::new(".env")) {
            Ok(bytes) => by_name.extend(parse_dot_env(&String::from_utf8_lossy(&bytes), report)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => report.problem(Problem::new(Origin::Default, format!(".env cannot be read: {error}"))),
        }
        let is_set = |value: &str| !value.trim().is_empty();
        for (name, value) in environment.variables().into_iter().filter(|(_, value)| is_set(value)) {
            let origin = Origin::Variable(name.clone());
            by_name.insert(name, Variable { value, origin });
        }
        by_name.retain(|_, variable: &mut Variable| is_set(&variable.value));
        Variables { environment, by_name, asked: RefCell::default() }
    }

    /// The variable, or the contents of the file that `NAME_FILE` names. A real variable of either kind wins over `.env`.
    pub fn get(&self, name: &str, report: &mut Report) -> Result<Option<Variable>, Reported> {
        self.expect(name);
        let file_name = format!("{name}_FILE");
        let real = |variable: &Variable| matches!(variable.origin, Origin::Variable(_));
        match (self.by_name.get(name), self.by_name.get(&file_name)) {
            (None, None) => Ok(None),
            (Some(value), Some(file)) if real(value) == real(file) => {
                let problem = Problem::new(value.origin.clone(), format!("{name} and {file_name} are both set"));
                report.problem(problem.hint("keep one of them"));
                Err(Reported)
            }
            (Some(value), Some(_)) if real(value) => Ok(Some(value.clone())),
            (_, Some(file)) => self.read_secret(file, report).map(Some),
            (Some(value), None) => Ok(Some(value.clone())),
        }
    }

    fn read_secret(&self, file: &Variable, report: &mut Report) -> Result<Variable, Reported> {
        let path = Path::new(&file.value);
        // Container engines mount secrets readable by all of the container; that is their business.
        if !path.starts_with("/run/secrets") && self.environment.is_world_readable(path) {
            let warning = format!("every user of this machine can read {}; `chmod 600` it", path.display());
            report.warn(format!("{}: {warning}", file.origin));
        }
        let contents = self.environment.read(path).and_then(|bytes| {
            String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
        });
        let message = match contents {
            Ok(text) => {
                match text.strip_suffix('\n').map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text)) {
                    "" => format!("the file {} is empty", path.display()),
                    value => return Ok(Variable { value: value.to_owned(), origin: file.origin.clone() }),
                }
            }
            Err(error) => format!("the file {} cannot be read: {error}", path.display()),
        };
        report.problem(Problem::new(file.origin.clone(), message));
        Err(Reported)
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.by_name.contains_key(name) || self.by_name.contains_key(&format!("{name}_FILE"))
    }

    /// Declares a name as known without reading it.
    pub fn expect(&self, name: &str) {
        self.asked.borrow_mut().extend([name.to_owned(), format!("{name}_FILE")]);
    }

    pub fn was_asked(&self, name: &str) -> bool {
        self.asked.borrow().contains(name)
    }

    /// Variables that are set and that nobody has asked for.
    pub fn unasked(&self) -> Vec<(&str, &Origin)> {
        let asked = self.asked.borrow();
        let unasked = self.by_name.iter().filter(|(name, _)| !asked.contains(*name));
        unasked.map(|(name, variable)| (name.as_str(), &variable.origin)).collect()
    }
}

/// `NAME=value` lines. `export` may stand before the name; a value may be in single quotes (as it is) or double quotes
/// (with `\n`, `\"`, `\\`, `\$`); ` #` starts a comment. Nothing is expanded. The last of two equal names wins.
fn parse_dot_env(text: &str, report: &mut Report) -> BTreeMap<String, Variable> {
    let mut variables = BTreeMap::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").map_or(line, str::trim_start);
        let (name, value) = match line.split_once('=') {
            Some((name, value)) if is_variable_name(name.trim_end()) => (name.trim_end(), value.trim_start()),
            // The line is not quoted: it may hold a secret.
            _ => {
                let file = Origin::File { file: ".env".into(), line: index + 1, column: 1 };
                report.problem(Problem::new(file, "is not a setting").hint("write NAME=value"));
                continue;
            }
        };
        let origin = Origin::DotEnv { name: name.to_owned(), line: index + 1 };
        match unquote(value) {
            Ok(value) => _ = variables.insert(name.to_owned(), Variable { value, origin }),
            Err(message) => report.problem(Problem::new(origin, message)),
        }
    }
    variables
}

fn unquote(value: &str) -> Result<String, &'static str> {
    let quote = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        _ => {
            let end = if value.starts_with('#') { 0 } else { value.find(" #").unwrap_or(value.len()) };
            return Ok(value[..end].trim_end().to_owned());
        }
    };
    let mut text = String::new();
    let mut chars = value[1..].chars();
    loop {
        match chars.next() {
            None => return Err("the value has no closing quote on its line"),
            Some(end) if end == quote => break,
            Some('\\') if quote == '"' => match chars.next() {
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('t') => text.push('\t'),
                Some(other) => text.push(other),
                None => return Err("the value has no closing quote on its line"),
            },
            Some(other) => text.push(other),
        }
    }
    let rest = chars.as_str().trim_start();
    if rest.is_empty() || rest.starts_with('#') { Ok(text) } else { Err("there is text after the closing quote") }
}
