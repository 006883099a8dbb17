//! What Anthropic refuses of a whole request: names of tools, marks of its cache, thoughts that are missing.

use serde_json::Value;

use crate::reply::Rejection;

const TOOL_NAME_CHARS: usize = 128;
const CACHE_MARKS: usize = 4;

pub(super) fn check_prompt(body: &Value) -> Result<(), Rejection> {
    let tools = body.get("tools").and_then(Value::as_array);
    for (index, tool) in tools.into_iter().flatten().enumerate() {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let name = tool.get("name").and_then(Value::as_str).unwrap_or("tool");
        if name.is_empty() || name.len() > TOOL_NAME_CHARS || !name.bytes().all(known) {
            return Err(Rejection::invalid(format!(
                "tools.{index}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,{TOOL_NAME_CHARS}}}$'"
            )));
        }
    }
    let places = ["tools", "system", "messages"].into_iter().filter_map(|name| body.get(name));
    let found = usize::from(is_mark(body)) + places.map(marks).sum::<usize>();
    if found > CACHE_MARKS {
        let message = format!("A maximum of {CACHE_MARKS} blocks with cache_control may be provided. Found {found}.");
        return Err(Rejection::invalid(message));
    }
    Ok(())
}

fn is_mark(block: &Value) -> bool {
    block.get("cache_control").is_some_and(Value::is_object)
}

/// Marks of blocks, and of those inside them; what a tool was called with is no block.
fn marks(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(marks).sum(),
        Value::Object(_) => usize::from(is_mark(value)) + value.get("content").map_or(0, marks),
        _ => 0,
    }
}

/// With thinking, the last message of the model must begin with its thoughts, if it called tools.
pub(super) fn check_thoughts(body: &Value) -> Result<(), Rejection> {
    let messages = body.get("messages").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let last = messages.iter().rposition(|message| message.get("role").is_some_and(|role| role == "assistant"));
    let Some((index, blocks)) = last.and_then(|index| Some((index, messages[index].get("content")?.as_array()?)))
    else {
        return Ok(());
    };
    let kind = |block: &Value| block.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    let first = blocks.first().map(kind).unwrap_or_default();
    if blocks.iter().any(|block| kind(block) == "tool_use") && !first.ends_with("thinking") {
        return Err(Rejection::invalid(format!(
            "messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When `thinking` is \
             enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and \
             `tool_result` blocks)."
        )));
    }
    Ok(())
}
