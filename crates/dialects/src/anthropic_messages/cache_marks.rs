//! Where a prompt may be cached up to. The API refuses a request with more than four marks; other dialects know no limit.

use std::fmt::Display;

use gateway_core::Extra;
use gateway_core::chat::{ChatRequest, Part, PartBody, Role, ToolBody};
use serde_json::Value;

pub(super) const CACHE_CONTROL: &str = "cache_control";
/// What OpenAI's clients say.
const BREAKPOINT: &str = "prompt_cache_breakpoint";
const MARKS: usize = 4;

pub(super) fn is_mark(key: &str) -> bool {
    key == CACHE_CONTROL || key == BREAKPOINT
}

/// The marks that go too far: where they stand, as they are named.
#[derive(Debug, Default)]
pub(super) struct CacheMarks {
    excess: Vec<String>,
}

/// One mark of the request that is sent: that of a tool result gathers those inside it.
type Slot = Vec<String>;

impl CacheMarks {
    /// A mark covers all that stands before it: tools, then the system prompt, then messages. The last one of the tools and
    /// of the system prompt stay, since conversations share them, and of the others those that cover most.
    pub(super) fn of(request: &ChatRequest) -> CacheMarks {
        // The API sets one by itself where the request as a whole is marked.
        let automatic = request.extra.get(CACHE_CONTROL).is_some_and(|mark| !mark.is_null());
        let most = MARKS - usize::from(automatic);
        let tools = request.tools.iter().enumerate().filter(|(_, tool)| match &tool.body {
            ToolBody::Function { .. } => marked(&tool.extra),
            ToolBody::Foreign { value, .. } => value.get(CACHE_CONTROL).is_some(),
        });
        let mut tools: Vec<Slot> = tools.map(|(n, _)| vec![format!("tools[{n}]")]).collect();
        let (mut system, mut messages) = (Vec::new(), Vec::new());
        for turn in &request.turns {
            let section = match turn.role {
                Role::System | Role::Developer => &mut system,
                Role::User | Role::Assistant | Role::Tool => &mut messages,
            };
            section.extend(turn.parts.iter().map(slot).filter(|slot| !slot.is_empty()));
        }
        if tools.len() + system.len() + messages.len() <= most {
            return CacheMarks::default();
        }
        let shared = [tools.pop(), system.pop()].into_iter().flatten().count();
        // The rest, the one that covers least first.
        let rest: Vec<Slot> = tools.into_iter().chain(system).chain(messages).collect();
        let kept = most.saturating_sub(shared).min(rest.len());
        let excess = rest.len() - kept;
        CacheMarks { excess: rest.into_iter().take(excess).flatten().collect() }
    }

    pub(super) fn is_one_too_many(&self, at: impl Display) -> bool {
        !self.excess.is_empty() && self.excess.contains(&at.to_string())
    }
}

fn marked(extra: &Extra) -> bool {
    extra.contains_key(BREAKPOINT) || extra.get(CACHE_CONTROL).is_some_and(|mark| mark["type"] == "ephemeral")
}

fn slot(part: &Part) -> Slot {
    let own = match &part.body {
        // Empty texts are left out, and thoughts cannot be marked.
        PartBody::Text(text) if text.trim().is_empty() => false,
        PartBody::Reasoning { .. } | PartBody::RedactedReasoning(_) => false,
        PartBody::Foreign { value, .. } => value.get(CACHE_CONTROL).is_some_and(Value::is_object),
        _ => marked(&part.extra),
    };
    let mut slot: Slot = own.then(|| part.place.to_string()).into_iter().collect();
    if let PartBody::ToolResult { content, .. } = &part.body {
        slot.extend(content.iter().filter(|inner| marked(&inner.extra)).map(|inner| inner.place.to_string()));
    }
    slot
}
