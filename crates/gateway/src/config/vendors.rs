//! Vendors are rows of `providers/providers.yaml`.

use gateway_core::dialect::ProviderDialect;
use gateway_core::target::Capability;
use indexmap::IndexMap;
use serde::Deserialize;

use super::problem::{Origin, Problem, Problems};
use super::raw::{Auth, Paths, Provider};
use super::tree::yaml;

/// A provider that needs only a key. The file says what each field means.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vendor {
    pub name: String,
    pub display_name: String,
    pub dialect: ProviderDialect,
    pub base_url: String,
    pub key_variable: String,
    pub base_url_variable: String,
    pub default_model_variable: String,
    pub auth: Auth,
    pub paths: Paths,
    #[serde(default)]
    pub headers: IndexMap<String, String>,
    #[serde(default)]
    pub model_prefixes: Vec<String>,
    pub default_model: String,
    pub capabilities: Vec<Capability>,
}

impl Vendor {
    /// What an operator would have to write for this vendor, were it not known.
    pub fn as_provider(&self) -> Provider {
        Provider {
            display_name: Some(self.display_name.clone()),
            base_url: Some(self.base_url.clone()),
            default_model: Some(self.default_model.clone()),
            capabilities: Some(self.capabilities.clone()),
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

/// All rows. They are part of the program: an error here is a mistake of ours, which a test finds.
pub fn all() -> Result<Vec<Vendor>, Problems> {
    let rows = yaml::read("providers.yaml", include_str!("../providers/providers.yaml"))?;
    serde_json::from_value(rows.to_json())
        .map_err(|error| Problem::new(Origin::Default, format!("providers.yaml: {error}")).into())
}
