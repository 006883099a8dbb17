//! Virtual keys and teams of the file.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gateway_core::access::{KeyHash, Scope, Team, VirtualKey};
use indexmap::IndexMap;

use super::Checker;
use crate::config::problem::suggest;
use crate::config::raw;
use crate::config::runtime::Alias;
use crate::keys::{Invalid, KeySettings, Second, TeamSettings};

/// What scopes may name.
struct Names<'a> {
    aliases: Vec<&'a str>,
    providers: &'a [String],
}

impl Checker<'_, '_> {
    pub(super) fn keys(
        &mut self,
        keys: &[raw::Key],
        teams: &IndexMap<String, raw::Team>,
        aliases: &[Alias],
        providers: &[String],
    ) -> Vec<Arc<VirtualKey>> {
        let names = Names { aliases: aliases.iter().map(|alias| alias.name.as_str()).collect(), providers };
        let teams: BTreeMap<&str, (Arc<Team>, Scope)> =
            teams.iter().map(|(name, team)| (name.as_str(), self.team(name, team, &names))).collect();
        let mut first: HashMap<(&str, &str), usize> = HashMap::new();
        let mut made = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let item = index.to_string();
            for (field, value) in [("name", &key.name), ("hash", &key.hash)] {
                if let Some(first) = first.insert((field, value), index) {
                    let message = format!("is the same as keys[{first}].{field}");
                    self.problem(&["keys", &item, field], &message, "give each key its own");
                }
            }
            made.extend(self.key(&item, key, &teams, &names).map(Arc::new));
        }
        made
    }

    fn key(
        &mut self,
        item: &str,
        key: &raw::Key,
        teams: &BTreeMap<&str, (Arc<Team>, Scope)>,
        names: &Names<'_>,
    ) -> Option<VirtualKey> {
        let at = |field| ["keys", item, field];
        let hash = hash(&key.hash);
        if hash.is_none() {
            let hint = "`printf %s KEY | sha256sum` prints them";
            self.problem(&at("hash"), "is not `sha256:` and 64 hexadecimal digits", hint);
        }
        let expires = key.expires.as_deref().map(Second::parse);
        if expires == Some(None) {
            self.problem(&at("expires"), "is not a time", "write it as 2027-01-31T00:00:00Z");
        }
        let team = key.team.as_deref().map(|name| teams.get(name));
        if team == Some(None) {
            let known: Vec<&str> = teams.keys().copied().collect();
            let hint = suggest(key.team.as_deref().unwrap_or_default(), &known);
            self.problem(&at("team"), "is none of `teams`", hint);
        }
        let settings = KeySettings {
            team: key.team.clone(),
            owner: key.owner.clone(),
            tags: key.tags.clone(),
            models: key.models.clone(),
            providers: key.providers.clone(),
            routes: key.routes.clone(),
            limits: key.limits.clone().unwrap_or_default(),
            cache: key.cache,
            expires: expires.flatten(),
            ..KeySettings::named(&key.name)
        };
        self.scope(&["keys", item], &settings.scope(), names);
        self.invalid(&["keys", item], settings.problems());
        let team = team.flatten().map(|(team, scope)| (team.clone(), scope));
        Some(settings.key(format!("file:{}", key.name).into(), hash?, team))
    }

    fn team(&mut self, name: &str, team: &raw::Team, names: &Names<'_>) -> (Arc<Team>, Scope) {
        let settings = TeamSettings {
            limits: team.limits.clone(),
            models: team.models.clone(),
            providers: team.providers.clone(),
            routes: team.routes.clone(),
            ..TeamSettings::named(name)
        };
        self.scope(&["teams", name], &settings.scope(), names);
        self.invalid(&["teams", name], settings.problems());
        (Arc::new(settings.team(format!("file:{name}").into())), settings.scope())
    }

    /// Names in a file are those of the same file.
    fn scope(&mut self, at: &[&str], scope: &Scope, names: &Names<'_>) {
        // The sandbox has other providers and no aliases.
        if self.situation.sandbox {
            return;
        }
        for (number, model) in scope.models.iter().flatten().enumerate() {
            let number = number.to_string();
            let provider = model.split_once('/').map(|(provider, _)| provider);
            let known = names.aliases.contains(&model.as_str())
                || provider.is_some_and(|name| names.providers.iter().any(|provider| provider == name));
            if !known {
                let message = format!("{model:?} is neither an alias nor provider/model");
                self.problem(&[at, &["models", &number]].concat(), &message, suggest(model, &names.aliases));
            }
        }
        let providers: Vec<&str> = names.providers.iter().map(String::as_str).collect();
        for (number, provider) in scope.providers.iter().flatten().enumerate() {
            let number = number.to_string();
            if !providers.contains(&provider.as_str()) {
                let message = format!("there is no provider {provider:?}");
                self.problem(&[at, &["providers", &number]].concat(), &message, suggest(provider, &providers));
            }
        }
    }

    fn invalid(&mut self, at: &[&str], problems: Vec<Invalid>) {
        for problem in problems {
            let path: Vec<&str> = at.iter().copied().chain(problem.path.iter().map(String::as_str)).collect();
            self.plain_problem(&path, &problem.message);
        }
    }
}

fn hash(text: &str) -> Option<KeyHash> {
    let digits = text.strip_prefix("sha256:")?;
    if digits.len() != 64 || !digits.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, index) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&digits[index..index + 2], 16).ok()?;
    }
    Some(KeyHash(hash))
}
