//! What the document says of the operator's routes.

use gateway_core::limits::{ADMIN_PAGE, KEYS_PER_PAGE};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{of_type, reference};
use crate::api::admin::{Admin, AuditPage, CURSOR, CreatedKey, KEY_FILTERS, KeyPage, LIMIT, TeamPage};
use crate::keys::view::{KeyView, TeamView};
use crate::keys::{KeySettings, TeamSettings};

/// The schemas of bodies: here what may be left out is not required.
pub fn schemas() -> Map<String, Value> {
    let mut settings = SchemaSettings::draft2020_12().for_deserialize();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    generator.subschema_for::<KeySettings>();
    generator.subschema_for::<TeamSettings>();
    let mut schemas = generator.take_definitions(true);
    for (of, changes) in [("KeySettings", "KeyChanges"), ("TeamSettings", "TeamChanges")] {
        let changed = schemas.get(of).cloned().map(all_optional);
        schemas.extend(changed.map(|schema| (changes.to_owned(), schema)));
    }
    schemas
}

fn all_optional(mut schema: Value) -> Value {
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("required");
        schema.insert(
            "description".to_owned(),
            "What is to change, as RFC 7396 has it: what is left out stays, `null` takes away.".into(),
        );
    }
    for (name, property) in schema["properties"].as_object_mut().into_iter().flatten() {
        if name != "name" {
            *property = json!({"anyOf": [property.take(), {"type": "null"}]});
        }
    }
    schema
}

pub fn describe(admin: Admin, operation: &mut Value, generator: &mut SchemaGenerator) {
    let (status, answer) = match admin {
        Admin::CreateKey => ("201", of_type::<CreatedKey>("The key, told this once.", generator)),
        Admin::ListKeys => ("200", of_type::<KeyPage>("Keys.", generator)),
        Admin::ShowKey => ("200", of_type::<KeyView>("The key.", generator)),
        Admin::UpdateKey => {
            ("200", of_type::<KeyView>("The key as it is now, on every gateway within a second.", generator))
        }
        Admin::RevokeKey => {
            let words = "The key, which is refused from now on, everywhere within a second. Nothing undoes that.";
            ("200", of_type::<KeyView>(words, generator))
        }
        Admin::CreateTeam => ("201", of_type::<TeamView>("The team.", generator)),
        Admin::ListTeams => ("200", of_type::<TeamPage>("Teams.", generator)),
        Admin::ShowTeam => ("200", of_type::<TeamView>("The team.", generator)),
        Admin::UpdateTeam => ("200", of_type::<TeamView>("The team as it is now.", generator)),
        Admin::Audit => ("200", of_type::<AuditPage>("Changes, the latest first.", generator)),
    };
    operation["responses"] = json!({ status: answer });
    let body = match admin {
        Admin::CreateKey => Some((
            "KeySettings",
            json!({"name": "web", "models": ["openai/*"], "limits": {"requests_per_minute": 120}}),
        )),
        Admin::UpdateKey => Some(("KeyChanges", json!({"owner": "ada", "limits": {"requests_per_minute": null}}))),
        Admin::CreateTeam => {
            Some(("TeamSettings", json!({"name": "search", "limits": {"tokens_per_minute": 1_000_000}})))
        }
        Admin::UpdateTeam => Some(("TeamChanges", json!({"limits": {"concurrent": 20}}))),
        _ => None,
    };
    if let Some((schema, example)) = body {
        let content = json!({"application/json": {"schema": reference(schema), "example": example}});
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    let parameters = parameters(admin);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
}

fn parameters(admin: Admin) -> Vec<Value> {
    let id = |example: &str| json!({"name": "id", "in": "path", "required": true, "schema": {"type": "string"}, "example": example});
    let query = |name: &str, about: String, schema: Value| json!({"name": name, "in": "query", "description": about, "schema": schema});
    let page = || {
        vec![
            query(
                CURSOR,
                "`next` of the page before.".to_owned(),
                json!({"type": "string", "pattern": "^[0-9]{1,18}$"}),
            ),
            query(
                LIMIT,
                format!("Entries of a page; {ADMIN_PAGE} if left out."),
                json!({"type": "integer", "minimum": 1, "maximum": KEYS_PER_PAGE}),
            ),
        ]
    };
    match admin {
        Admin::ShowKey | Admin::UpdateKey | Admin::RevokeKey => vec![id("key_0123456789abcdef")],
        Admin::ShowTeam | Admin::UpdateTeam => vec![id("team_0123456789abcdef")],
        Admin::CreateKey | Admin::CreateTeam => Vec::new(),
        Admin::ListTeams | Admin::Audit => page(),
        Admin::ListKeys => {
            let [team, owner, revoked] = KEY_FILTERS;
            let name = json!({"type": "string", "minLength": 1, "maxLength": 100});
            let mut all = page();
            all.push(query(team, "Id or name of a team: its keys alone.".to_owned(), name.clone()));
            all.push(query(owner, "The keys of this owner alone.".to_owned(), name));
            all.push(query(revoked, "`true`: those too that were revoked.".to_owned(), json!({"type": "boolean"})));
            all
        }
    }
}
