//! What is said of a key or a team, read from JSON: all that is wrong with it is told at once, each with its field.

use gateway_core::limits::{KEY_FIELDS_TRIED, KEY_PROBLEMS_TOLD};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{Invalid, KeySettings, TeamSettings};
use crate::settle::shortened;

/// What is read here.
pub trait Settings: Serialize + DeserializeOwned {
    /// As little as may be said.
    fn least() -> Self;
    fn problems(&self) -> Vec<Invalid>;
}

impl Settings for KeySettings {
    fn least() -> Self {
        KeySettings::named("-")
    }

    fn problems(&self) -> Vec<Invalid> {
        KeySettings::problems(self)
    }
}

impl Settings for TeamSettings {
    fn least() -> Self {
        TeamSettings::named("-")
    }

    fn problems(&self) -> Vec<Invalid> {
        TeamSettings::problems(self)
    }
}

/// All of it.
pub fn whole<T: Settings>(said: Map<String, Value>) -> Result<T, Vec<Invalid>> {
    let mut missing = Vec::new();
    if !said.contains_key("name") {
        missing.push(Invalid { path: vec!["name".to_owned()], message: "is missing".to_owned() });
    }
    let said = Value::Object(said);
    read(said.clone(), &said, put).map_err(|problems| [missing, problems].concat())
}

/// What is there, with what is said merged into it as RFC 7396 has it: `null` takes away.
pub fn merged<T: Settings>(there: &T, said: &Map<String, Value>) -> Result<T, Vec<Invalid>> {
    let mut after = serde_json::to_value(there).unwrap_or_default();
    for (name, value) in said {
        merge(&mut after, name, value);
    }
    read(after, &Value::Object(said.clone()), merge)
}

fn read<T: Settings>(after: Value, said: &Value, set: Set) -> Result<T, Vec<Invalid>> {
    if let Ok(settings) = serde_json::from_value::<T>(after) {
        let mut problems = settings.problems();
        let written = serde_json::to_value(&settings).unwrap_or_default();
        lists_for_objects(&mut Vec::new(), said, &written, &mut problems);
        return if problems.is_empty() { Ok(settings) } else { Err(problems) };
    }
    let mut trial =
        Trial { least: serde_json::to_value(T::least()).unwrap_or_default(), set, tried: 0, found: Vec::new() };
    trial.members::<T>(&mut Vec::new(), said);
    Err(trial.found)
}

/// Serde takes a list for an object, its entries for the members in their order; nobody who writes one means that.
fn lists_for_objects(path: &mut Vec<String>, said: &Value, written: &Value, found: &mut Vec<Invalid>) {
    for (name, value) in said.as_object().into_iter().flatten() {
        path.push(name.clone());
        if value.is_array() && written[name].is_object() {
            found.push(Invalid { path: path.clone(), message: "is refused: a list, expected an object".to_owned() });
        }
        lists_for_objects(path, value, &written[name], found);
        path.pop();
    }
}

/// How a member of an object gets a value.
type Set = fn(&mut Value, &str, &Value);

fn put(object: &mut Value, name: &str, value: &Value) {
    object[name] = value.clone();
}

fn merge(object: &mut Value, name: &str, value: &Value) {
    if !object.is_object() {
        *object = json!({});
    }
    match (value, object.as_object_mut()) {
        (Value::Null, Some(object)) => _ = object.shift_remove(name),
        (Value::Object(members), Some(object)) => {
            let inside = object.entry(name).or_insert_with(|| json!({}));
            if !inside.is_object() {
                *inside = json!({});
            }
            members.iter().for_each(|(name, value)| merge(inside, name, value));
        }
        _ => object[name] = value.clone(),
    }
}

/// Finds out which fields are at fault: each is tried alone, on settings that say as little as may be.
struct Trial {
    least: Value,
    set: Set,
    tried: usize,
    found: Vec<Invalid>,
}

impl Trial {
    fn members<T: Settings>(&mut self, path: &mut Vec<String>, object: &Value) {
        for (name, value) in object.as_object().into_iter().flatten() {
            if self.tried >= KEY_FIELDS_TRIED || self.found.len() >= KEY_PROBLEMS_TOLD {
                return;
            }
            path.push(shortened(name, 100));
            let has_members = value.as_object().is_some_and(|members| !members.is_empty());
            if has_members && self.alone::<T>(path, &json!({})).is_ok() {
                self.members::<T>(path, value);
            } else {
                match self.alone::<T>(path, value) {
                    Ok(settings) => self.found.extend(settings.problems()),
                    Err(error) => {
                        let message = format!("is refused: {}", shortened(&error.to_string(), 300));
                        self.found.push(Invalid { path: path.clone(), message });
                    }
                }
            }
            path.pop();
        }
    }

    fn alone<T: Settings>(&mut self, path: &[String], value: &Value) -> serde_json::Result<T> {
        self.tried += 1;
        let mut said = self.least.clone();
        if let Some((last, above)) = path.split_last() {
            let mut at = &mut said;
            for name in above {
                at = &mut at[name.as_str()];
            }
            (self.set)(at, last, value);
        }
        serde_json::from_value(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Second;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn told(problems: Vec<Invalid>) -> Vec<String> {
        problems.iter().map(|problem| format!("{} {}", problem.field(), problem.message)).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_field() {
        let said = json!({
            "cache": "yes", "tags": [7], "hash": "x", "owner": "", "team": "search", "expires": "tomorrow",
            "limits": {"requests_per_minute": -1, "concurrent": 0, "models": {"fast": {"tokens": 1}}},
        });
        let problems = told(whole::<KeySettings>(object(said)).unwrap_err());
        for (problem, begins) in problems.iter().zip([
            "name is missing",
            "cache is refused: invalid type: string \"yes\", expected a boolean",
            "tags is refused: invalid type",
            "hash is refused: unknown field `hash`",
            "owner is empty",
            "expires is refused: is not a time as 2027-",
            "limits.requests_per_minute is refused: invalid",
            "limits.concurrent is not from 1 to",
            "limits.models.fast.tokens is refused: unknown field",
        ]) {
            assert!(problem.starts_with(begins), "{problem}, and not {begins}");
        }
        assert_eq!(problems.len(), 9, "{problems:?}");
        assert_eq!(told(whole::<TeamSettings>(Map::new()).unwrap_err()), ["name is missing"]);
        let many: Map<String, Value> = (0..100_000).map(|n| (format!("field{n}"), Value::Null)).collect();
        assert_eq!(whole::<KeySettings>(many).unwrap_err().len(), KEY_PROBLEMS_TOLD + 1);
    }

    #[test]
    fn a_change_says_what_changes_and_null_takes_away() {
        let there: KeySettings = whole(object(json!({
            "name": "web", "owner": "ada", "models": ["fast"], "cache": false, "expires": "2027-01-31T00:00:00Z",
            "limits": {"requests_per_minute": 5, "concurrent": 2, "models": {"fast": {"concurrent": 1}}},
        })))
        .unwrap();
        assert_eq!(merged(&there, &Map::new()).unwrap(), there);
        let said = json!({
            "owner": null, "cache": null, "models": null, "tags": ["a"], "expires": "2026-01-31T00:00:00Z",
            "limits": {"concurrent": null, "tokens_per_minute": 9, "models": {"fast": null, "slow": {"concurrent": 3}}},
        });
        let after = merged(&there, &object(said)).unwrap();
        assert_eq!((after.name.as_str(), &after.owner, after.cache, &after.models), ("web", &None, true, &None));
        assert_eq!((after.tags.len(), after.expires), (1, Second::parse("2026-01-31T00:00:00Z")));
        assert_eq!((after.limits.requests_per_minute, after.limits.concurrent), (Some(5), None));
        assert_eq!(after.limits.models.keys().collect::<Vec<_>>(), ["slow"]);
        for (field, value) in [
            ("cache", json!({})),
            ("name", json!({})),
            ("limits", json!([])),
            ("limits", json!({"models": {"a": [1]}})),
            ("tags", json!({})),
        ] {
            let problems = told(merged(&there, &object(json!({field: value}))).unwrap_err());
            assert!(problems.len() == 1 && problems[0].starts_with(field), "{problems:?}");
        }
        let wrong = json!({"name": null, "limits": {"models": {"fast": {"concurrent": "x"}}}, "tags": {"a": 1}});
        let problems = told(merged(&there, &object(wrong)).unwrap_err());
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("name is refused: missing field"), "{problems:?}");
        assert!(problems[1].starts_with("limits.models.fast.concurrent is refused"), "{problems:?}");
        assert!(problems[2].starts_with("tags is refused"), "{problems:?}");
    }
}
