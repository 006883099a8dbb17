use std::collections::HashSet;
use std::sync::LazyLock;

use gateway_core::usage::{NanoUsd, Usage};
use proptest::prelude::*;

use super::*;

static TABLE: LazyLock<ModelTable> = LazyLock::new(|| ModelTable::bundled().expect("the bundled data"));

const SMALL: &str = r#"{"source": {"source": "s", "version": "1", "licence": "l", "date": "d", "sha256": "h"}, "vendors": [
    {"vendor": "maker", "models": [
        {"model": "Big-1", "names": ["big"], "prefixes": ["big-1-"], "context": 100, "price": [{"input": 1, "output": 2}]},
        {"model": "big-1-mini", "prefixes": ["big-1-mini"], "price": [{"input": 0.5, "output": 1}]},
        {"model": "old", "deprecated": true, "price": [{"input": 9, "output": 9}]}
    ]},
    {"vendor": "shop", "models": [{"model": "maker/big-1", "names": ["big-1"], "price": [{"input": 2, "output": 3}]}]}
]}"#;

const EXTRA: &str = r#"[
    {"vendor": "maker", "model": "Big-1", "max_output": 10, "capabilities": ["vision", "reasoning"], "source": [], "date": "d"},
    {"vendor": "maker", "model": "old", "max_output": 5, "source": [], "date": "d"},
    {"vendor": "maker", "model": "big-2", "context": 300, "source": [], "date": "d"}
]"#;

fn small() -> ModelTable {
    ModelTable::parse(SMALL, EXTRA).expect("a table")
}

fn found<'a>(table: &'a ModelTable, model: &str) -> Option<&'a str> {
    table.find("maker", model).map(|facts| facts.name)
}

#[test]
fn a_name_is_found_exactly_as_a_snapshot_or_by_its_longest_prefix() {
    let table = small();
    for (asked, name) in [
        ("Big-1", Some("Big-1")),
        ("big-1", Some("Big-1")),
        ("BIG", Some("Big-1")),
        ("big-1-2026-01-02", Some("Big-1")),
        ("big-1-20260102", Some("Big-1")),
        ("big-1@20260102", Some("Big-1")),
        ("big-1-001", Some("Big-1")),
        ("big-1-preview", Some("Big-1")),
        ("big-1-mini-2026-01-02", Some("big-1-mini")),
        ("big-1-mini-fast", Some("big-1-mini")),
        ("big-3", None),
        ("", None),
        ("-2026-01-02", None),
    ] {
        assert_eq!(found(&table, asked), name, "{asked}");
    }
    assert!(table.find("nobody", "big-1").is_none());
}

#[test]
fn the_second_file_adds_to_a_model_and_its_snapshots_but_not_to_other_aliases() {
    let table = small();
    let facts = table.find("maker", "big-1").expect("known");
    assert_eq!((facts.context_window, facts.max_output), (Some(100), Some(10)));
    assert!(facts.reasoning() && facts.price.is_some());
    assert_eq!(table.find("maker", "big-1-2026-01-02"), Some(facts));
    let alias = table.find("maker", "big").expect("known");
    assert_eq!((alias.max_output, alias.capabilities), (None, None), "unknown stays unknown");
    let unpriced = table.find("maker", "big-2").expect("known to the second file alone");
    assert_eq!((unpriced.price.as_ref(), unpriced.context_window), (None, Some(300)));
}

#[test]
fn listings_have_each_current_model_once() {
    let table = small();
    assert_eq!(table.names("maker").collect::<Vec<_>>(), ["big-1-mini", "Big-1", "big-2"]);
    assert!(found(&table, "old").is_some(), "a deprecated model still works");
    for vendor in TABLE.vendors() {
        let names: Vec<&str> = TABLE.names(vendor).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{vendor}");
        for name in names {
            assert_eq!(TABLE.find(vendor, name).map(|facts| facts.name), Some(name));
        }
    }
}

#[test]
fn listings_leave_out_patterns_and_what_cannot_chat() {
    for name in [
        "ft:gpt-3.5-turbo-",
        "ft:gpt-4o",
        "gpt-4o-mini-2024-07-18.ft-",
        "gpt-image-2",
        "gpt-realtime",
        "gpt-4o-mini-tts",
        "text-embedding-3-large",
        "whisper-1",
        "omni-moderation-latest",
        "gemini-live-2.5-flash",
        "openai/gpt-5-image",
        "mistral-embed",
        "davinci-002",
        "togethercomputer/GPT-JT-Moderation-6B",
    ] {
        assert!(!chats(name), "{name}");
    }
    for name in ["gpt-5.4-mini", "gpt-audio", "claude-opus-4-5", "GLM-4.5V", "accounts/fireworks/models/glm-5p3", "o3"]
    {
        assert!(chats(name), "{name}");
    }
    let listed: Vec<&str> = TABLE.names("openai").collect();
    assert!(listed.contains(&"gpt-5.4-mini") && listed.iter().all(|name| chats(name)), "{listed:?}");
    assert!(TABLE.find("openai", "text-embedding-3-small").is_some(), "what is not listed is known all the same");
}

#[test]
fn misspelt_and_partial_names_have_neighbours() {
    let near = |asked| TABLE.near(asked, &["openai", "anthropic"]);
    assert_eq!(near("gtp-5.2").first().map(String::as_str), Some("openai/gpt-5.2"));
    assert_eq!(near("claude-opus-45").first().map(String::as_str), Some("anthropic/claude-opus-4-5"));
    assert!(near("claude-sonnet").iter().all(|name| name.starts_with("anthropic/claude-sonnet-")));
    assert!(near("haiku").iter().all(|name| name.contains("haiku")) && !near("haiku").is_empty());
    assert_eq!(TABLE.near("gtp-5.2", &["anthropic"]), Vec::<String>::new(), "of other vendors than asked for");
    for nonsense in ["", "x", "zzzzzzzzzzzz", &"é".repeat(1_000_000)] {
        assert_eq!(near(nonsense), Vec::<String>::new());
    }
}

/// List prices multiplied by hand, so that a broken rebuild is noticed.
#[test]
fn known_prices() {
    let usd = |vendor, model, usage: &Usage| {
        let price = TABLE.find(vendor, model).and_then(|facts| facts.price.clone()).expect("a priced model");
        price.cost(usage).total()
    };
    let million = Usage { input: 1_000_000, output: 1_000_000, ..Usage::default() };
    let thousand = Usage { input: 1_000, output: 1_000, ..Usage::default() };
    assert_eq!(usd("openai", "gpt-4o-2024-08-06", &thousand), NanoUsd(12_500_000));
    assert_eq!(usd("anthropic", "claude-haiku-4-5-20251001", &million), NanoUsd(6_000_000_000));
    assert_eq!(usd("anthropic", "claude-opus-4-5", &million), NanoUsd(30_000_000_000));
    // 272,000 tokens are the end of the first tier: twice the input price and one and a half times the output price.
    assert_eq!(usd("openai", "gpt-5.6-luna", &thousand), NanoUsd(1_400_000));
    assert_eq!(usd("openai", "gpt-5.6-luna", &million), NanoUsd(400_000_000 + 1_800_000_000));
    let cached = Usage { input: 1_000_000, cache_read: 1_000_000, ..Usage::default() };
    assert_eq!(usd("anthropic", "claude-opus-5-5", &cached), NanoUsd(200_000_000));
}

#[test]
fn every_row_of_the_second_file_belongs_to_a_vendor_of_the_first_and_says_something() {
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../../data/models-extra.json")).expect("rows");
    let mut seen = HashSet::new();
    for row in &rows {
        let (vendor, model) = (row["vendor"].as_str().expect("a vendor"), row["model"].as_str().expect("a model"));
        assert!(TABLE.vendors().any(|known| known == vendor), "{vendor}/{model}");
        assert!(seen.insert((vendor, model)), "{vendor}/{model} stands there twice");
        assert!(row["source"].as_array().is_some_and(|urls| !urls.is_empty()), "{vendor}/{model} has no source");
        assert_eq!(row["date"].as_str().map(str::len), Some(10), "{vendor}/{model}");
    }
    for (vendor, model) in [("openai", "gpt-5.2"), ("anthropic", "claude-sonnet-4-5-20250929")] {
        let facts = TABLE.find(vendor, model).expect("known");
        assert!(facts.max_output.is_some() && facts.reasoning() && facts.context_window.is_some(), "{model}");
    }
}

#[test]
fn longer_prompts_are_never_cheaper_by_the_bundled_prices() {
    for facts in TABLE.vendors.iter().flat_map(|vendor| &vendor.facts) {
        let Some(price) = &facts.price else { continue };
        let costs = (0..=2_100_000).step_by(50_000).map(|input| price.estimate(input, 1_000).total());
        assert!(costs.is_sorted(), "{}", facts.name);
    }
}

#[test]
fn broken_data_is_an_error_that_names_the_file() {
    let error = ModelTable::parse("{}", "[]").expect_err("no source");
    assert!(error.to_string().starts_with("the bundled models.json:"), "{error}");
    let error = ModelTable::parse(SMALL, r#"[{"vendor": "maker", "typo": 1}]"#).expect_err("an unknown field");
    assert!(error.to_string().starts_with("the bundled models-extra.json:"), "{error}");
}

proptest! {
    #[test]
    fn no_name_upsets_the_table(name in ".{0,80}", vendor in prop::sample::select(vec!["openai", "openrouter", "nobody"])) {
        TABLE.find(vendor, &name);
        prop_assert!(TABLE.near(&name, &[vendor]).len() <= 3);
    }

    #[test]
    fn snapshots_are_their_models(day in 1_u32..29, month in 1_u32..13) {
        for date in [format!("-2026-{month:02}-{day:02}"), format!("-2026{month:02}{day:02}"), format!("@2026{month:02}{day:02}")] {
            let name = format!("a-model-4-5{date}");
            prop_assert_eq!(snapshot_of(&name), Some("a-model-4-5"));
        }
        let version = format!("a-model-{month}-{day}");
        prop_assert_eq!(snapshot_of(&version), None);
    }
}
