//! What vendors really send, one test for each thing that a reader of the official documents would not expect.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod common;

use common::{events, provider, request, stream, whole};
use gateway_core::chat::FinishReason;
use gateway_core::error::UpstreamError;
use gateway_core::event::{Block, Delta, StreamEvent};
use gateway_core::usage::Usage;
use gateway_dialects::codec::{self, Ending};
use serde_json::{Value, json};

/// What a stream says in all.
#[derive(Debug, Default, PartialEq)]
struct Said {
    id: String,
    text: String,
    refusal: String,
    thought: String,
    signature: String,
    /// Id, name, arguments.
    calls: Vec<(String, String, String)>,
    foreign: Vec<String>,
    /// What a provider wants back with its calls.
    remarks: Vec<Value>,
    redacted: Vec<String>,
    citations: usize,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    dropped: Vec<String>,
    error: Option<UpstreamError>,
    complete: bool,
}

fn said(from: &str, sse: &str) -> Said {
    let (events, ending) = events(from, &[sse.as_bytes()]);
    let (mut said, mut refusing) = (Said { complete: ending == Ending::Complete, ..Said::default() }, false);
    for event in events {
        match event {
            StreamEvent::Start { id, .. } => said.id = id,
            StreamEvent::BlockStart(Block::ToolCall { id, name }) => said.calls.push((id, name, String::new())),
            StreamEvent::BlockStart(Block::Foreign { kind, .. }) => said.foreign.push(kind),
            StreamEvent::BlockStart(Block::RedactedReasoning(data)) => said.redacted.push(data),
            StreamEvent::BlockStart(block) => refusing = block == Block::Refusal,
            StreamEvent::Delta(Delta::Text(text)) if refusing => said.refusal += &text,
            StreamEvent::Delta(Delta::Text(text)) => said.text += &text,
            StreamEvent::Delta(Delta::Reasoning(text)) => said.thought += &text,
            StreamEvent::Delta(Delta::Signature(text)) => said.signature += &text,
            StreamEvent::Delta(Delta::Arguments(text)) => said.calls.last_mut().unwrap().2 += &text,
            StreamEvent::Delta(Delta::Citation(_)) => said.citations += 1,
            StreamEvent::Delta(Delta::CallRemark(remark)) => said.remarks.push(remark),
            StreamEvent::Usage(usage) | StreamEvent::EstimatedUsage(usage) => said.usage = Some(usage),
            StreamEvent::Finish(finish) => said.finish = Some(finish),
            StreamEvent::Dropped(name) => said.dropped.push(name.into_owned()),
            StreamEvent::Error(error) => said.error = Some(error),
            StreamEvent::BlockEnd | StreamEvent::Ping | StreamEvent::Delta(Delta::Foreign(_)) => {}
        }
    }
    said
}

const DONE: &str = "data: [DONE]\n\n";

/// A chunk with this choice.
fn choice(choice: &Value) -> String {
    let mut whole = json!({"index": 0});
    whole.as_object_mut().unwrap().extend(choice.as_object().unwrap().clone());
    data(&json!({"id": "c1", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": [whole]}))
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn delta(delta: Value) -> String {
    choice(&json!({"delta": delta, "finish_reason": null}))
}

fn end(reason: &str) -> String {
    choice(&json!({"delta": {}, "finish_reason": reason}))
}

fn chat(chunks: &[String]) -> Said {
    said("chat", &(chunks.concat() + DONE))
}

/// An answer of the chat API with this choice, read and written for clients of the Messages API.
fn as_message(choice: Value) -> (Value, Vec<String>) {
    let mut whole_choice = json!({"index": 0, "finish_reason": "stop"});
    whole_choice.as_object_mut().unwrap().extend(choice.as_object().unwrap().clone());
    whole(
        "chat",
        "messages",
        &json!({"id": "c1", "object": "chat.completion", "model": "m", "choices": [whole_choice]}),
    )
}

fn start() -> String {
    event(
        json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
        "content": [], "stop_reason": null, "usage": {"input_tokens": 10, "output_tokens": 1}}}),
    )
}

fn event(value: Value) -> String {
    format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap())
}

fn block(index: u32, block: Value, deltas: &[Value]) -> String {
    let begin = event(json!({"type": "content_block_start", "index": index, "content_block": block}));
    let deltas =
        deltas.iter().map(|delta| event(json!({"type": "content_block_delta", "index": index, "delta": delta})));
    begin + &deltas.collect::<String>() + &event(json!({"type": "content_block_stop", "index": index}))
}

fn stop(reason: &str) -> String {
    event(json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null},
        "usage": {"input_tokens": 10, "output_tokens": 4}}))
        + &event(json!({"type": "message_stop"}))
}

fn text_block(text: &str) -> String {
    block(0, json!({"type": "text", "text": ""}), &[json!({"type": "text_delta", "text": text})])
}

fn messages(events: &[String]) -> Said {
    said("messages", &(start() + &events.concat()))
}

fn tool_use(input: Value, deltas: &[Value]) -> String {
    block(0, json!({"type": "tool_use", "id": "t", "name": "f", "input": input}), deltas)
}

fn error_of(name: &str, status: u16, body: &str) -> UpstreamError {
    codec::provider(provider(name)).decode_error(status, body.as_bytes())
}

// ---- The frame of streams --------------------------------------------------------------------------------------------

#[test]
fn lines_may_end_in_carriage_return_and_newline() {
    let plain = delta(json!({"content": "Hi"})) + &end("stop") + DONE;
    assert_eq!(said("chat", &plain.replace('\n', "\r\n")), said("chat", &plain));
}

#[test]
fn comments_may_stand_before_and_among_data() {
    let noted = format!(": PROCESSING\n\n{}: PROCESSING\n\n{}", delta(json!({"content": "Hi"})), end("stop"));
    assert_eq!(chat(&[noted]), chat(&[delta(json!({"content": "Hi"})), end("stop")]));
}

#[test]
fn a_chat_stream_without_done_is_complete_by_its_finish_reason() {
    let seen = said("chat", &(delta(json!({"content": "Hi"})) + &end("stop")));
    assert_eq!((seen.complete, seen.finish), (true, Some(FinishReason::STOP)));
}

#[test]
fn a_done_behind_a_message_is_no_error() {
    let seen = messages(&[text_block("Hi"), stop("end_turn"), DONE.to_owned()]);
    assert!(seen.complete && seen.error.is_none() && seen.text == "Hi");
}

#[test]
fn the_type_inside_the_data_counts_not_the_name_of_the_event() {
    let unnamed: String = (start() + &text_block("Hi") + &stop("end_turn"))
        .lines()
        .filter(|line| !line.starts_with("event:"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(said("messages", &unnamed), messages(&[text_block("Hi"), stop("end_turn")]));
}

#[test]
fn blank_lines_between_events_say_nothing() {
    let sse = start() + "\n\n" + &text_block("Hi").replace("\n\n", "\n\n\n") + &stop("end_turn");
    assert_eq!(said("messages", &sse), messages(&[text_block("Hi"), stop("end_turn")]));
}

#[test]
fn json_padded_with_spaces_is_the_same_json() {
    let sse = (start() + &text_block("Hi") + &stop("end_turn")).replace("}\n\n", "      }\n\n");
    assert_eq!(said("messages", &sse), messages(&[text_block("Hi"), stop("end_turn")]));
}

#[test]
fn filler_fields_are_neither_content_nor_a_loss() {
    let filled = |key: &str| {
        let mut chunk = json!({"id": "c1", "choices": [{"index": 0, "delta": {"content": "Hi"}}]});
        chunk[key] = "xxxxxxxx".into();
        chat(&[data(&chunk), end("stop")])
    };
    for key in ["obfuscation", "p"] {
        assert_eq!((filled(key).text.as_str(), filled(key).dropped), ("Hi", vec![]), "{key}");
    }
}

// ---- Chunks ----------------------------------------------------------------------------------------------------------

#[test]
fn the_last_chunk_may_have_no_choices_but_usage() {
    let usage = data(&json!({"id": "c1", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}));
    let seen = chat(&[delta(json!({"content": "Hi"})), end("stop"), usage]);
    assert_eq!(seen.usage, Some(Usage { input: 3, output: 2, ..Usage::default() }));
}

#[test]
fn a_first_chunk_without_choices_id_and_model_does_not_name_the_answer_and_its_extras_are_told() {
    let azure = data(
        &json!({"choices": [], "created": 0, "id": "", "model": "", "prompt_filter_results": [{"prompt_index": 0}]}),
    );
    let seen = chat(&[azure, delta(json!({"content": "Hi"})), end("stop")]);
    assert_eq!((seen.id.as_str(), seen.text.as_str()), ("c1", "Hi"));
    assert_eq!(seen.dropped, ["prompt_filter_results"]);
}

#[test]
fn a_chunk_without_choices_and_usage_is_a_remark_and_told() {
    let remark = data(&json!({"id": "c1", "choices": [], "moderation": {"input": {"flagged": true}}}));
    let mut sse = delta(json!({"content": "Hi"})) + &end("stop");
    assert!(said("chat", &(sse.clone() + &remark + DONE)).complete);
    sse.insert_str(0, &remark);
    assert_eq!(said("chat", &(sse + DONE)).dropped, ["moderation"]);
}

#[test]
fn usage_may_stand_in_the_finish_chunk_or_on_every_chunk_and_the_last_one_counts() {
    let with_usage = |output: u64, finish: Value| {
        data(&json!({"id": "c1", "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": finish}],
            "usage": {"prompt_tokens": 3, "completion_tokens": output}}))
    };
    let seen = chat(&[with_usage(1, Value::Null), with_usage(2, Value::Null), with_usage(3, "stop".into())]);
    assert_eq!(seen.usage, Some(Usage { input: 3, output: 3, ..Usage::default() }));
}

#[test]
fn the_finish_reason_may_come_twice() {
    let seen = chat(&[delta(json!({"content": "Hi"})), end("stop"), end("stop")]);
    assert_eq!((seen.finish, seen.complete), (Some(FinishReason::STOP), true));
}

#[test]
fn content_or_whole_calls_beside_the_finish_reason_count() {
    let call = json!([{"id": "a", "index": 0, "function": {"name": "f", "arguments": "{\"x\":1}"}}]);
    let seen = chat(&[choice(&json!({"delta": {"content": "Hi", "tool_calls": call}, "finish_reason": "tool_calls"}))]);
    assert_eq!(seen.text, "Hi");
    assert_eq!(seen.calls, [("a".into(), "f".into(), "{\"x\":1}".into())]);
}

#[test]
fn a_role_in_every_delta_says_nothing_new() {
    let seen = chat(&[
        delta(json!({"role": "assistant", "content": "H"})),
        delta(json!({"role": "assistant", "content": "i"})),
        end("stop"),
    ]);
    assert_eq!(seen.text, "Hi");
}

#[test]
fn an_id_repeated_in_each_delta_is_one_call_and_other_choices_are_told() {
    let piece = |text: &str| {
        delta(json!({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": text}}]}))
    };
    let second = data(&json!({"id": "c1", "choices": [{"index": 1, "delta": {"content": "other"}}]}));
    let seen = chat(&[piece("{\"x\""), second, piece(":1}"), end("tool_calls")]);
    assert_eq!(seen.calls, [("a".into(), "f".into(), "{\"x\":1}".into())]);
    assert_eq!((seen.text.as_str(), seen.dropped), ("", vec!["choices[1]".to_owned()]));
}

#[test]
fn arguments_that_are_missing_null_or_empty_become_an_empty_object() {
    for function in
        [json!({"name": "f"}), json!({"name": "f", "arguments": null}), json!({"name": "f", "arguments": ""})]
    {
        let sse =
            delta(json!({"tool_calls": [{"index": 0, "id": "a", "function": function}]})) + &end("tool_calls") + DONE;
        let again = said("chat", &stream_to_chat(&sse));
        assert_eq!(again.calls, [("a".into(), "f".into(), "{}".into())], "{function}");
        let (message, _) = as_message(json!({"message": {"tool_calls": [{"id": "a", "function": function}]}}));
        assert_eq!(message["content"][0]["input"], json!({}));
    }
}

/// Through the decoder and the encoder of one dialect.
fn stream_to_chat(sse: &str) -> String {
    stream("chat", "chat", &[sse.as_bytes()])
}

#[test]
fn thoughts_have_three_names_and_a_signature_inside_details_is_kept() {
    for named in
        [json!({"reasoning_content": "hm"}), json!({"reasoning": "hm"}), json!({"reasoning_details": [{"text": "hm"}]})]
    {
        assert_eq!(chat(&[delta(named.clone()), end("stop")]).thought, "hm", "{named}");
    }
    let signed = delta(json!({"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s"}]}));
    assert_eq!(chat(&[signed, end("stop")]).signature, "s");
    let sealed = delta(json!({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}));
    assert_eq!(chat(&[sealed, end("stop")]).dropped, ["choices[0].message.reasoning_details"]);
}

#[test]
fn content_may_be_a_list_with_thoughts_in_it() {
    let list =
        json!([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hi"}]);
    let seen = chat(&[delta(json!({"content": list})), end("stop")]);
    assert_eq!((seen.thought.as_str(), seen.text.as_str()), ("hm", "Hi"));
}

#[test]
fn fields_of_a_delta_that_only_one_vendor_has_are_told_and_annotations_kept() {
    let seen = chat(&[
        delta(json!({"content": "Hi", "channel": "final", "annotations": [{"type": "url_citation"}]})),
        end("stop"),
    ]);
    assert_eq!((seen.citations, seen.dropped), (1, vec!["choices[0].message.channel".to_owned()]));
}

#[test]
fn of_a_delta_and_a_message_in_one_choice_the_delta_counts() {
    let both = |piece: &str, all: &str| choice(&json!({"delta": {"content": piece}, "message": {"content": all}}));
    assert_eq!(chat(&[both("H", "H"), both("i", "Hi"), end("stop")]).text, "Hi");
}

#[test]
fn unknown_keys_of_chunks_and_choices_are_told() {
    let chunk = data(&json!({"id": "c1", "provider": "x", "citations": ["https://example.org"], "choices":
        [{"index": 0, "delta": {"content": "Hi"}, "content_filter_results": {"hate": {"filtered": false}}}]}));
    let seen = chat(&[chunk, end("stop")]);
    assert_eq!(seen.dropped, ["choices[0].content_filter_results", "citations", "provider"]);
}

// ---- Whole answers ---------------------------------------------------------------------------------------------------

#[test]
fn content_may_be_null_absent_or_stand_beside_calls_and_no_calls_may_be_a_list() {
    let call = json!([{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let kinds = |message: Value| -> Vec<String> {
        let (said, _) = as_message(json!({"message": message}));
        said["content"].as_array().unwrap().iter().map(|block| block["type"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(json!({"content": null, "tool_calls": call})), ["tool_use"]);
    assert_eq!(kinds(json!({"tool_calls": call})), ["tool_use"]);
    assert_eq!(kinds(json!({"content": "Hi", "tool_calls": call})), ["text", "tool_use"]);
    assert_eq!(kinds(json!({"content": "Hi", "tool_calls": []})), ["text"]);
}

#[test]
fn a_finish_reason_of_stop_beside_calls_means_calls() {
    let call = json!([{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    assert_eq!(as_message(json!({"message": {"tool_calls": call}})).0["stop_reason"], "tool_use");
}

#[test]
fn a_finish_reason_that_is_null_or_empty_is_none_and_finish_details_are_told() {
    for reason in [Value::Null, "".into()] {
        let (said, dropped) = as_message(
            json!({"message": {"content": "Hi"}, "finish_reason": reason, "finish_details": {"type": "stop"}}),
        );
        assert_eq!(
            (said["stop_reason"].as_str(), dropped),
            (Some("end_turn"), vec!["choices[0].finish_details".to_owned()])
        );
    }
}

#[test]
fn a_success_with_an_error_inside_is_an_error() {
    let body = r#"{"error": {"message": "filtered", "code": "content_filter", "status": 400}}"#;
    let error = codec::provider(provider("chat")).decode_response(body.as_bytes()).unwrap_err();
    assert_eq!((error.status, error.message.as_str()), (400, "filtered"));
}

#[test]
fn a_signature_beside_a_call_is_told() {
    let call = json!([{"id": "", "extra_content": {"google": {"thought_signature": "s"}}, "function": {"name": "f", "arguments": "{}"}}]);
    let (said, dropped) = as_message(json!({"message": {"tool_calls": call}}));
    assert_eq!(dropped, ["choices[0].message.tool_calls.extra_content"]);
    assert!(said["content"][0]["id"].as_str().unwrap().starts_with("call_"), "an id is made where there is none");
    let events = [delta(json!({"tool_calls": call})), end("tool_calls"), DONE.to_owned()].concat();
    assert!(
        stream("chat", "messages", &[events.as_bytes()])
            .contains("dropped: choices[0].message.tool_calls.extra_content\n")
    );
}

#[test]
fn a_signature_beside_a_call_reaches_a_client_that_can_send_it_back() {
    let signature = json!({"google": {"thought_signature": "s"}});
    let call =
        json!([{"index": 0, "id": "a", "extra_content": signature, "function": {"name": "f", "arguments": "{}"}}]);
    let body = json!({"id": "c", "choices": [{"message": {"tool_calls": call}, "finish_reason": "stop"}]});
    let (said, dropped) = whole("chat", "native", &body);
    assert_eq!((&said["tool_calls"][0]["extra_content"], dropped), (&signature, vec![]));
    let seen = chat(&[delta(json!({"tool_calls": call})), end("tool_calls")]);
    assert_eq!((seen.remarks, seen.dropped), (vec![signature.clone()], vec![]));
    let events = [delta(json!({"tool_calls": call})), end("tool_calls"), DONE.to_owned()].concat();
    let written = stream("chat", "native", &[events.as_bytes()]);
    assert!(written.contains(&format!("\"extra_content\":{signature}")) && !written.contains("dropped"), "{written}");
    // Back it goes.
    let answered = json!({"role": "assistant", "content": null, "tool_calls": said["tool_calls"]});
    let messages =
        json!([{"role": "user", "content": "Q"}, answered, {"role": "tool", "tool_call_id": "a", "content": "R"}]);
    let (asked, encoded) = request("native", "chat", &json!({"messages": messages})).unwrap();
    assert_eq!((&asked["messages"][1]["tool_calls"][0]["extra_content"], encoded.dropped), (&signature, vec![]));
}

#[test]
fn an_answer_without_usage_has_none() {
    let body = json!({"id": "c1", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]});
    assert_eq!(whole("chat", "native", &body).0["usage"], Value::Null);
}

#[test]
fn a_refusal_has_a_place_of_its_own() {
    let (said, _) = as_message(json!({"message": {"content": null, "refusal": "No."}}));
    assert_eq!((said["content"][0]["text"].as_str(), said["stop_reason"].as_str()), (Some("No."), Some("refusal")));
    assert_eq!(chat(&[delta(json!({"refusal": "No."})), end("stop")]).refusal, "No.");
}

#[test]
fn white_space_before_the_json_and_odd_numbers_are_read() {
    let body = "\n\n   \n{\"id\": \"c1\", \"created\": 1.7e9, \"seed\": 18446744073709551615, \"choices\": [{\"seed\": 11111111111111111111111, \
        \"message\": {\"content\": \"Hi\"}, \"finish_reason\": \"stop\"}], \"usage\": {\"prompt_tokens\": 3.0, \"completion_tokens\": 2, \"cost\": 1.20e-4}}";
    let response = codec::provider(provider("chat")).decode_response(body.as_bytes()).unwrap();
    assert_eq!(response.usage, Some(Usage { input: 3, output: 2, ..Usage::default() }));
    assert_eq!(response.dropped, ["choices[0].seed", "seed", "usage.cost"]);
}

#[test]
fn a_custom_call_has_no_function() {
    let call = json!([{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}]);
    assert_eq!(as_message(json!({"message": {"tool_calls": call}})).1, ["custom"]);
}

// ---- Messages --------------------------------------------------------------------------------------------------------

#[test]
fn pings_may_come_before_the_first_block_and_inside_it() {
    let ping = event(json!({"type": "ping"}));
    let block = text_block("Hi").replacen("\n\n", &format!("\n\n{ping}"), 1);
    assert_eq!(messages(&[ping, block, stop("end_turn")]), messages(&[text_block("Hi"), stop("end_turn")]));
}

#[test]
fn input_may_come_in_pieces_after_an_empty_one_whole_at_the_start_or_not_at_all() {
    let piece = |text: &str| json!({"type": "input_json_delta", "partial_json": text});
    for (input, deltas, arguments) in [
        (json!({}), vec![piece(""), piece("{\"x\":"), piece("1}")], "{\"x\":1}"),
        (json!({"x": 1}), vec![], "{\"x\":1}"),
        (json!({}), vec![piece("")], "{}"),
        (json!({}), vec![], "{}"),
    ] {
        let seen = messages(&[tool_use(input, &deltas), stop("tool_use")]);
        assert_eq!(seen.calls, [("t".into(), "f".into(), arguments.into())]);
    }
}

#[test]
fn blocks_may_have_no_delta() {
    let redacted = block(0, json!({"type": "redacted_thinking", "data": "d"}), &[]);
    let result = block(1, json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}), &[]);
    let seen = messages(&[redacted, result, stop("end_turn")]);
    assert_eq!((seen.redacted, seen.foreign), (vec!["d".to_owned()], vec!["web_search_tool_result".to_owned()]));
}

#[test]
fn hidden_thoughts_are_empty_and_signed_all_the_same() {
    let deltas =
        [json!({"type": "thinking_delta", "thinking": ""}), json!({"type": "signature_delta", "signature": "s"})];
    let thought = block(0, json!({"type": "thinking", "thinking": "", "signature": ""}), &deltas);
    let seen = messages(&[thought, stop("end_turn")]);
    assert_eq!((seen.thought.as_str(), seen.signature.as_str()), ("", "s"));
}

#[test]
fn citations_come_as_deltas_and_may_be_null_at_the_start() {
    let deltas = [
        json!({"type": "citations_delta", "citation": {"type": "char_location"}}),
        json!({"type": "text_delta", "text": "Hi"}),
    ];
    let seen = messages(&[block(0, json!({"type": "text", "text": "", "citations": null}), &deltas), stop("end_turn")]);
    assert_eq!((seen.citations, seen.text.as_str()), (1, "Hi"));
}

#[test]
fn usage_that_is_said_again_is_not_added() {
    let seen = messages(&[text_block("Hi"), stop("end_turn")]);
    assert_eq!(seen.usage, Some(Usage { input: 10, output: 4, ..Usage::default() }));
}

#[test]
fn details_of_the_stop_container_and_context_are_told_in_streams_and_whole_answers() {
    let delta = event(
        json!({"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": {"type": "refusal"},
        "container": {"id": "c"}}, "context_management": {"applied_edits": [1]}, "usage": {"output_tokens": 1, "service_tier": "priority",
        "server_tool_use": {"web_search_requests": 1}, "inference_geo": "us", "iterations": [1], "output_tokens_details": {"thinking_tokens": 1}}}),
    );
    let seen = messages(&[delta, event(json!({"type": "message_stop"}))]);
    let names = [
        "context_management",
        "container",
        "stop_details",
        "usage.inference_geo",
        "usage.iterations",
        "usage.server_tool_use",
        "usage.service_tier",
    ];
    assert_eq!(
        (seen.dropped, seen.text.as_str(), seen.finish),
        (names.map(str::to_owned).to_vec(), "", Some(FinishReason::ContentFilter))
    );
    let body = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": "refusal",
        "stop_details": {"type": "refusal"}, "container": {"id": "c"}, "provider": "x", "usage": {"input_tokens": 1, "output_tokens": 1}});
    assert_eq!(whole("messages", "chat", &body).1, ["container", "provider", "stop_details"]);
}

#[test]
fn a_pause_and_a_stop_sequence_are_ends_that_openai_clients_are_told_of() {
    let paused = stream("messages", "chat", &[(start() + &text_block("Hi") + &stop("pause_turn")).as_bytes()]);
    assert!(paused.contains(": x-gateway-dropped: stop_reason\n") && paused.ends_with(DONE), "{paused}");
    let body = json!({"id": "msg_1", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "stop_sequence", "stop_sequence": "END"});
    assert_eq!(whole("messages", "native", &body).1, ["stop_sequence"]);
}

#[test]
fn the_caller_of_a_tool_is_told_where_it_is_not_the_model() {
    let call = |caller: Value| {
        let block = block(0, json!({"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": caller}), &[]);
        messages(&[block, stop("tool_use")]).dropped
    };
    assert_eq!(call(json!({"type": "direct"})), Vec::<String>::new());
    assert_eq!(call(json!({"type": "code_execution_20260120", "tool_id": "s"})), ["tool_use.caller.tool_id"]);
}

#[test]
fn server_tools_are_never_shown_as_calls_of_the_client() {
    let server = block(
        0,
        json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        &[json!({"type": "input_json_delta", "partial_json": "{}"})],
    );
    for to in ["chat", "native"] {
        let sse = stream("messages", to, &[(start() + &server + &stop("end_turn")).as_bytes()]);
        assert!(!sse.contains("tool_calls") && sse.contains(": x-gateway-dropped: server_tool_use\n"), "{sse}");
    }
}

#[test]
fn an_error_event_ends_a_stream_without_a_success() {
    let error = event(
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "r"}),
    );
    let seen = messages(&[error]);
    assert_eq!(seen.error.as_ref().map(|error| (error.status, error.message.as_str())), Some((529, "Overloaded")));
    assert!(!seen.complete && seen.finish.is_none());
}

#[test]
fn an_answer_whose_start_never_came_begins_all_the_same() {
    let (seen, _) = events("messages", &[(text_block("Hi") + &stop("end_turn")).as_bytes()]);
    assert!(matches!(seen[0], StreamEvent::Start { .. }), "{seen:?}");
    let late = events("messages", &[(text_block("Hi") + &start()).as_bytes()]).0;
    assert!(matches!(late.last(), Some(StreamEvent::Error(_))), "{late:?}");
}

#[test]
fn a_character_that_is_cut_in_two_is_no_error() {
    let halves = [r#""\ud83d""#, r#""\ude00""#].map(|half| {
        let chunk = r#"{"id":"c1","model":"m","choices":[{"index":0,"delta":{"content":HALF}}]}"#;
        format!("data: {}\n\n", chunk.replace("HALF", half))
    });
    let seen = said("chat", &(delta(json!({"content": "Hi"})) + &halves.concat() + &delta(json!({"content": "!"}))));
    assert_eq!((seen.text.as_str(), seen.error), ("Hi!", None));
}

#[test]
fn two_starts_are_one_answer() {
    assert_eq!(
        messages(&[start(), text_block("Hi"), stop("end_turn")]),
        messages(&[text_block("Hi"), stop("end_turn")])
    );
}

// ---- Errors ----------------------------------------------------------------------------------------------------------

#[test]
fn a_plain_json_error_to_a_stream_is_read_as_any_error() {
    let error = error_of("chat", 401, r#"{"error": {"message": "no key", "type": "invalid_request_error"}}"#);
    assert_eq!((error.status, error.message.as_str()), (401, "no key"));
}

#[test]
fn an_error_inside_a_good_stream_is_seen_as_an_event_and_as_a_chunk() {
    let event = "event: error\ndata: {\"error\": {\"message\": \"failed\", \"status_code\": 400, \"failed_generation\": \"x\"}}\n\n";
    let chunk = data(
        &json!({"id": "c1", "error": {"message": "failed", "code": 400}, "usage": {"prompt_tokens": 1, "completion_tokens": 0},
        "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": null}]}),
    );
    for error in [event, &chunk] {
        let seen = said("chat", &(delta(json!({"content": "Hi"})) + error));
        assert_eq!(seen.error.map(|error| (error.status, error.message)), Some((400, "failed".to_owned())), "{error}");
        assert!(!seen.complete && seen.finish.is_none());
    }
}

#[test]
fn a_code_may_be_a_number_and_there_may_be_no_error_object() {
    assert_eq!(error_of("chat", 501, r#"{"error": {"code": 501, "message": "m"}}"#).code.as_deref(), Some("501"));
    assert_eq!(error_of("chat", 422, r#"{"detail": [{"msg": "m"}]}"#).message, "m");
    assert_eq!(error_of("chat", 400, r#"{"object": "error", "message": "m", "type": "t"}"#).message, "m");
}

#[test]
fn every_status_passes_and_a_request_id_in_the_body_is_no_harm() {
    for status in [403, 429, 500, 501, 529] {
        let error = error_of(
            "messages",
            status,
            r#"{"type": "error", "error": {"type": "api_error", "message": "m"}, "request_id": "r"}"#,
        );
        assert_eq!((error.status, error.message.as_str()), (status, "m"));
    }
}

// ---- Seen by other checks --------------------------------------------------------------------------------------------

#[test]
fn arguments_cut_off_by_a_limit_are_never_a_failure() {
    let cut =
        json!([{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\": \"y"}}]);
    let (said, _) = as_message(json!({"message": {"tool_calls": cut}, "finish_reason": "length"}));
    assert_eq!(
        (&said["content"][0]["input"], said["stop_reason"].as_str()),
        (&json!({"_raw": "{\"x\": \"y"}), Some("max_tokens"))
    );
    let sse = stream("chat", "messages", &[(delta(json!({"tool_calls": cut})) + &end("length") + DONE).as_bytes()]);
    assert!(sse.contains(r#""stop_reason":"max_tokens""#) && sse.ends_with("{\"type\":\"message_stop\"}\n\n"), "{sse}");
    let asked = json!({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "tool_calls": cut},
        {"role": "tool", "tool_call_id": "a", "content": "R"}]});
    let (body, encoded) = request("chat", "messages", &asked).unwrap();
    assert_eq!(
        (body["messages"][1]["content"][0]["input"].is_object(), encoded.dropped),
        (true, vec!["messages[1].tool_calls[0].arguments".to_owned()])
    );
}

#[test]
fn the_id_of_chunks_may_change_within_a_stream() {
    let other = data(&json!({"id": "c2", "choices": [{"index": 0, "delta": {"content": "i"}}]}));
    let seen = chat(&[delta(json!({"content": "H"})), other, end("stop")]);
    assert_eq!((seen.id.as_str(), seen.text.as_str()), ("c1", "Hi"));
}

#[test]
fn a_stream_without_a_finish_reason_is_complete_by_its_done_and_broken_without_it() {
    let text = delta(json!({"content": "Hi"}));
    assert!(said("chat", &(text.clone() + DONE)).complete);
    assert!(!said("chat", &text).complete);
    let error = stream("chat", "messages", &[text.as_bytes()]);
    assert!(error.contains("event: error") && !error.contains("message_stop"), "{error}");
}
