//! What one configuration says otherwise than another, by name. No value is told: it may be a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::runtime::Tls;
use super::tree::{Node, Value};

/// A digest of everything that was said, by the path of its first two names: `providers.openai`, `server.host`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said(BTreeMap<String, u64>);

/// What is read once, when the program starts.
const AT_START: [&str; 8] = [
    "log.format",
    "log.level",
    "server.admin_addr",
    "server.host",
    "server.port",
    "server.reuse_port",
    "storage.database_url",
    "storage.redis_url",
];

fn digest(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl Said {
    /// `tls`: what the files hold of which the tree only has the names.
    pub fn of(tree: &Node, tls: Option<&Tls>) -> Said {
        let mut said = BTreeMap::new();
        let Value::Map(sections) = &tree.value else { return Said::default() };
        for (name, section) in sections {
            match &section.value {
                Value::Map(members) => {
                    for (member, node) in members {
                        said.insert(format!("{name}.{member}"), digest(node.to_json().to_string()));
                    }
                    // The order of providers is that in which they are tried.
                    let order: Vec<&String> = members.keys().collect();
                    said.insert(name.clone(), digest(order));
                }
                _ => _ = said.insert(name.clone(), digest(section.to_json().to_string())),
            }
        }
        if let Some(tls) = tls {
            said.entry("server.tls".to_owned()).and_modify(|said| *said = digest((*said, tls.digest)));
        }
        Said(said)
    }

    /// A digest of a section and of everything in it.
    pub fn digest_of(&self, section: &str) -> u64 {
        let is_of =
            |path: &str| path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        digest(self.0.iter().filter(|(path, _)| is_of(path)).collect::<Vec<_>>())
    }

    pub fn differs_at(&self, other: &Said, path: &str) -> bool {
        self.0.get(path) != other.0.get(path)
    }

    /// What is not as it was in `before`: that which takes effect at once, and that which waits for the next start.
    pub fn changes_since(&self, before: &Said) -> (Vec<String>, Vec<String>) {
        let paths: BTreeSet<&String> = self.0.keys().chain(before.0.keys()).collect();
        let changed: Vec<&String> = paths.into_iter().filter(|path| self.differs_at(before, path)).collect();
        // Where members of a section are named, the section is not.
        let is_named = |section: &str| {
            changed.iter().any(|path| path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')))
        };
        let told = changed.iter().filter(|path| !is_named(path)).map(|path| (*path).clone());
        told.partition(|path| !AT_START.contains(&path.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tree::yaml;

    fn said(text: &str) -> Said {
        Said::of(&yaml::read("gateway.yaml", text).unwrap(), None)
    }

    #[test]
    fn what_changed_is_named_and_never_quoted() {
        let before = said("server: {port: 1, body_limit_mib: 2}\nproviders: {a: {api_key: one}, b: {api_key: b}}\n");
        let after = said("server: {port: 2, body_limit_mib: 3}\nproviders: {a: {api_key: two}, c: {}}\naliases: {}\n");
        let (now, later) = after.changes_since(&before);
        assert_eq!(now, ["aliases", "providers.a", "providers.b", "providers.c", "server.body_limit_mib"]);
        assert_eq!(later, ["server.port"]);
        assert!(!format!("{after:?}").contains("two"));
    }

    #[test]
    fn the_order_of_providers_is_a_change_and_the_spelling_is_none() {
        let before = said("providers: {a: {api_key: k}, b: {api_key: k}}\n");
        let order = said("providers: {b: {api_key: k}, a: {api_key: k}}\n");
        assert_eq!(order.changes_since(&before).0, ["providers"]);
        let spelling = said("# the same\nproviders:\n  a:\n    api_key: 'k'\n  b: {api_key: k}\n");
        assert_eq!(spelling.changes_since(&before), (vec![], vec![]));
    }
}
