//! The closed set of wire formats.

use serde::{Deserialize, Serialize};

/// A wire format that a client may speak to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// The gateway's own API: `/v1/completions` with `messages`, `/v1/completions/stream`.
    Native,
    /// `/v1/chat/completions` as OpenAI defines it.
    #[serde(rename = "openai_chat")]
    OpenAiChat,
    /// `/v1/messages` as Anthropic defines it.
    AnthropicMessages,
}

impl Dialect {
    /// The name in configuration, logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Dialect::Native => "native",
            Dialect::OpenAiChat => "openai_chat",
            Dialect::AnthropicMessages => "anthropic_messages",
        }
    }
}

/// A wire format that a provider may speak. Every one of them is a client dialect too, so that same-dialect traffic can
/// pass unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderDialect {
    #[serde(rename = "openai_chat")]
    OpenAiChat,
    AnthropicMessages,
}

impl ProviderDialect {
    pub const ALL: [ProviderDialect; 2] = [ProviderDialect::OpenAiChat, ProviderDialect::AnthropicMessages];

    pub fn name(self) -> &'static str {
        Dialect::from(self).name()
    }
}

impl From<ProviderDialect> for Dialect {
    fn from(dialect: ProviderDialect) -> Self {
        match dialect {
            ProviderDialect::OpenAiChat => Dialect::OpenAiChat,
            ProviderDialect::AnthropicMessages => Dialect::AnthropicMessages,
        }
    }
}
