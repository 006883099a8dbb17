//! What the simulated model says, whole and streamed, in both dialects.

use serde_json::{Value, json};
use simulator::{Config, Simulator};

use crate::client::{Answer, post, simulator, simulator_with};

const OPENAI: &str = "/v1/chat/completions";
const ANTHROPIC: &str = "/v1/messages";

/// An answer in one shape, however it came.
#[derive(Debug, PartialEq)]
struct Said {
    text: String,
    thinking: String,
    calls: Vec<(String, String)>,
    finish: String,
    output_tokens: u64,
}

fn openai(body: &Value) -> Value {
    let mut whole = json!({"model": "gpt-sim"});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    whole
}

fn anthropic(body: &Value) -> Value {
    let mut whole = json!({"model": "claude-sim", "max_tokens": 4096});
    whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    whole
}

/// Asks whole and streamed; both must say the same.
async fn ask_openai(sim: &Simulator, body: &Value) -> Said {
    let mut body = openai(body);
    let json = post(sim, OPENAI, &body).await.json();
    let choice = &json["choices"][0];
    let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
    let calls = choice["message"]["tool_calls"].as_array().cloned().unwrap_or_default();
    let whole = Said {
        text: text(&choice["message"]["content"]),
        thinking: String::new(),
        calls: calls
            .iter()
            .map(|call| (text(&call["function"]["name"]), text(&call["function"]["arguments"])))
            .collect(),
        finish: text(&choice["finish_reason"]),
        output_tokens: json["usage"]["completion_tokens"].as_u64().unwrap(),
    };
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    assert_eq!(openai_stream(&post(sim, OPENAI, &body).await), whole);
    whole
}

fn openai_stream(answer: &Answer) -> Said {
    assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert!(answer.done());
    let mut said =
        Said { text: String::new(), thinking: String::new(), calls: vec![], finish: String::new(), output_tokens: 0 };
    let chunks = answer.data();
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    for chunk in &chunks {
        assert_eq!((&chunk["id"], &chunk["object"]), (&chunks[0]["id"], &json!("chat.completion.chunk")));
        let Some(choice) = chunk["choices"].get(0) else {
            said.output_tokens = chunk["usage"]["completion_tokens"].as_u64().unwrap();
            continue;
        };
        assert_eq!(said.finish, "", "a chunk after the finish");
        said.text.push_str(choice["delta"]["content"].as_str().unwrap_or(""));
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            if call["id"].is_string() {
                assert_eq!(index, said.calls.len());
                said.calls.push((call["function"]["name"].as_str().unwrap().to_owned(), String::new()));
            }
            said.calls[index].1.push_str(call["function"]["arguments"].as_str().unwrap());
        }
        said.finish.push_str(choice["finish_reason"].as_str().unwrap_or(""));
    }
    said
}

async fn ask_anthropic(sim: &Simulator, body: &Value) -> Said {
    let mut body = anthropic(body);
    let json = post(sim, ANTHROPIC, &body).await.json();
    let blocks = json["content"].as_array().unwrap();
    let of = |kind: &str, field: &str| -> String {
        blocks.iter().filter(|block| block["type"] == kind).map(|block| block[field].as_str().unwrap()).collect()
    };
    assert!(blocks.iter().all(|block| block["type"] != "thinking" || block["signature"].as_str().unwrap().len() > 100));
    let calls = blocks.iter().filter(|block| block["type"] == "tool_use");
    let whole = Said {
        text: of("text", "text"),
        thinking: of("thinking", "thinking"),
        calls: calls.map(|call| (call["name"].as_str().unwrap().to_owned(), call["input"].to_string())).collect(),
        finish: format!("{}{}", json["stop_reason"].as_str().unwrap(), json["stop_sequence"].as_str().unwrap_or("")),
        output_tokens: json["usage"]["output_tokens"].as_u64().unwrap(),
    };
    body["stream"] = json!(true);
    assert_eq!(anthropic_stream(&post(sim, ANTHROPIC, &body).await), whole);
    whole
}

fn anthropic_stream(answer: &Answer) -> Said {
    let mut said =
        Said { text: String::new(), thinking: String::new(), calls: vec![], finish: String::new(), output_tokens: 0 };
    let mut open = None;
    let mut names = Vec::new();
    for ((name, _), data) in answer.events().iter().zip(answer.data()) {
        assert_eq!(data["type"], *name);
        names.push(name.clone());
        match name.as_str() {
            "content_block_start" => {
                assert_eq!(open, None);
                open = data["index"].as_u64();
                if data["content_block"]["type"] == "tool_use" {
                    said.calls.push((data["content_block"]["name"].as_str().unwrap().to_owned(), String::new()));
                }
            }
            "content_block_delta" => {
                assert_eq!(open, data["index"].as_u64());
                let delta = &data["delta"];
                match delta["type"].as_str().unwrap() {
                    "text_delta" => said.text.push_str(delta["text"].as_str().unwrap()),
                    "thinking_delta" => said.thinking.push_str(delta["thinking"].as_str().unwrap()),
                    "signature_delta" => assert!(delta["signature"].as_str().unwrap().len() > 100),
                    "input_json_delta" => {
                        said.calls.last_mut().unwrap().1.push_str(delta["partial_json"].as_str().unwrap())
                    }
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" => open = None,
            "message_delta" => {
                let delta = &data["delta"];
                said.finish = format!(
                    "{}{}",
                    delta["stop_reason"].as_str().unwrap(),
                    delta["stop_sequence"].as_str().unwrap_or("")
                );
                said.output_tokens = data["usage"]["output_tokens"].as_u64().unwrap();
            }
            "message_start" | "ping" | "message_stop" => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!((names[0].as_str(), names.last().map(String::as_str)), ("message_start", Some("message_stop")));
    for (_, arguments) in &mut said.calls {
        // Without arguments nothing is streamed; cut arguments are no object when whole.
        if serde_json::from_str::<Value>(arguments).is_err() {
            *arguments = "{}".to_owned();
        }
    }
    said
}

fn user(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}]})
}

fn also(mut body: Value, more: Value) -> Value {
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn weather() -> Value {
    json!({"type": "object", "required": ["location"], "properties": {
        "location": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}}})
}

fn openai_tools() -> Value {
    json!([{"type": "function", "function": {"name": "get_weather", "description": "Weather of a place", "parameters": weather()}},
           {"type": "function", "function": {"name": "now"}}])
}

fn anthropic_tools() -> Value {
    json!([{"name": "get_weather", "description": "Weather of a place", "input_schema": weather()},
           {"name": "now", "input_schema": {"type": "object", "properties": {}}}])
}

#[tokio::test]
async fn both_dialects_say_the_same() {
    let sim = simulator().await;
    for (question, expected) in [
        ("Hello!", "Hello! How can I help you today?"),
        ("What is the capital of Japan?", "The capital of Japan is Tokyo."),
        ("Reply with exactly: grüne Äpfel 🍏", "grüne Äpfel 🍏"),
    ] {
        let one = ask_openai(&sim, &user(question)).await;
        let other = ask_anthropic(&sim, &user(question)).await;
        assert_eq!((one.text.as_str(), other.text.as_str()), (expected, expected));
        assert_eq!((one.finish.as_str(), other.finish.as_str()), ("stop", "end_turn"));
        assert_eq!(one.output_tokens, other.output_tokens);
    }
}

#[tokio::test]
async fn tools_are_called_and_answered_in_openais_way() {
    let sim = simulator().await;
    let body = also(user("What is the weather in Paris and Tokyo?"), json!({"tools": openai_tools()}));
    let said = ask_openai(&sim, &body).await;
    let call = |city: &str| ("get_weather".to_owned(), json!({"location": city}).to_string());
    assert_eq!((said.calls, said.finish.as_str()), (vec![call("Paris"), call("Tokyo")], "tool_calls"));

    let single = also(body.clone(), json!({"parallel_tool_calls": false}));
    assert_eq!(ask_openai(&sim, &single).await.calls, [call("Paris")]);

    let calls: Vec<Value> = ["a", "b"]
        .iter()
        .map(|id| json!({"id": id, "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}))
        .collect();
    let mut answered = body.clone();
    let messages = answered["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": null, "tool_calls": calls}));
    messages.push(json!({"role": "tool", "tool_call_id": "a", "content": "18 degrees"}));
    messages.push(json!({"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "25 degrees"}]}));
    let said = ask_openai(&sim, &answered).await;
    assert_eq!((said.calls.len(), said.finish.as_str()), (0, "stop"));
    assert!(said.text.contains("18 degrees") && said.text.contains("25 degrees"), "{}", said.text);
}

#[tokio::test]
async fn tools_are_called_and_answered_in_anthropics_way() {
    let sim = simulator().await;
    let body = also(user("What is the weather in Paris and Tokyo?"), json!({"tools": anthropic_tools()}));
    let said = ask_anthropic(&sim, &body).await;
    let call = |city: &str| ("get_weather".to_owned(), json!({"location": city}).to_string());
    assert_eq!((said.calls, said.finish.as_str()), (vec![call("Paris"), call("Tokyo")], "tool_use"));

    let single = also(body.clone(), json!({"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}}));
    assert_eq!(ask_anthropic(&sim, &single).await.calls, [call("Paris")]);

    let mut answered = body.clone();
    let messages = answered["messages"].as_array_mut().unwrap();
    messages.push(
        json!({"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "get_weather", "input": {}}]}),
    );
    messages.push(json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "18 degrees", "is_error": true}]}));
    let said = ask_anthropic(&sim, &answered).await;
    assert_eq!((said.text.as_str(), said.finish.as_str()), ("The tool get_weather failed: 18 degrees.", "end_turn"));
}

#[tokio::test]
async fn tool_choices_are_honoured() {
    let sim = simulator().await;
    for (choice, expected) in [
        (json!("none"), None),
        (json!("required"), Some("get_weather")),
        (json!({"type": "function", "function": {"name": "now"}}), Some("now")),
    ] {
        let said =
            ask_openai(&sim, &also(user("Hello!"), json!({"tools": openai_tools(), "tool_choice": choice}))).await;
        assert_eq!(said.calls.first().map(|(name, _)| name.as_str()), expected, "{choice}");
    }
    for (choice, expected) in [
        (json!({"type": "none"}), None),
        (json!({"type": "any"}), Some("get_weather")),
        (json!({"type": "tool", "name": "now"}), Some("now")),
    ] {
        let said =
            ask_anthropic(&sim, &also(user("Hello!"), json!({"tools": anthropic_tools(), "tool_choice": choice})))
                .await;
        assert_eq!(said.calls.first().map(|(name, _)| name.as_str()), expected, "{choice}");
    }
    let said = ask_openai(&sim, &also(user("Hello!"), json!({"tools": openai_tools()}))).await;
    assert_eq!(said.calls, [], "small talk needs no tool");
}

#[tokio::test]
async fn a_stop_sequence_cuts_the_text() {
    let sim = simulator().await;
    let question = user("Reply with exactly: one two three four");
    let said = ask_openai(&sim, &also(question.clone(), json!({"stop": ["four", " three"]}))).await;
    assert_eq!((said.text.as_str(), said.finish.as_str()), ("one two", "stop"));
    let said = ask_anthropic(&sim, &also(question, json!({"stop_sequences": ["four", " three"]}))).await;
    assert_eq!((said.text.as_str(), said.finish.as_str()), ("one two", "stop_sequence three"));
}

#[tokio::test]
async fn a_token_limit_cuts_the_answer() {
    let sim = simulator().await;
    for limit in ["max_tokens", "max_completion_tokens"] {
        let said = ask_openai(&sim, &also(user("Tell me a story"), json!({limit: 5}))).await;
        assert_eq!((said.text.len(), said.finish.as_str(), said.output_tokens), (20, "length", 5));
    }
    let said = ask_anthropic(&sim, &also(user("Tell me a story"), json!({"max_tokens": 5}))).await;
    assert_eq!((said.text.len(), said.finish.as_str(), said.output_tokens), (20, "max_tokens", 5));
    let cut = json!({"tools": openai_tools(), "max_tokens": 5});
    let said = ask_openai(&sim, &also(user("Weather in Paris?"), cut)).await;
    assert_eq!(said.calls, [("get_weather".to_owned(), "{\"locati".to_owned())]);
    assert_eq!(said.finish, "length");
    let cut = json!({"tools": anthropic_tools(), "max_tokens": 5});
    let said = ask_anthropic(&sim, &also(user("Weather in Paris?"), cut)).await;
    assert_eq!(said.calls, [("get_weather".to_owned(), "{}".to_owned())]);
}

#[tokio::test]
async fn thinking_comes_first_and_is_counted() {
    let sim = simulator().await;
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 1024}});
    let said = ask_anthropic(&sim, &also(user("Hello!"), thinking)).await;
    assert!(said.thinking.contains("Hello!"));
    let plain = ask_anthropic(&sim, &user("Hello!")).await;
    assert!(said.output_tokens > plain.output_tokens && said.text == plain.text);
    let hidden = json!({"thinking": {"type": "adaptive", "display": "omitted"}});
    let hidden = ask_anthropic(&sim, &also(user("Hello!"), hidden)).await;
    assert_eq!((hidden.thinking.as_str(), hidden.output_tokens), ("", said.output_tokens));
    let json = post(&sim, OPENAI, &openai(&also(user("Hello!"), json!({"reasoning_effort": "low"})))).await.json();
    let reasoning = json["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
    assert_eq!(json["usage"]["completion_tokens"], reasoning + plain.output_tokens);
    assert!(reasoning > 0);
}

#[tokio::test]
async fn json_fits_the_schema() {
    let sim = simulator().await;
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["answer", "confidence", "tags"], "properties": {
        "answer": {"type": "string"}, "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "tags": {"type": "array", "items": {"type": "string"}}}});
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}});
    let said = ask_openai(&sim, &also(user("What is the capital of Spain?"), format)).await;
    let value: Value = serde_json::from_str(&said.text).unwrap();
    assert_eq!(value["answer"], "The capital of Spain is Madrid.");
    assert!(value["confidence"].as_f64().unwrap() <= 1.0 && value["tags"].is_array());
    let format = json!({"output_format": {"type": "json_schema", "schema": schema}});
    let said = ask_anthropic(&sim, &also(user("What is the capital of Spain?"), format)).await;
    assert_eq!(serde_json::from_str::<Value>(&said.text).unwrap(), value);
    let format = json!({"response_format": {"type": "json_object"}});
    let said = ask_openai(&sim, &also(user("Say something as json"), format)).await;
    assert!(serde_json::from_str::<Value>(&said.text).unwrap().is_object());
}

#[tokio::test]
async fn several_choices_alternate() {
    let sim = simulator().await;
    let mut body = openai(&also(user("What is the capital of Spain?"), json!({"n": 3})));
    let json = post(&sim, OPENAI, &body).await.json();
    assert_eq!(json["choices"].as_array().map(Vec::len), Some(3));
    body["stream"] = json!(true);
    let answer = post(&sim, OPENAI, &body).await;
    let mut texts = [String::new(), String::new(), String::new()];
    for chunk in answer.data() {
        let choice = &chunk["choices"][0];
        texts[choice["index"].as_u64().unwrap() as usize].push_str(choice["delta"]["content"].as_str().unwrap_or(""));
        assert!(chunk.get("usage").is_none(), "usage was not asked for");
    }
    assert!(texts.iter().all(|text| text == "The capital of Spain is Madrid."), "{texts:?}");
    let finishes = answer.data().iter().filter(|chunk| chunk["choices"][0]["finish_reason"] == "stop").count();
    assert_eq!(finishes, 3);
}

#[tokio::test]
async fn a_prompt_is_cached_where_it_is_marked() {
    let sim = simulator().await;
    let system =
        json!([{"type": "text", "text": "You are brief. ".repeat(50), "cache_control": {"type": "ephemeral"}}]);
    let ask = |question: &str| anthropic(&also(user(question), json!({"system": system})));
    let usage = async |question: &str| {
        let usage = post(&sim, ANTHROPIC, &ask(question)).await.json()["usage"].clone();
        let figure = |name: &str| usage[name].as_u64().unwrap();
        (figure("input_tokens"), figure("cache_creation_input_tokens"), figure("cache_read_input_tokens"))
    };
    let first = usage("Hello!").await;
    let second = usage("Thanks!").await;
    assert!(first.1 > 180 && first.2 == 0, "{first:?}");
    assert_eq!((second.1, second.2), (0, first.1));
    let counted = post(&sim, "/v1/messages/count_tokens", &ask("Hello!")).await.json();
    assert_eq!(counted["input_tokens"], first.0 + first.1);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_bytes() {
    let config = |seed| Config { seed, created: Some(1), ..Config::default() };
    let requests = [
        (OPENAI, openai(&also(user("Tell me a story"), json!({"stream": true})))),
        (ANTHROPIC, anthropic(&also(user("Weather in Paris?"), json!({"stream": true, "tools": anthropic_tools()})))),
        (OPENAI, openai(&user("Hello!"))),
    ];
    let bytes = async |seed| {
        let sim = simulator_with(config(seed)).await;
        let mut bodies = Vec::new();
        for (path, body) in &requests {
            bodies.push(post(&sim, path, body).await.body);
        }
        bodies
    };
    let (one, again, other) = (bytes(7).await, bytes(7).await, bytes(8).await);
    assert_eq!(one, again);
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
}

#[tokio::test]
async fn chunks_and_lengths_can_be_fixed() {
    let sim = simulator_with(Config { chunks: Some(100), answer_bytes: Some(1000), ..Config::default() }).await;
    let stream = json!({"stream": true});
    let answer = post(&sim, OPENAI, &openai(&also(user("Hello!"), stream.clone()))).await;
    let contents = answer
        .data()
        .iter()
        .filter(|c| c["choices"][0]["delta"]["content"].as_str().is_some_and(|t| !t.is_empty()))
        .count();
    assert_eq!((contents, openai_stream(&answer).text.len()), (100, 1000));
    assert!(answer.chunks.len() >= 103, "every event is an HTTP chunk of its own");
    let answer = post(&sim, ANTHROPIC, &anthropic(&also(user("Hello!"), stream))).await;
    let deltas = answer.events().iter().filter(|(name, _)| name == "content_block_delta").count();
    assert_eq!((deltas, anthropic_stream(&answer).text.len()), (100, 1000));
}

#[tokio::test]
async fn delays_pace_the_stream() {
    use std::time::Duration;
    let config = Config {
        first_token_delay: Duration::from_millis(60),
        chunk_delay: Duration::from_millis(10),
        chunks: Some(11),
        ..Config::default()
    };
    let sim = simulator_with(config).await;
    let answer = post(&sim, OPENAI, &openai(&also(user("Hello!"), json!({"stream": true})))).await;
    assert!(answer.first < Duration::from_millis(50), "the role chunk does not wait: {:?}", answer.first);
    assert!(answer.took >= Duration::from_millis(160), "{:?}", answer.took);
    let whole = post(&sim, OPENAI, &openai(&user("Hello!"))).await;
    assert!(whole.first >= Duration::from_millis(60));
}
