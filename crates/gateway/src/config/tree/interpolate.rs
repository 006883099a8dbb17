//! `${NAME}` in the values of a file.

use super::{Node, Value};
use crate::config::environment::{Reported, Variables};
use crate::config::problem::{Problem, Report, path_text};

/// Replaces every `${NAME}` in text by the variable; `$${` stands for `${`.
pub fn interpolate(node: &mut Node, variables: &Variables<'_>, report: &mut Report) {
    walk(node, &mut Vec::new(), variables, report);
}

fn walk(node: &mut Node, path: &mut Vec<String>, variables: &Variables<'_>, report: &mut Report) {
    match &mut node.value {
        Value::Text(text) if text.contains("${") => {
            node.value = match expand(text, variables, report) {
                Ok(Expanded { text, variable: true }) => Value::Loose(text),
                Ok(Expanded { text, variable: false }) => Value::Text(text),
                Err(reason) => {
                    if let Refused::Because(message, hint) = reason {
                        let message = format!("{}: {message}", path_text(path));
                        report.problem(Problem::new(node.origin.clone(), message).hint(hint));
                    }
                    Value::Missing
                }
            }
        }
        Value::List(list) => {
            for (index, item) in list.iter_mut().enumerate() {
                path.push(index.to_string());
                walk(item, path, variables, report);
                path.pop();
            }
        }
        Value::Map(map) => {
            for (key, item) in map {
                path.push(key.clone());
                walk(item, path, variables, report);
                path.pop();
            }
        }
        _ => {}
    }
}

struct Expanded {
    text: String,
    /// Whether a variable is in it.
    variable: bool,
}

enum Refused {
    Reported,
    /// A message and a hint.
    Because(String, String),
}

fn expand(text: &str, variables: &Variables<'_>, report: &mut Report) -> Result<Expanded, Refused> {
    let mut expanded = Expanded { text: String::with_capacity(text.len()), variable: false };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            expanded.text.push_str(before);
            expanded.text.push_str("${");
            rest = after;
            continue;
        }
        expanded.text.push_str(before);
        let escape = || "write `${NAME}`, with letters, digits and `_`; `$${` stands for a literal `${`".to_owned();
        let Some((name, tail)) = after.split_once('}') else {
            return Err(Refused::Because("`${` has no end".into(), escape()));
        };
        if !is_variable_name(name) {
            return Err(Refused::Because(format!("`${{{name}}}` is not the name of a variable"), escape()));
        }
        match variables.get(name, report) {
            Ok(Some(found)) => expanded.text.push_str(&found.value),
            Err(Reported) => return Err(Refused::Reported),
            Ok(None) => {
                let hint = format!("set {name}, or {name}_FILE with the path of a file that holds the value");
                return Err(Refused::Because(format!("the variable {name} is not set"), hint));
            }
        }
        expanded.variable = true;
        rest = tail;
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
