//! Estimates against the counts that real providers told, where recorded traffic is there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use gateway_core::dialect::ProviderDialect;
use gateway_core::event::StreamEvent;
use gateway_core::usage::Usage;
use gateway_dialects::codec;
use gateway_dialects::sse::SseDecoder;
use gateway_policy::routing::signals::Signals;
use gateway_policy::tokens::{self, Estimate};
use serde_json::Value;

/// A prompt by the rule that knows no model, and by its provider.
struct Counted {
    ruled: u64,
    told: u64,
}

fn usage_of(dialect: ProviderDialect, response: &Value) -> Option<Usage> {
    let codec = codec::provider(dialect);
    let Some(stream) = response["sse"].as_str() else {
        return codec.glance(response["body"].to_string().as_bytes()).ok()?.usage;
    };
    let (mut bytes, mut decoder, mut events) = (SseDecoder::new(), codec.stream_decoder(), Vec::new());
    bytes.push(Bytes::copy_from_slice(stream.as_bytes()));
    while let Ok(Some(frame)) = bytes.next_frame() {
        frame.event().map(|event| decoder.push(&event, &mut events));
    }
    decoder.finish(&mut events);
    events.iter().rev().find_map(|event| match event {
        StreamEvent::Usage(usage) => Some(*usage),
        _ => None,
    })
}

/// By provider and model. `None`, with a word about it, where there are no recordings.
fn recorded() -> Option<BTreeMap<String, Vec<Counted>>> {
    let default = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/wire");
    let root = std::env::var_os("LLM_GATEWAY_WIRE").map_or_else(default, PathBuf::from);
    let mut found: BTreeMap<String, Vec<Counted>> = BTreeMap::new();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root.join("open")).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dialect = match &name {
            name if name.contains(".chat-completions.") => ProviderDialect::OpenAiChat,
            name if name.contains(".messages.") => ProviderDialect::AnthropicMessages,
            _ => continue,
        };
        let exchange: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let body = &exchange["request"]["body"];
        let usage = usage_of(dialect, &exchange["response"]).filter(|usage| usage.input > 0);
        if let (Some(usage), Some(model)) = (usage, body["model"].as_str()) {
            let ruled = tokens::text(body.to_string().as_bytes());
            let provider = exchange["provider"].as_str().unwrap_or_default();
            found.entry(format!("{provider}/{model}")).or_default().push(Counted { ruled, told: usage.input });
        }
    }
    if found.is_empty() {
        println!("skipped: no recordings in {}", root.display());
        return None;
    }
    Some(found)
}

/// How far off an estimate is, in doublings: 1 is twice or half.
fn doublings(estimate: u64, told: u64) -> f64 {
    (estimate as f64 / told as f64).log2().abs()
}

#[test]
fn estimates_of_prompts_come_nearer_to_what_real_providers_count() {
    const PASSES: usize = 3;
    let Some(recorded) = recorded() else { return };
    let (mut before, mut after, mut prompts) = (0.0, [0.0; PASSES], 0.0);
    for counted in recorded.values().filter(|counted| counted.len() >= 5) {
        let signals = Signals::new(Instant::now());
        for pass in &mut after {
            for &Counted { ruled, told } in counted {
                let estimate = signals.estimate(Estimate { input: ruled, output: 0 }, None);
                *pass += doublings(estimate.input, told);
                signals.prompt(ruled, told);
            }
        }
        before += counted.iter().map(|counted| doublings(counted.ruled, counted.told)).sum::<f64>();
        prompts += counted.len() as f64;
    }
    let (before, after) = (before / prompts, after.map(|sum| sum / prompts));
    println!("{prompts} prompts, off by {before:.2} doublings; calibrated on the way: {after:.2?}");
    // While it learns already, and more when it has.
    assert!(after[0] < before * 0.85, "{before} {after:?}");
    assert!(after[PASSES - 1] < before * 0.75, "{before} {after:?}");
}
