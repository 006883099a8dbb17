//! What is wrong with a configuration, and where.

use std::fmt;
use std::sync::Arc;

/// Where a value was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Lines and columns count from 1.
    File {
        file: Arc<str>,
        line: usize,
        column: usize,
    },
    Variable(String),
    DotEnv {
        name: String,
        line: usize,
    },
    Flag(&'static str),
    /// Said nowhere.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::DotEnv { name, line } => write!(f, ".env:{line}: {name}"),
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Default => f.write_str("configuration"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub origin: Origin,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(origin: Origin, message: impl Into<String>) -> Self {
        Problem { origin, message: message.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n    {hint}"),
            None => Ok(()),
        }
    }
}

/// All that is wrong, in the order in which the sources are read, and what else was noticed: a mistyped variable is often the
/// cause. Printed, it ends without a newline.
#[derive(Debug, Default)]
pub struct Problems {
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problems = self.problems.iter().map(Problem::to_string);
        let warnings = self.warnings.iter().map(|warning| format!("warning: {warning}"));
        f.write_str(&problems.chain(warnings).collect::<Vec<_>>().join("\n"))
    }
}

impl std::error::Error for Problems {}

impl From<Vec<Problem>> for Problems {
    fn from(problems: Vec<Problem>) -> Self {
        Problems { problems, warnings: Vec::new() }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        vec![problem].into()
    }
}

/// Collects problems and warnings, so that all of them are told at once.
#[derive(Debug, Default)]
pub struct Report {
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
    /// Paths whose values were refused. What is missing there is not missed a second time.
    refused: Vec<Vec<String>>,
}

impl Report {
    pub fn problem(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    pub fn refuse(&mut self, path: &[String]) {
        self.refused.push(path.to_vec());
    }

    /// Whether the value at `path`, or one that it depends on, was refused before.
    pub fn is_refused(&self, path: &[&str]) -> bool {
        self.refused.iter().any(|refused| refused.len() <= path.len() && refused.iter().zip(path).all(|(a, b)| a == b))
    }

    pub fn finish(mut self) -> Result<Vec<String>, Problems> {
        if self.problems.is_empty() {
            return Ok(self.warnings);
        }
        self.problems.sort_by_key(|problem| match problem.origin {
            Origin::File { line, column, .. } => (0, line, column),
            Origin::DotEnv { line, .. } => (1, line, 0),
            _ => (2, 0, 0),
        });
        Err(Problems { problems: self.problems, warnings: self.warnings })
    }
}

/// The one of `known` that `name` was probably meant to be.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let fold =
        |text: &str| -> String { text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect() };
    let folded = fold(name);
    let bound = (folded.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded, &fold(candidate)), candidate))
        .filter(|&(distance, _)| distance <= bound)
        .min_by_key(|&(distance, candidate)| (distance, strsim::damerau_levenshtein(name, candidate), candidate))
        .map(|(_, candidate)| candidate)
}

/// `Did you mean ...?`, or the list of what there is.
pub fn suggest(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "there is none".into(),
        None => format!("there is: {}", known.join(", ")),
    }
}

/// `providers.local.models[0]`
pub fn path_text<S: AsRef<str>>(path: &[S]) -> String {
    if path.is_empty() {
        return "the file".into();
    }
    let mut text = String::new();
    for segment in path {
        let segment = segment.as_ref();
        if !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str(&format!("[{segment}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(segment);
        }
    }
    text
}
