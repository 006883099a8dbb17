//! The dialects of clients, written here by hand: what tests the gateway must not share its mistakes.

use serde_json::{Value, json};

use super::Answer;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Native,
    OpenAi,
    Anthropic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    OpenAi,
    Anthropic,
}

/// One way through the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) client: Client,
    pub(crate) provider: Provider,
    pub(crate) streamed: bool,
}

/// All twelve.
pub(crate) fn paths() -> impl Iterator<Item = Path> {
    Client::ALL.into_iter().flat_map(|client| {
        Provider::ALL.into_iter().flat_map(move |provider| {
            [false, true].into_iter().map(move |streamed| Path { client, provider, streamed })
        })
    })
}

impl Path {
    pub(crate) fn same_dialect(self) -> bool {
        matches!(
            (self.client, self.provider),
            (Client::OpenAi, Provider::OpenAi) | (Client::Anthropic, Provider::Anthropic)
        )
    }
}

impl Provider {
    pub(crate) const ALL: [Provider; 2] = [Provider::OpenAi, Provider::Anthropic];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Provider::OpenAi => "openai",
            Provider::Anthropic => "anthropic",
        }
    }

    pub(crate) fn other(self) -> Provider {
        match self {
            Provider::OpenAi => Provider::Anthropic,
            Provider::Anthropic => Provider::OpenAi,
        }
    }
}

/// What an answer says.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    /// It ended as a good answer does.
    pub(crate) done: bool,
    /// The first error event of a stream.
    pub(crate) error: Option<Value>,
}

impl Client {
    pub(crate) const ALL: [Client; 3] = [Client::Native, Client::OpenAi, Client::Anthropic];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Client::Native => "/v1/completions",
            Client::OpenAi => "/v1/chat/completions",
            Client::Anthropic => "/v1/messages",
        }
    }

    /// The name in log lines.
    pub(crate) fn dialect(self) -> &'static str {
        match self {
            Client::Native => "native",
            Client::OpenAi => "openai_chat",
            Client::Anthropic => "anthropic_messages",
        }
    }

    pub(crate) fn request(self, model: &str, prompt: &str, streamed: bool) -> Value {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
        if streamed {
            body["stream"] = true.into();
        }
        if self == Client::Anthropic {
            body["max_tokens"] = 1000.into();
        }
        body
    }

    pub(crate) fn said(self, answer: &Answer, streamed: bool) -> Said {
        if streamed { self.said_in_events(&answer.text()) } else { self.said_at_once(&answer.json()) }
    }

    fn said_at_once(self, body: &Value) -> Said {
        let (text, finish) = match self {
            Client::Native => (&body["content"], &body["finish_reason"]),
            Client::OpenAi => (&body["choices"][0]["message"]["content"], &body["choices"][0]["finish_reason"]),
            Client::Anthropic => (&body["content"][0]["text"], &body["stop_reason"]),
        };
        Said { text: text.as_str().unwrap_or_default().to_owned(), done: finish.is_string(), error: None }
    }

    pub(crate) fn said_in_events(self, stream: &str) -> Said {
        let mut said = Said::default();
        for (name, data) in events(stream) {
            if data == "[DONE]" {
                said.done = self != Client::Anthropic;
                continue;
            }
            let event: Value = serde_json::from_str(&data).unwrap_or_default();
            let (text, error) = match self {
                Client::Native => (&event["content"], &event["error"]),
                Client::OpenAi => (&event["choices"][0]["delta"]["content"], &event["error"]),
                Client::Anthropic => (&event["delta"]["text"], &event["error"]),
            };
            said.text += text.as_str().unwrap_or_default();
            if self == Client::Anthropic {
                said.done |= name == "message_stop";
            }
            let is_error = if self == Client::Anthropic { name == "error" } else { !error.is_null() };
            if is_error {
                said.error.get_or_insert(event);
            }
        }
        said
    }

    /// Type and message, if this is an error in this dialect's shape.
    pub(crate) fn error(self, body: &Value) -> Option<(String, String)> {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let error = &body["error"];
        match self {
            Client::Native => {
                text(&body["request_id"]).filter(|_| body["details"].is_object())?;
                Some((text(error)?, text(&body["message"])?))
            }
            Client::OpenAi => {
                let fields = error.as_object()?;
                ["param", "code"].iter().all(|name| fields.contains_key(*name)).then_some(())?;
                Some((text(&error["type"])?, text(&error["message"])?))
            }
            Client::Anthropic => {
                (body["type"] == "error").then_some(())?;
                Some((text(&error["type"])?, text(&error["message"])?))
            }
        }
    }
}

/// Events as (name, data).
pub(crate) fn events(stream: &str) -> Vec<(String, String)> {
    let stream = stream.replace("\r\n", "\n");
    let field = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start().to_owned())
    };
    let event = |block: &str| Some((field(block, "event:").unwrap_or_default(), field(block, "data:")?));
    stream.split_terminator("\n\n").filter_map(event).collect()
}
