//! Keeps `docs/` true: the schema is generated, the tables in `configuration.md` are, and its examples must load.
//!
//! After a change, `UPDATE_GOLDEN=1 cargo test -p llm-gateway config::` writes what is below again.

use std::path::PathBuf;

use serde_json::Value as Json;

use super::schema::{Schema, names, range_text};
use super::tests::{World, golden};
use super::vendors::Vendor;
use super::{Args, load, raw, variables, vendors};

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

#[test]
fn the_published_schema_is_the_one_in_use() {
    golden(&docs("gateway.schema.json"), &super::json_schema());
}

#[test]
fn the_tables_say_what_the_program_does() {
    let path = docs("configuration.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let page = between(&page, "variables", &variables_table());
    let page = between(&page, "keys", &keys_tables());
    golden(&path, &page);
}

#[test]
fn the_table_of_vendors_says_what_their_rows_say() {
    let path = docs("providers.md");
    let page = std::fs::read_to_string(&path).unwrap();
    golden(&path, &between(&page, "vendors", &vendors_table()));
}

#[test]
fn the_examples_load() {
    for page in ["configuration.md", "providers.md"] {
        examples_load(&std::fs::read_to_string(docs(page)).unwrap());
    }
}

fn examples_load(page: &str) {
    let blocks = |language| page.split(language).skip(1).map(|rest| rest.split("\n```").next().unwrap());
    let yaml: Vec<&str> = blocks("```yaml\n").collect();
    let dot_env: Vec<&str> = blocks("```sh\n# .env\n").collect();
    assert!(yaml.len() >= 3 && !dot_env.is_empty(), "a page has lost its examples");
    for example in yaml {
        let mut world = World::default().file("gateway.yaml", example).var("GATEWAY_ALLOW_ANONYMOUS", "true");
        for name in example.split("\"${").skip(1).map(|rest| rest.split('}').next().unwrap()) {
            world = world.var(name, "sk-example");
        }
        load(&Args::default(), &world).unwrap_or_else(|problems| panic!("{example}\n{problems}"));
    }
    for example in dot_env {
        let world = World::default().file(".env", example);
        load(&Args::default(), &world).unwrap_or_else(|problems| panic!("{example}\n{problems}"));
    }
}

const NOT_IN_EFFECT: &str = " **Not in effect yet.**";

/// Puts `text` between the two comments that mark the place.
fn between(page: &str, marker: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- generated: {marker} -->\n"), format!("<!-- end: {marker} -->"));
    let start = page.find(&begin).unwrap_or_else(|| panic!("no {begin}")) + begin.len();
    let stop = page.find(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{}\n{text}\n{}", &page[..start], &page[stop..])
}

fn variables_table() -> String {
    let schema = Schema::of_file();
    let mut table = String::from("| variable | default | key | meaning |\n|---|---|---|---|\n");
    for row in variables::ROWS {
        let property = schema.at(row.path).unwrap_or_else(|| panic!("{} leads nowhere", row.name));
        let in_effect = (1..=row.path.len()).all(|length| schema.is_in_effect(&row.path[..length]));
        let note = if in_effect { "" } else { NOT_IN_EFFECT };
        let (default, meaning) = (default(property), meaning(&schema, property));
        table.push_str(&format!("| `{}` | {default} | `{}` | {meaning}{note} |\n", row.name, row.path.join(".")));
    }
    let vendors = vendors::all().unwrap();
    for vendor in &vendors {
        let shown = |value: &Option<String>| value.as_ref().map_or("-".to_owned(), |value| format!("`{value}`"));
        let mut row = |variable: &str, default: &str, field: &str, meaning: &str| {
            table
                .push_str(&format!("| `{variable}` | {default} | `providers.{}.{field}` | {meaning} |\n", vendor.name));
        };
        if let Some(key) = &vendor.key_variable {
            let effect = if is_switch(&vendors, vendor) {
                "switches the provider on"
            } else {
                "read if the file names the provider"
            };
            row(key, "-", "api_key", &format!("Key for {}; {effect}.", vendor.display_name));
        }
        for (variable, field) in vendor.settings() {
            match field {
                "base_url" => row(variable, &shown(&vendor.base_url), field, "Where it is."),
                _ => row(variable, &shown(&vendor.default_model), field, "Model for requests that name none."),
            }
        }
    }
    table
}

/// Whether the variable of its key alone switches a vendor on.
fn is_switch(vendors: &[Vendor], vendor: &Vendor) -> bool {
    vendors.iter().find(|other| other.shares_key_with(vendor)).is_some_and(|first| first.name == vendor.name)
}

fn vendors_table() -> String {
    let mut table =
        String::from("| name | | dialect | base URL | key | auth | quirks |\n|---|---|---|---|---|---|---|\n");
    let vendors = vendors::all().unwrap();
    for vendor in &vendors {
        let code = |text: &str| format!("`{text}`");
        let base_url = match (&vendor.base_url, &vendor.base_url_variable, &vendor.base_url_example) {
            (Some(url), ..) => code(url),
            (None, Some(variable), Some(example)) => format!("in `{variable}`, as `{example}`"),
            (None, None, Some(example)) => format!("yours, as `{example}`"),
            (None, _, None) => panic!("{} has neither a base URL nor an example of one", vendor.name),
        };
        let key = match (&vendor.key_variable, is_switch(&vendors, vendor)) {
            (Some(variable), true) => code(variable),
            (Some(variable), false) => format!("`{variable}`, if the file names it"),
            (None, _) => "none needed".to_owned(),
        };
        let auth = match &vendor.auth {
            raw::Auth::Bearer => "bearer".to_owned(),
            raw::Auth::None => "none".to_owned(),
            raw::Auth::Header(name) => code(name),
        };
        let mut quirks = match serde_json::to_value(&vendor.quirks) {
            Ok(Json::Object(quirks)) => {
                let said =
                    |(name, value): (&String, &Json)| format!("`{name}: {}`", value.to_string().replace('"', ""));
                quirks.iter().map(said).collect()
            }
            _ => Vec::new(),
        };
        if vendor.paths.chat.as_ref().is_some_and(|path| path.contains("{model}")) {
            quirks.push("the model in the path".to_owned());
        }
        quirks.extend(vendor.query.iter().map(|(name, value)| format!("`?{name}={value}`")));
        let (name, display_name, dialect) = (&vendor.name, &vendor.display_name, vendor.dialect.name());
        let quirks = quirks.join(", ");
        table.push_str(&format!(
            "| `{name}` | {display_name} | `{dialect}` | {base_url} | {key} | {auth} | {quirks} |\n"
        ));
    }
    table
}

/// A table for each section, and for what is inside of maps and lists.
fn keys_tables() -> String {
    let schema = Schema::of_file();
    let sections: Vec<String> = schema.at(&[]).unwrap()["properties"].as_object().unwrap().keys().cloned().collect();
    let mut text = String::new();
    for section in sections {
        let property = schema.at(&[&section]).unwrap();
        text.push_str(&format!("### `{section}`\n\n{}\n", meaning(&schema, property)));
        if !schema.is_in_effect(&[&section]) {
            text.push_str("\n**Not in effect yet**: it is read and checked, nothing more.\n");
        }
        text.push_str("\n| key | values | default | meaning |\n|---|---|---|---|\n");
        rows(&schema, property, &section, &mut text);
        text.push('\n');
    }
    text.trim_end().to_owned() + "\n"
}

fn rows(schema: &Schema, property: &Json, path: &str, text: &mut String) {
    for inside in schema.alternatives(property) {
        if let Some(items) = inside.get("items") {
            rows(schema, items, &format!("{path}[]"), text);
        }
        if let Some(entries) = inside.get("additionalProperties").filter(|entries| entries.is_object()) {
            rows(schema, entries, &format!("{path}.NAME"), text);
        }
        for (name, property) in inside.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let path = format!("{path}.{name}");
            let required =
                inside.get("required").and_then(Json::as_array).is_some_and(|all| all.contains(&name.as_str().into()));
            let is_section = schema.alternatives(property).iter().any(|inside| inside.get("properties").is_some());
            let default = if required { "required".to_owned() } else { default(property) };
            let (values, meaning) = (values(schema, property), meaning(schema, property));
            let note = if property.get("x-in-effect").is_some() { NOT_IN_EFFECT } else { "" };
            text.push_str(&format!("| `{path}` | {values} | {default} | {meaning}{note} |\n"));
            let is_list = schema.alternatives(property).iter().any(|inside| inside.get("items").is_some());
            if is_section || is_list {
                rows(schema, property, &path, text);
            }
        }
    }
}

fn values(schema: &Schema, property: &Json) -> String {
    let mut values: Vec<String> = Vec::new();
    for inside in schema.alternatives(property) {
        let kinds: Vec<&str> = match &inside["type"] {
            Json::Array(kinds) => kinds.iter().filter_map(Json::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        for kind in kinds {
            let range = range_text(inside).map(|range| format!(", {range}")).unwrap_or_default();
            let text = match kind {
                "null" => continue,
                "string" if inside["writeOnly"] == true => "secret".to_owned(),
                "string" => match names(inside) {
                    Some(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
                    None => "text".to_owned(),
                },
                "boolean" => "`true`, `false`".to_owned(),
                "integer" => format!("whole number{range}"),
                "number" => format!("number{range}"),
                "array" => match inside.get("items").map(|items| self::values(schema, items)) {
                    Some(items) => format!("list of {items}"),
                    None => "list".to_owned(),
                },
                _ => "map".to_owned(),
            };
            if !values.contains(&text) {
                values.push(text);
            }
        }
    }
    values.join(", ")
}

fn default(property: &Json) -> String {
    match property.get("default") {
        None | Some(Json::Null) => "-".to_owned(),
        Some(Json::Number(number)) => format!("`{}`", number.to_string().trim_end_matches(".0")),
        Some(Json::String(text)) => format!("`{text}`"),
        Some(other) => format!("`{other}`"),
    }
}

fn meaning(schema: &Schema, property: &Json) -> String {
    let own = property.get("description").and_then(Json::as_str);
    let inside = || schema.alternatives(property).into_iter().find_map(|inside| inside.get("description")?.as_str());
    own.or_else(inside).unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}
