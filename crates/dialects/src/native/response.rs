//! The answer of the gateway's own API.

use gateway_core::chat::{ChatResponse, FinishReason, PartBody};
use gateway_core::usage::{Cost, Usage};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::codec::Answer;
use crate::openai_chat::response::{CallOut, finish_word, id_of, to_vec};

#[derive(Serialize)]
struct Whole<'a> {
    id: &'a str,
    content: &'a str,
    model: &'a str,
    provider: &'a str,
    /// `null` where the provider told none: no figure is invented.
    usage: Option<UsageOut>,
    cost: Option<CostOut>,
    latency_ms: f64,
    cached: bool,
    cache_key: Option<&'a str>,
    request_id: &'a str,
    timestamp: &'a str,
    metadata: &'a Value,
    finish_reason: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallOut<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    refusal: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct UsageOut {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
}

impl From<Usage> for UsageOut {
    fn from(usage: Usage) -> Self {
        UsageOut {
            prompt_tokens: usage.input,
            completion_tokens: usage.output,
            total_tokens: usage.total(),
            cached_tokens: Some(usage.cache_read).filter(|tokens| *tokens > 0),
            reasoning_tokens: Some(usage.reasoning).filter(|tokens| *tokens > 0),
        }
    }
}

/// US dollars. A count of billionths divided once and printed by the shortest digits that mean it is exact up to a
/// million dollars.
#[derive(Debug, Serialize)]
pub(super) struct CostOut {
    input_cost: f64,
    output_cost: f64,
    total_cost: f64,
    currency: &'static str,
}

impl From<Cost> for CostOut {
    fn from(cost: Cost) -> Self {
        CostOut {
            input_cost: cost.input.usd(),
            output_cost: cost.output.usd(),
            total_cost: cost.total().usd(),
            currency: "USD",
        }
    }
}

pub(super) fn encode(response: ChatResponse, answer: &Answer) -> Vec<u8> {
    let (mut content, mut reasoning, mut refusal) = (String::new(), String::new(), String::new());
    let mut tool_calls = Vec::new();
    for part in &response.parts {
        match &part.body {
            PartBody::Text(text) => content += text,
            PartBody::Refusal(text) => refusal += text,
            PartBody::Reasoning { text, .. } => reasoning += text,
            PartBody::ToolCall(call) => tool_calls.push(CallOut::whole(call)),
            _ => {}
        }
    }
    let nothing = Value::Object(Map::new());
    to_vec(&Whole {
        id: &id_of(&response.id, answer),
        content: &content,
        model: if response.model.is_empty() { &answer.model } else { &response.model },
        provider: &answer.provider,
        usage: response.usage.map(UsageOut::from),
        cost: response.usage.and_then(|usage| (answer.price)(&usage)).map(CostOut::from),
        latency_ms: answer.latency_ms,
        cached: false,
        cache_key: None,
        request_id: &answer.request_id,
        timestamp: &answer.timestamp,
        metadata: answer.metadata.as_ref().unwrap_or(&nothing),
        finish_reason: finish_word(response.finish.as_ref().unwrap_or(&FinishReason::STOP)),
        tool_calls,
        reasoning: &reasoning,
        refusal: &refusal,
    })
}
