//! The effective configuration, for people to read.

use serde_json::Value as Json;

use super::Resolved;
use super::problem::{Origin, Report};
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
    if is_branch(value) {
        let here = resolved.schema.is_in_effect(&path);
        return if !here && path.len() == 1 { "  # not in effect yet".into() } else { String::new() };
    }
    match resolved.tree.get(&path).map(|node| &node.origin) {
        None | Some(Origin::Default) => String::new(),
        Some(origin) => format!("  # {origin}"),
    }
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
    let Value::Map(sections) = &tree.value else { return };
    for (name, section) in sections.iter().filter(|(name, _)| !schema.is_in_effect(&[name.as_str()])) {
        let mut origins: Vec<String> = Vec::new();
        if matches!(section.origin, Origin::File { .. }) {
            origins.push(section.origin.to_string());
        }
        if let Value::Map(entries) = &section.value {
            let outside = entries.values().filter(|node| !matches!(node.origin, Origin::File { .. }));
            origins.extend(outside.map(|node| node.origin.to_string()));
        }
        if origins.is_empty() {
            continue; // All of it was refused.
        }
        report.warn(format!(
            "{}: `{name}` is not in effect yet: it is read and checked, nothing more",
            origins.join(", ")
        ));
    }
}
