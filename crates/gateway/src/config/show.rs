//! The effective configuration, for people to read.

use serde_json::Value as Json;

use super::Resolved;
use super::problem::{Origin, Report, path_text};
use super::schema::Schema;
use super::tree::{self, Node, Value};

/// Valid YAML; comments tell where a value was said.
pub fn effective(resolved: &Resolved) -> String {
    let mut out = String::from("# Effective configuration. Values without a comment are defaults.\n");
    if resolved.config.sandbox {
        out.push_str("# Sandbox mode: simulated providers answer, and every answer is marked.\n");
    }
    // Serialized, secrets are hidden: `raw::Hidden`.
    let file = serde_json::to_value(&resolved.file).unwrap_or_default();
    emit(&mut out, &file, &mut Vec::new(), resolved);
    for warning in &resolved.config.warnings {
        out.push_str(&format!("# warning: {warning}\n"));
    }
    out
}

fn emit(out: &mut String, value: &Json, path: &mut Vec<String>, resolved: &Resolved) {
    let entries: Vec<(String, String, &Json)> = match value {
        Json::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), format!("{}:", scalar_text(key)), value)).collect()
        }
        Json::Array(list) => {
            list.iter().enumerate().map(|(index, value)| (index.to_string(), "-".to_owned(), value)).collect()
        }
        _ => return,
    };
    let indent = "  ".repeat(path.len());
    for (segment, label, value) in entries {
        path.push(segment);
        let comment = comment(path, value, resolved);
        if is_branch(value) && label == "-" {
            // The first line of an item stands beside its dash.
            let mut item = String::new();
            emit(&mut item, value, path, resolved);
            out.push_str(&format!("{indent}- {}", item.trim_start()));
        } else if is_branch(value) {
            out.push_str(&format!("{indent}{label}{comment}\n"));
            emit(out, value, path, resolved);
        } else {
            out.push_str(&format!("{indent}{label} {}{comment}\n", scalar(value)));
        }
        path.pop();
    }
}

fn is_branch(value: &Json) -> bool {
    value.as_object().is_some_and(|map| !map.is_empty()) || value.as_array().is_some_and(|list| !list.is_empty())
}

fn comment(path: &[String], value: &Json, resolved: &Resolved) -> String {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let mut notes = Vec::new();
    match resolved.tree.get(&path).map(|node| &node.origin) {
        None | Some(Origin::Default) => {}
        Some(_) if is_branch(value) => {}
        Some(origin) => notes.push(origin.to_string()),
    }
    if !resolved.schema.is_in_effect(&path) {
        notes.push("not in effect yet".to_owned());
    }
    if notes.is_empty() { String::new() } else { format!("  # {}", notes.join("; ")) }
}

fn scalar(value: &Json) -> String {
    match value {
        Json::String(text) => scalar_text(text),
        Json::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 9e15 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// Plain where YAML would read the same text back, in quotes otherwise.
fn scalar_text(text: &str) -> String {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:()-".contains(&byte);
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '(' | '.'))
        && text.bytes().all(harmless)
        && !text.ends_with(':')
        && tree::plain(text) == Value::Text(text.to_owned());
    if plain { text.to_owned() } else { Json::from(text).to_string() }
}

/// Says plainly what was said in vain.
pub fn warn_of_what_is_not_in_effect(tree: &Node, schema: &Schema, report: &mut Report) {
    walk(tree, &mut Vec::new(), schema, report);
}

fn walk<'a>(node: &'a Node, path: &mut Vec<&'a str>, schema: &Schema, report: &mut Report) {
    let Value::Map(entries) = &node.value else { return };
    for (key, entry) in entries {
        path.push(key);
        if schema.is_in_effect(path) {
            walk(entry, path, schema, report);
        } else if let Some(origins) = origins(entry) {
            let name = path_text(path);
            report.warn(format!("{origins}: `{name}` is not in effect yet: it is read and checked, nothing more"));
        }
        path.pop();
    }
}

/// Where an entry was said: its place in the file, and the variables that add to it. None if all of it was refused.
fn origins(node: &Node) -> Option<String> {
    let in_file = |node: &&Node| matches!(node.origin, Origin::File { .. });
    let mut origins: Vec<String> = Some(node).filter(in_file).map(|node| node.origin.to_string()).into_iter().collect();
    match &node.value {
        Value::Map(entries) => {
            let outside = entries.values().filter(|entry| !in_file(entry));
            origins.extend(outside.map(|entry| entry.origin.to_string()));
        }
        _ if origins.is_empty() => origins.push(node.origin.to_string()),
        _ => {}
    }
    Some(origins.join(", ")).filter(|origins| !origins.is_empty())
}
