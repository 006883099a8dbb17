//! Vendors are rows of `providers/providers.yaml`.

use gateway_core::dialect::ProviderDialect;
use gateway_core::target::Capability;
use indexmap::IndexMap;
use serde::Deserialize;

use super::problem::{Origin, Problem, Problems};
use super::raw::{Auth, Paths, Provider, Quirks};
use super::tree::yaml;

/// A provider of which an operator need only say what is his own. The file says what each field means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vendor {
    pub name: String,
    pub display_name: String,
    pub dialect: ProviderDialect,
    pub model_table: Option<String>,
    pub base_url: Option<String>,
    pub base_url_example: Option<String>,
    pub key_variable: Option<String>,
    pub base_url_variable: Option<String>,
    pub default_model_variable: Option<String>,
    pub auth: Auth,
    pub paths: Paths,
    #[serde(default)]
    pub query: IndexMap<String, String>,
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    #[serde(default)]
    pub model_prefixes: Vec<String>,
    pub default_model: Option<String>,
    pub capabilities: Vec<Capability>,
    #[serde(default)]
    pub quirks: Quirks,
}

impl Vendor {
    /// Whether both take their key from the same variable: two APIs of one vendor.
    pub fn shares_key_with(&self, other: &Vendor) -> bool {
        self.key_variable.is_some() && self.key_variable == other.key_variable
    }

    /// Variables beside the key's, each with the field of the provider that it sets.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &'static str)> {
        let base_url = self.base_url_variable.as_deref().map(|name| (name, "base_url"));
        let default_model = self.default_model_variable.as_deref().map(|name| (name, "default_model"));
        base_url.into_iter().chain(default_model)
    }

    /// All its variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.key_variable.as_deref().into_iter().chain(self.settings().map(|(name, _)| name))
    }

    /// What an operator would have to write for this vendor, were it not known.
    pub fn as_provider(&self) -> Provider {
        Provider {
            display_name: Some(self.display_name.clone()),
            base_url: self.base_url.clone(),
            query: self.query.clone(),
            model_prefixes: Some(self.model_prefixes.clone()).filter(|prefixes| !prefixes.is_empty()),
            default_model: self.default_model.clone(),
            capabilities: Some(self.capabilities.clone()),
            quirks: self.quirks.clone(),
            ..self.pattern()
        }
    }

    /// What any provider of this dialect has in common with the vendor that made it.
    pub fn pattern(&self) -> Provider {
        let said_by_dialect = |capability: &Capability| *capability != Capability::Embeddings;
        Provider {
            dialect: Some(self.dialect),
            auth: Some(self.auth.clone()),
            paths: self.paths.clone(),
            headers: self.headers.clone(),
            capabilities: Some(self.capabilities.iter().copied().filter(said_by_dialect).collect()),
            ..Provider::default()
        }
    }
}

/// The vendors that made a dialect: of each, the first row.
pub fn makers(vendors: &[Vendor]) -> impl Iterator<Item = &Vendor> {
    let is_first = |at: usize, dialect| vendors[..at].iter().all(|earlier| earlier.dialect != dialect);
    vendors.iter().enumerate().filter(move |(at, vendor)| is_first(*at, vendor.dialect)).map(|(_, vendor)| vendor)
}

/// All rows. They are part of the program: an error here is a mistake of ours, which a test finds.
pub fn all() -> Result<Vec<Vendor>, Problems> {
    parse(ROWS)
}

pub const ROWS: &str = include_str!("../providers/providers.yaml");

pub fn parse(rows: &str) -> Result<Vec<Vendor>, Problems> {
    let rows = yaml::read("providers.yaml", rows)?;
    serde_json::from_value(rows.to_json())
        .map_err(|error| Problem::new(Origin::Default, format!("providers.yaml: {error}")).into())
}
