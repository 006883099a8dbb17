//! What a client says and hears in each dialect, written here by hand: what judges the gateway must not share its codecs.

use serde_json::{Value, json};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Native,
    OpenAi,
    Anthropic,
}

/// The bytes of text that simulated providers count as one token.
const BYTES_PER_TOKEN: usize = 4;

impl Client {
    pub(crate) const ALL: [Client; 3] = [Client::Native, Client::OpenAi, Client::Anthropic];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Client::Native => "/v1/completions",
            Client::OpenAi => "/v1/chat/completions",
            Client::Anthropic => "/v1/messages",
        }
    }

    pub(crate) fn body(self, model: &str, prompt: &str, stream: bool) -> Value {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
        if stream {
            body["stream"] = true.into();
        }
        match self {
            Client::Anthropic => body["max_tokens"] = 4000.into(),
            Client::OpenAi if stream => body["stream_options"] = json!({"include_usage": true}),
            _ => {}
        }
        body
    }

    /// Is this an error in this dialect's shape?
    fn is_error(self, body: &Value) -> bool {
        let error = &body["error"];
        let says = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        match self {
            Client::Native => says(error) && says(&body["message"]) && says(&body["request_id"]),
            Client::OpenAi => says(&error["message"]) && error["type"].is_string(),
            Client::Anthropic => body["type"] == "error" && says(&error["type"]) && says(&error["message"]),
        }
    }
}

/// What a client has heard of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Heard {
    pub(crate) text: String,
    /// Pieces of text in a stream.
    pub(crate) contents: u32,
    /// It ended as a good answer of its dialect does.
    pub(crate) done: bool,
    /// The reason of its end was told.
    pub(crate) finished: bool,
    /// An error in the shape of its dialect.
    pub(crate) error: bool,
    /// Something that its dialect does not have, quoted.
    pub(crate) strange: Option<String>,
    /// Output tokens, where the answer told them.
    pub(crate) output_tokens: Option<u64>,
}

impl Heard {
    /// Tokens of the text that came.
    pub(crate) fn tokens(&self) -> u64 {
        self.text.len().div_ceil(BYTES_PER_TOKEN) as u64
    }

    /// A whole body.
    pub(crate) fn at_once(client: Client, status: u16, body: &[u8]) -> Self {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return Self::strange(body) };
        if client.is_error(&value) {
            return Self { error: true, ..Self::default() };
        }
        let (text, tokens) = match client {
            Client::Native => (&value["content"], &value["usage"]["completion_tokens"]),
            Client::OpenAi => (&value["choices"][0]["message"]["content"], &value["usage"]["completion_tokens"]),
            Client::Anthropic => (&value["content"][0]["text"], &value["usage"]["output_tokens"]),
        };
        let Some(text) = text.as_str().filter(|_| status == 200) else { return Self::strange(body) };
        Self { text: text.to_owned(), done: true, output_tokens: tokens.as_u64(), ..Self::default() }
    }

    fn strange(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        Self { strange: Some(text.chars().take(200).collect()), ..Self::default() }
    }
}

/// Listens to a stream of events.
#[derive(Debug)]
pub(crate) struct Ear {
    client: Client,
    unread: Vec<u8>,
    event: String,
    data: String,
    pub(crate) heard: Heard,
}

impl Ear {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, unread: Vec::new(), event: String::new(), data: String::new(), heard: Heard::default() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line = &rest[..end];
            self.line(line.strip_suffix(b"\r").unwrap_or(line));
            rest = &rest[end + 1..];
        }
        self.unread = rest.to_vec();
    }

    fn line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        if let Some(value) = text.strip_prefix("event:") {
            value.trim_start().clone_into(&mut self.event);
        } else if let Some(value) = text.strip_prefix("data:") {
            if !self.data.is_empty() {
                self.data.push('\n');
            }
            self.data.push_str(value.strip_prefix(' ').unwrap_or(value));
        } else if text.is_empty() && !self.data.is_empty() {
            let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
            self.event(&event, &data);
        }
    }

    fn event(&mut self, event: &str, data: &str) {
        let heard = &mut self.heard;
        if data == "[DONE]" {
            heard.done = self.client != Client::Anthropic;
            return;
        }
        let Ok(value) = serde_json::from_str::<Value>(data) else {
            heard.strange.get_or_insert_with(|| data.chars().take(200).collect());
            return;
        };
        if self.client.is_error(&value) {
            heard.error = true;
            return;
        }
        let (text, tokens) = match self.client {
            Client::Native => {
                heard.finished |= value["finish_reason"].is_string();
                (&value["content"], &value["usage"]["completion_tokens"])
            }
            Client::OpenAi => {
                let choice = &value["choices"][0];
                heard.finished |= choice["finish_reason"].is_string();
                (&choice["delta"]["content"], &value["usage"]["completion_tokens"])
            }
            Client::Anthropic => {
                heard.done |= event == "message_stop";
                heard.finished |= value["delta"]["stop_reason"].is_string();
                let tokens = if event == "message_delta" { &value["usage"]["output_tokens"] } else { &Value::Null };
                (&value["delta"]["text"], tokens)
            }
        };
        if let Some(text) = text.as_str().filter(|text| !text.is_empty()) {
            heard.text.push_str(text);
            heard.contents += 1;
        }
        heard.output_tokens = tokens.as_u64().or(heard.output_tokens);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(client: Client, stream: &str, step: usize) -> Heard {
        let mut ear = Ear::new(client);
        stream.as_bytes().chunks(step).for_each(|piece| ear.push(piece));
        ear.heard
    }

    #[test]
    fn a_good_stream_and_a_broken_one_are_told_apart_at_every_cut() {
        let good = "data: {\"choices\":[{\"delta\":{\"content\":\"he\"}}]}\r\n\r\n: x\n\ndata: {\"choices\":[{\"delta\":\
                    {\"content\":\"y\"}}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"completion_tokens\":7}}\n\n\
                    data: [DONE]\n\n";
        let cut = "event: content_block_delta\ndata: {\"delta\":{\"text\":\"hi\"}}\n\nevent: error\ndata: \
                   {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}\n\n";
        for step in 1..40 {
            let heard = hear(Client::OpenAi, good, step);
            assert_eq!((heard.text.as_str(), heard.done, heard.error), ("hey", true, false));
            assert_eq!((heard.contents, heard.output_tokens, heard.strange), (2, Some(7), None));
            let heard = hear(Client::Anthropic, cut, step);
            assert_eq!((heard.text.as_str(), heard.done, heard.error), ("hi", false, true));
        }
    }

    #[test]
    fn a_page_is_no_answer() {
        assert!(Heard::at_once(Client::OpenAi, 200, b"<html>").strange.is_some());
        let error = br#"{"error":{"message":"no","type":"x","param":null,"code":null}}"#;
        assert!(Heard::at_once(Client::OpenAi, 502, error).error);
        assert!(Heard::at_once(Client::Anthropic, 502, error).strange.is_some(), "not in Anthropic's shape");
    }
}
