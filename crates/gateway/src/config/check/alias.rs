//! `aliases`: names that lead to providers, through other names or not.

use gateway_core::limits;
use indexmap::IndexMap;

use super::{Checker, is_model_name};
use crate::config::problem::{nearest, suggest};
use crate::config::raw;
use crate::config::runtime::{Alias, AliasTarget, Provider};

impl Checker<'_, '_> {
    /// `names` are those of all providers, also of those that were refused.
    pub(super) fn aliases(
        &mut self,
        said: &IndexMap<String, raw::Alias>,
        providers: &[Provider],
        names: &[String],
    ) -> Vec<Alias> {
        let mut aliases = Vec::new();
        for (name, alias) in said {
            if !is_model_name(name) {
                self.problem(
                    &["aliases", name],
                    "is not the name of a model",
                    "leave out blanks and control characters",
                );
            }
            let list = |checker: &mut Self, field: &str, targets: &[raw::Target]| {
                let (trail, found) = (vec![name.as_str()], Vec::new());
                let mut resolver = Resolver { aliases: said, providers, names, trail, steps: 0, found };
                let mut percent = 0.0;
                for (index, target) in targets.iter().enumerate() {
                    let place = ["aliases", name, field, &index.to_string()];
                    let before = resolver.found.len();
                    if let Err(unresolved) = resolver.resolve(target, 1, &[]) {
                        let (message, hint) = unresolved.describe();
                        checker.problem(&place, &message, hint);
                    }
                    percent += target.canary().unwrap_or_default();
                    if target.canary().is_some() && field != "targets" {
                        checker.problem(&place, "has a `canary`, which only `targets` can have", "leave it out");
                    } else if target.canary().is_some() && resolver.found.len() > before + 1 {
                        let message = "has a `canary` and stands for several targets";
                        checker.problem(&place, message, "name one model");
                    }
                }
                if percent > 100.0 {
                    let message = format!("have canaries for {percent} % of the requests");
                    checker.problem(&["aliases", name, field], &message, "100 are all");
                }
                if resolver.found.len() > limits::TARGETS_PER_PLAN {
                    let message = format!("are more than {} in all", limits::TARGETS_PER_PLAN);
                    checker.problem(&["aliases", name, field], &message, "take some out");
                }
                ranked(resolver.found)
            };
            aliases.push(Alias {
                name: name.clone(),
                strategy: alias.strategy,
                affinity: alias.affinity,
                hedge: alias.hedge,
                targets: list(self, "targets", &alias.targets),
                on_context_overflow: list(self, "on_context_overflow", &alias.on_context_overflow),
                on_content_filter: list(self, "on_content_filter", &alias.on_content_filter),
            });
        }
        aliases
    }
}

/// Numbers the priorities: those of the outermost alias count first, then those of the alias that it names, and so on.
fn ranked(found: Vec<(Vec<u32>, AliasTarget)>) -> Vec<AliasTarget> {
    let mut ranks: Vec<Vec<u32>> = found.iter().map(|(path, _)| path.clone()).collect();
    ranks.sort();
    ranks.dedup();
    let numbered = found.into_iter().map(|(path, target)| {
        let rank = ranks.binary_search(&path).unwrap_or_default();
        AliasTarget { priority: u32::try_from(rank).unwrap_or(u32::MAX), ..target }
    });
    numbered.collect()
}

/// Follows a target through other aliases to providers.
struct Resolver<'a> {
    aliases: &'a IndexMap<String, raw::Alias>,
    providers: &'a [Provider],
    /// Of all providers, also of those that were refused.
    names: &'a [String],
    /// The aliases that lead here, the first one first.
    trail: Vec<&'a str>,
    steps: usize,
    /// With the priorities on the way to it, the outermost first, without zeros at the end.
    found: Vec<(Vec<u32>, AliasTarget)>,
}

enum Unresolved {
    /// The aliases of the circle.
    Circle(String),
    TooLong,
    Unknown {
        message: String,
        hint: String,
    },
}

impl Unresolved {
    /// A message and a hint.
    fn describe(self) -> (String, String) {
        match self {
            Unresolved::Circle(circle) => {
                (format!("goes round in a circle: {circle}"), "let one of them name a model".into())
            }
            Unresolved::TooLong => ("leads through too many aliases".into(), "name the models themselves".into()),
            Unresolved::Unknown { message, hint } => (message, hint),
        }
    }
}

impl<'a> Resolver<'a> {
    /// Aliases within aliases multiply; this many steps are more than any plan needs.
    const STEPS: usize = 1000;

    fn resolve(&mut self, target: &'a raw::Target, factor: u32, path: &[u32]) -> Result<(), Unresolved> {
        self.steps += 1;
        if self.steps > Self::STEPS {
            return Err(Unresolved::TooLong);
        }
        let name = target.model();
        let weight = factor.saturating_mul(target.weight());
        let path = [path, &[target.priority()]].concat();
        // An alias may have the name of the model that it stands for: its own name means the model.
        let own = self.trail.last() == Some(&name);
        let Some((name, alias)) = self.aliases.get_key_value(name).filter(|_| !own) else {
            let (provider, model) = self.provider_and_model(name)?;
            let kept = path.iter().rposition(|&priority| priority != 0).map_or(0, |last| last + 1);
            let (priority, canary) = (0, target.canary());
            self.found.push((path[..kept].to_vec(), AliasTarget { provider, model, weight, priority, canary }));
            return Ok(());
        };
        if self.trail.contains(&name.as_str()) {
            return Err(Unresolved::Circle(format!("{} -> {name}", self.trail.join(" -> "))));
        }
        self.trail.push(name);
        for target in &alias.targets {
            match self.resolve(target, weight, &path) {
                // It is reported where it is written.
                Ok(()) | Err(Unresolved::Unknown { .. }) => {}
                Err(endless) => return Err(endless),
            }
        }
        self.trail.pop();
        Ok(())
    }

    fn provider_and_model(&self, name: &str) -> Result<(String, String), Unresolved> {
        let split = name.split_once('/').filter(|(_, model)| !model.is_empty());
        if let Some((provider, model)) = split
            && self.names.iter().any(|known| known == provider)
        {
            return Ok((provider.to_owned(), model.to_owned()));
        }
        let listed = self.providers.iter().find(|provider| provider.lists(name));
        if let Some(provider) = listed.or_else(|| self.providers.iter().find(|provider| provider.serves(name))) {
            return Ok((provider.name.clone(), name.to_owned()));
        }
        let providers: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let (message, hint) = match split {
            Some((provider, _)) => {
                (format!("{provider:?} is not a configured provider"), suggest(provider, &providers))
            }
            None => {
                let aliases = self.aliases.keys().map(String::as_str).filter(|alias| self.trail.last() != Some(alias));
                let hint = match nearest(name, aliases) {
                    Some(near) => format!("did you mean the alias `{near}`?"),
                    None => format!("write provider/model, with one of: {}", providers.join(", ")),
                };
                (format!("{name:?} is no model of a configured provider, nor an alias"), hint)
            }
        };
        Err(Unresolved::Unknown { message, hint })
    }
}
