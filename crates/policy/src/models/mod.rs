//! What is publicly known of models: price, sizes, abilities.
//!
//! Two data files are in the binary: `data/models.json`, rebuilt by `scripts/update-models.py`, and `data/models-extra.json`,
//! written by hand, for what the first cannot say. docs/models.md tells where their figures come from. A model that is in
//! neither works all the same; it only has no price.

mod near;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use foldhash::{HashMap, HashMapExt};
use gateway_core::target::{Capabilities, Capability};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::pricing::Price;

/// What is known of one model of one vendor. `None` is unknown: not zero, and not "no".
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelFacts {
    /// The name under which the vendor lists it.
    pub name: &'static str,
    pub price: Option<Price>,
    /// In tokens.
    pub context_window: Option<u64>,
    /// In tokens.
    pub max_output: Option<u64>,
    pub capabilities: Option<Capabilities>,
    /// The vendor has announced its end, or it has come.
    pub deprecated: bool,
}

impl ModelFacts {
    /// Is it known to think before it speaks?
    pub fn reasoning(&self) -> bool {
        self.capabilities.is_some_and(|capabilities| capabilities.has(Capability::Reasoning))
    }
}

/// Facts by vendor and model.
#[derive(Debug)]
pub struct ModelTable {
    /// In the order of the file: the makers of models before those that resell them.
    vendors: Vec<Vendor>,
    source: Source<'static>,
}

#[derive(Debug)]
struct Vendor {
    name: &'static str,
    facts: Vec<ModelFacts>,
    /// Lower-case names to places in `facts`.
    exact: HashMap<Cow<'static, str>, usize>,
    /// Longest first.
    prefixes: Vec<(&'static str, usize)>,
}

/// Where the prices come from.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Source<'a> {
    #[serde(rename = "source")]
    pub url: &'a str,
    pub version: &'a str,
    pub licence: &'a str,
    /// The day whose prices they are.
    pub date: &'a str,
    /// Of the file of the package from which they were read.
    pub sha256: &'a str,
}

impl ModelTable {
    /// The table in this binary. To be called once, at start: it takes milliseconds.
    pub fn bundled() -> Result<ModelTable, InvalidTable> {
        ModelTable::parse(include_str!("../../data/models.json"), include_str!("../../data/models-extra.json"))
    }

    fn parse(models: &'static str, extra: &'static str) -> Result<ModelTable, InvalidTable> {
        let file: File = serde_json::from_str(models).map_err(|error| InvalidTable { file: "models.json", error })?;
        let extra: Vec<ExtraRow> =
            serde_json::from_str(extra).map_err(|error| InvalidTable { file: "models-extra.json", error })?;
        let vendors = file.vendors.into_iter().map(|block| Vendor::new(block.vendor, block.models)).collect();
        let mut table = ModelTable { vendors, source: file.source };
        for row in extra {
            if let Some(vendor) = table.vendors.iter_mut().find(|vendor| vendor.name == row.vendor) {
                vendor.add(row);
            }
        }
        Ok(table)
    }

    pub fn source(&self) -> Source<'static> {
        self.source
    }

    pub fn vendors(&self) -> impl Iterator<Item = &str> {
        self.vendors.iter().map(|vendor| vendor.name)
    }

    /// The facts of a model under any name that the vendor has for it: its own, an alias, a dated snapshot
    /// (`gpt-4o-2024-08-06`, `claude-opus-4-5-20251101`) or one that begins as a family of models does.
    pub fn find(&self, vendor: &str, model: &str) -> Option<&ModelFacts> {
        self.vendor(vendor)?.find(model)
    }

    /// The names of a vendor's models, for listings: those that chat (see [`chats`]), without those whose end is announced.
    pub fn names(&self, vendor: &str) -> impl Iterator<Item = &str> {
        self.vendor(vendor).into_iter().flat_map(Vendor::current).map(|facts| facts.name)
    }

    /// Up to three models of `vendors` whose names are near to one that nobody has, as `vendor/model`, nearest first.
    /// Takes some milliseconds at most, whatever the name.
    pub fn near(&self, model: &str, vendors: &[&str]) -> Vec<String> {
        let known = self.vendors.iter().filter(|vendor| vendors.contains(&vendor.name));
        near::nearest(model, known.flat_map(|vendor| vendor.current().map(|facts| (vendor.name, facts.name))))
    }

    fn vendor(&self, name: &str) -> Option<&Vendor> {
        self.vendors.iter().find(|vendor| vendor.name == name)
    }
}

impl Vendor {
    fn new(name: &'static str, rows: Vec<Row<'static>>) -> Vendor {
        let mut exact = HashMap::with_capacity(rows.len() * 2);
        let mut prefixes = Vec::new();
        let mut facts = Vec::with_capacity(rows.len());
        for (place, row) in rows.into_iter().enumerate() {
            // Where two models claim a name, the earlier one has it, as in the package.
            exact.entry(lower_case(row.model)).or_insert(place);
            for alias in row.names {
                exact.entry(Cow::Borrowed(alias)).or_insert(place);
            }
            prefixes.extend(row.prefixes.into_iter().map(|prefix| (prefix, place)));
            facts.push(ModelFacts {
                name: row.model,
                price: Some(row.price),
                context_window: row.context,
                deprecated: row.deprecated,
                ..ModelFacts::default()
            });
        }
        prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Vendor { name, facts, exact, prefixes }
    }

    /// Puts a row of the second file over what the first one says. It holds for that name and its snapshots alone: other
    /// aliases of the model may have other sizes.
    fn add(&mut self, row: ExtraRow<'static>) {
        let name = lower_case(row.model);
        let base = self.exact.get(&name).and_then(|&place| self.facts.get(place)).cloned().unwrap_or_default();
        let facts = ModelFacts {
            name: row.model,
            price: base.price,
            context_window: row.context.or(base.context_window),
            max_output: row.max_output.or(base.max_output),
            capabilities: row.capabilities.map(Capabilities::from_iter).or(base.capabilities),
            deprecated: row.deprecated || base.deprecated,
        };
        self.exact.insert(name, self.facts.len());
        self.facts.push(facts);
    }

    fn find(&self, model: &str) -> Option<&ModelFacts> {
        let model = lower_case(model);
        let exact = |name: &str| self.exact.get(name);
        let place = exact(&model)
            .or_else(|| exact(snapshot_of(&model)?))
            .or_else(|| self.prefixes.iter().find(|(prefix, _)| model.starts_with(prefix)).map(|(_, place)| place))?;
        self.facts.get(*place)
    }

    fn current(&self) -> impl Iterator<Item = &ModelFacts> {
        let listed = |&(place, facts): &(usize, &ModelFacts)| self.exact.get(&lower_case(facts.name)) == Some(&place);
        self.facts
            .iter()
            .enumerate()
            .filter(listed)
            .map(|(_, facts)| facts)
            .filter(|facts| !facts.deprecated && chats(facts.name))
    }
}

/// Whether a name of the table is one that a chat request may carry. It is not
/// - if it is a pattern of fine-tuned models, which have names of their own: `ft:...`, `....ft-`, anything that ends in `-`;
/// - if one of its words names another use: pictures, speech, vectors, live connections, moderation;
/// - if one of its words names a model that only continues a text.
///
/// Words are what stands between signs. The rule is for listings and suggestions alone: any name may be asked for.
fn chats(name: &str) -> bool {
    const OTHER_USES: [&str; 10] =
        ["embed", "embedding", "embeddings", "image", "live", "moderation", "realtime", "transcribe", "tts", "whisper"];
    const CONTINUE_TEXT: [&str; 4] = ["ada", "babbage", "curie", "davinci"];
    let pattern = name.starts_with("ft:") || name.contains(".ft-") || name.ends_with('-');
    let word = |word: &str| OTHER_USES.iter().chain(&CONTINUE_TEXT).any(|not| word.eq_ignore_ascii_case(not));
    !pattern && !name.split(|c: char| !c.is_alphanumeric()).any(word)
}

/// Vendors' names differ in case only by mistake.
fn lower_case(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// The model of which `name` is a dated or numbered snapshot: `-2024-08-06`, `-20251101`, `@20251101`, `-001`.
/// `scripts/update-models.py` has the same rule.
fn snapshot_of(name: &str) -> Option<&str> {
    const ENDINGS: [&str; 4] = ["-20##-##-##", "-20######", "@20######", "-0##"];
    let fits = |ending: &str, pattern: &str| {
        std::iter::zip(ending.bytes(), pattern.bytes()).all(|(byte, wanted)| match wanted {
            b'#' => byte.is_ascii_digit(),
            _ => byte == wanted,
        })
    };
    ENDINGS.into_iter().find_map(|pattern| {
        let (model, ending) = name.split_at_checked(name.len().checked_sub(pattern.len())?)?;
        fits(ending, pattern).then_some(model)
    })
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    source: Source<'a>,
    #[serde(borrow)]
    vendors: Vec<Block<'a>>,
}

#[derive(Deserialize)]
struct Block<'a> {
    vendor: &'a str,
    #[serde(borrow)]
    models: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    model: &'a str,
    #[serde(borrow, default)]
    names: Vec<&'a str>,
    #[serde(borrow, default)]
    prefixes: Vec<&'a str>,
    context: Option<u64>,
    #[serde(default)]
    deprecated: bool,
    price: Price,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtraRow<'a> {
    vendor: &'a str,
    model: &'a str,
    context: Option<u64>,
    max_output: Option<u64>,
    capabilities: Option<Vec<Capability>>,
    #[serde(default)]
    deprecated: bool,
    /// For those who review the file: pages that say so, and when they were read.
    #[serde(rename = "source")]
    _source: IgnoredAny,
    #[serde(rename = "date")]
    _date: IgnoredAny,
}

/// A data file in the binary cannot be read: the build is broken.
#[derive(Debug)]
pub struct InvalidTable {
    file: &'static str,
    error: serde_json::Error,
}

impl fmt::Display for InvalidTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the bundled {}: {}", self.file, self.error)
    }
}

impl std::error::Error for InvalidTable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}
