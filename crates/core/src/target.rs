//! Where a request may go.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::dialect::ProviderDialect;

/// One model at one provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    pub provider: Arc<str>,
    /// The name by which the provider knows the model.
    pub model: Arc<str>,
    pub dialect: ProviderDialect,
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// How candidates are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    Fallback,
    RoundRobin,
    Cost,
    Latency,
    Weighted,
    LeastBusy,
}

impl Strategy {
    pub const ALL: [Strategy; 6] = [
        Strategy::Fallback,
        Strategy::RoundRobin,
        Strategy::Cost,
        Strategy::Latency,
        Strategy::Weighted,
        Strategy::LeastBusy,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Strategy::Fallback => "fallback",
            Strategy::RoundRobin => "round_robin",
            Strategy::Cost => "cost",
            Strategy::Latency => "latency",
            Strategy::Weighted => "weighted",
            Strategy::LeastBusy => "least_busy",
        }
    }

    pub fn parse(name: &str) -> Option<Strategy> {
        Strategy::ALL.into_iter().find(|strategy| strategy.name() == name)
    }
}

/// What a model or provider can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    Streaming,
    Tools,
    Vision,
    Documents,
    JsonSchema,
    Reasoning,
    Embeddings,
}

impl Capability {
    pub const ALL: [Capability; 7] = [
        Capability::Streaming,
        Capability::Tools,
        Capability::Vision,
        Capability::Documents,
        Capability::JsonSchema,
        Capability::Reasoning,
        Capability::Embeddings,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Capability::Streaming => "streaming",
            Capability::Tools => "tools",
            Capability::Vision => "vision",
            Capability::Documents => "documents",
            Capability::JsonSchema => "json_schema",
            Capability::Reasoning => "reasoning",
            Capability::Embeddings => "embeddings",
        }
    }

    pub fn parse(name: &str) -> Option<Capability> {
        Capability::ALL.into_iter().find(|capability| capability.name() == name)
    }
}

/// A set of capabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u8);

impl Capabilities {
    pub fn with(self, capability: Capability) -> Self {
        Capabilities(self.0 | 1 << capability as u8)
    }

    pub fn has(self, capability: Capability) -> bool {
        self.0 & 1 << capability as u8 != 0
    }

    /// Those of `needed` that are not here.
    pub fn missing(self, needed: Capabilities) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |&capability| needed.has(capability) && !self.has(capability))
    }

    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |&capability| self.has(capability))
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Capabilities::default(), Capabilities::with)
    }
}
