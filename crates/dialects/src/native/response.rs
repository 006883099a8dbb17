//! The answer of the gateway's own API.

use gateway_core::chat::{CALL_REMARK, ChatResponse, FinishReason, PartBody};
use gateway_core::usage::{Cost, Usage};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::codec::Answer;
use crate::losses::Words;
use crate::openai_chat::response::{CallOut, finish_word, id_of, to_vec};

/// A whole answer.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Completion")]
pub(super) struct Whole<'a> {
    /// The provider's own id of the answer.
    id: &'a str,
    /// The text.
    content: &'a str,
    /// The model that answered, as the provider names it.
    model: &'a str,
    /// The provider that answered.
    provider: &'a str,
    /// Where the provider tells none, the gateway's estimate: then `x-gateway-added` names it.
    usage: Option<UsageOut>,
    /// `null` where the price is not known.
    cost: Option<CostOut>,
    /// Milliseconds from the arrival of the request to this answer.
    latency_ms: f64,
    /// Whether the answer comes from the cache.
    cached: bool,
    /// The name of the answer in the cache; `null` if it does not come from there.
    cache_key: Option<&'a str>,
    /// The gateway's own id of the request, as in `x-request-id`.
    request_id: &'a str,
    /// RFC 3339.
    timestamp: &'a str,
    /// What the request carried.
    #[schemars(with = "Map<String, Value>")]
    metadata: &'a Value,
    /// `stop`, `length`, `tool_calls` or `content_filter`.
    finish_reason: &'static str,
    /// Calls of functions that the model wants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CallOut<'a>>,
    /// What the model thought, where the provider shows it.
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning: &'a str,
    /// Why the model does not answer, in its words.
    #[serde(skip_serializing_if = "str::is_empty")]
    refusal: &'a str,
}

/// Tokens, as the provider counted them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
pub(super) struct UsageOut {
    /// The cached ones are among them.
    prompt_tokens: u64,
    /// The thoughts are among them.
    completion_tokens: u64,
    total_tokens: u64,
    /// Read from the provider's prompt cache; left out if none were.
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    /// Left out if there were none.
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

/// US dollars.
// A count of billionths divided once and printed by the shortest digits that mean it is exact up to a million dollars.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Cost")]
pub(super) struct CostOut {
    input_cost: f64,
    output_cost: f64,
    total_cost: f64,
    /// `USD`.
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

pub(super) const WORDS: Words = Words {
    sealed_thoughts: false,
    foreign: |_| false,
    citation: |_| false,
    pause_and_sequence: false,
    call_remarks: true,
};

pub(super) fn encode(response: ChatResponse, answer: &Answer) -> Vec<u8> {
    let (mut content, mut reasoning, mut refusal) = (String::new(), String::new(), String::new());
    let mut tool_calls = Vec::new();
    for part in &response.parts {
        match &part.body {
            PartBody::Text(text) => content += text,
            PartBody::Refusal(text) => refusal += text,
            PartBody::Reasoning { text, .. } => reasoning += text,
            PartBody::ToolCall(call) => tool_calls.push(CallOut::whole(call, part.extra.get(CALL_REMARK))),
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
        cached: answer.cache_key.is_some(),
        cache_key: answer.cache_key.as_deref(),
        request_id: &answer.request_id,
        timestamp: &answer.timestamp,
        metadata: answer.metadata.as_ref().unwrap_or(&nothing),
        finish_reason: finish_word(response.finish.as_ref().unwrap_or(&FinishReason::STOP)),
        tool_calls,
        reasoning: &reasoning,
        refusal: &refusal,
    })
}
