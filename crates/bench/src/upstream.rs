//! A provider that costs next to nothing: canned answers in the OpenAI and the Anthropic dialect, whole and streamed.
//!
//! It shares a core with the generator, and a proxy's processor time per request is only comparable while the proxy is
//! busy: one that waits for its upstream pays a wake-up for each request, several times the price of the request itself.
//! So the upstream must be faster than the fastest proxy, which a simulator that understands requests cannot be.

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// What one read can return; room for a large request.
const BUFFER_BYTES: usize = 128 * 1024;
/// A request longer than this is refused by closing its connection.
const MAX_REQUEST_BYTES: usize = 64 * 1024 * 1024;
const MAX_HEADERS: usize = 100;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Bytes of text in every answer.
    pub(crate) answer_bytes: usize,
    /// Text chunks in every stream.
    pub(crate) chunks: usize,
    /// From one chunk to the next; the first comes at once.
    pub(crate) chunk_gap: Duration,
}

/// Answers until it is stopped.
pub(crate) async fn run(address: SocketAddr, plan: Plan) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    serve(listener, plan).await
}

async fn serve(listener: TcpListener, plan: Plan) -> io::Result<()> {
    let answers = Arc::new(Answers::new(plan));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // A connection that breaks is its client's business, and its client tells.
        tokio::spawn(converse(stream, Arc::clone(&answers)));
    }
}

/// Every byte this server ever says.
#[derive(Debug)]
struct Answers {
    openai: Dialect,
    anthropic: Dialect,
    chunk_gap: Duration,
}

#[derive(Debug)]
struct Dialect {
    whole: Vec<u8>,
    /// Head of the response and all before the first text.
    opening: Vec<u8>,
    chunk: Vec<u8>,
    chunks: usize,
    /// All after the last text.
    closing: Vec<u8>,
}

impl Answers {
    fn new(plan: Plan) -> Self {
        let text =
            |bytes: usize| "Look at the encoding of the file first. ".chars().cycle().take(bytes).collect::<String>();
        let (whole, piece) = (text(plan.answer_bytes), text(plan.answer_bytes / plan.chunks.max(1)));
        Self {
            openai: openai(&whole, &piece, plan.chunks),
            anthropic: anthropic(&whole, &piece, plan.chunks),
            chunk_gap: plan.chunk_gap,
        }
    }
}

fn openai(whole: &str, piece: &str, chunks: usize) -> Dialect {
    let usage = json!({
        "prompt_tokens": 250, "completion_tokens": 200, "total_tokens": 450,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    });
    let whole = json!({
        "id": "chatcmpl-bench", "object": "chat.completion", "created": 1_700_000_000, "model": "gpt-4o-mini",
        "choices": [{
            "index": 0, "message": {"role": "assistant", "content": whole, "refusal": null},
            "logprobs": null, "finish_reason": "stop",
        }],
        "usage": usage, "service_tier": "default", "system_fingerprint": "fp_bench",
    });
    let event = |choices: Value, usage: &Value| {
        let data = json!({
            "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000,
            "model": "gpt-4o-mini", "service_tier": "default", "system_fingerprint": "fp_bench",
            "choices": choices, "usage": usage,
        });
        format!("data: {data}\n\n")
    };
    let choice = |delta: Value, finish: Value| {
        event(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]), &Value::Null)
    };
    let closing = choice(json!({}), json!("stop")) + &event(json!([]), &usage) + "data: [DONE]\n\n";
    Dialect::new(
        &whole,
        &choice(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null),
        (&choice(json!({"content": piece}), Value::Null), chunks),
        &closing,
    )
}

fn anthropic(whole: &str, piece: &str, chunks: usize) -> Dialect {
    let message = |content: Value, stop: Value, output: u32| {
        json!({
            "id": "msg_bench", "type": "message", "role": "assistant", "model": "claude-haiku-4-5-20251001",
            "content": content, "stop_reason": stop, "stop_sequence": null,
            "usage": {
                "input_tokens": 250, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                "output_tokens": output, "service_tier": "standard",
            },
        })
    };
    let event = |name: &str, mut data: Value| {
        data["type"] = json!(name);
        format!("event: {name}\ndata: {data}\n\n")
    };
    let opening = event("message_start", json!({"message": message(json!([]), Value::Null, 1)}))
        + &event("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}}))
        + &event("ping", json!({}));
    let chunk = event("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": piece}}));
    let closing = event("content_block_stop", json!({"index": 0}))
        + &event(
            "message_delta",
            json!({"delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 200}}),
        )
        + &event("message_stop", json!({}));
    let whole = message(json!([{"type": "text", "text": whole}]), json!("end_turn"), 200);
    Dialect::new(&whole, &opening, (&chunk, chunks), &closing)
}

impl Dialect {
    fn new(whole: &Value, opening: &str, (chunk, chunks): (&str, usize), closing: &str) -> Self {
        let whole = whole.to_string();
        let length = whole.len();
        let mut head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n".to_owned();
        head.push_str("cache-control: no-cache\r\nx-request-id: req_bench\r\ntransfer-encoding: chunked\r\n\r\n");
        Self {
            whole: format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: req_bench\r\n\
                 content-length: {length}\r\n\r\n{whole}"
            )
            .into_bytes(),
            opening: framed(head, opening).into_bytes(),
            chunk: framed(String::new(), chunk).into_bytes(),
            chunks,
            closing: (framed(String::new(), closing) + "0\r\n\r\n").into_bytes(),
        }
    }
}

/// Appends `data` as one HTTP chunk.
fn framed(mut to: String, data: &str) -> String {
    // Writing to a string cannot fail.
    let _ = write!(to, "{:x}\r\n{data}\r\n", data.len());
    to
}

async fn converse(mut stream: TcpStream, answers: Arc<Answers>) -> io::Result<()> {
    // Room for the request at hand, which begins at its start; grows for a large one and stays grown.
    let mut buffer = vec![0; 4096];
    loop {
        let Some(request) = read_request(&mut stream, &mut buffer).await? else { return Ok(()) };
        let dialect = if request.anthropic { &answers.anthropic } else { &answers.openai };
        if !request.streamed {
            stream.write_all(&dialect.whole).await?;
            continue;
        }
        stream.write_all(&dialect.opening).await?;
        let start = Instant::now();
        for number in 0..dialect.chunks {
            if number > 0 {
                sleep_until(start + answers.chunk_gap * u32::try_from(number).unwrap_or(u32::MAX)).await;
            }
            stream.write_all(&dialect.chunk).await?;
        }
        stream.write_all(&dialect.closing).await?;
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    anthropic: bool,
    streamed: bool,
}

/// Reads one request, head and body. `None` when the peer has left, or sent what this server does not know: requests
/// without a length, or the next one before its answer.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    let (mut filled, mut head) = (0, None);
    loop {
        if filled == buffer.len() {
            buffer.resize((2 * filled).max(BUFFER_BYTES), 0);
        }
        let length = stream.read(&mut buffer[filled..]).await?;
        filled += length;
        if length == 0 || filled > MAX_REQUEST_BYTES {
            return Ok(None);
        }
        if head.is_none() {
            head = read_head(&buffer[..filled]);
        }
        let Some((anthropic, body_start, end)) = head else { continue };
        if filled >= end {
            let streamed = memchr::memmem::find(&buffer[body_start..filled], b"\"stream\":true").is_some();
            return Ok((filled == end).then_some(Asked { anthropic, streamed }));
        }
    }
}

/// Dialect, start and end of the body, once the head is complete.
fn read_head(bytes: &[u8]) -> Option<(bool, usize, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(start) = request.parse(bytes).ok()? else { return None };
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(Some(0), |header| std::str::from_utf8(header.value).ok()?.trim().parse().ok())?;
    Some((request.path?.ends_with("/messages"), start, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Request;
    use crate::load::{closed, streams};
    use crate::traffic;

    const PLAN: Plan = Plan { answer_bytes: 1000, chunks: 10, chunk_gap: Duration::from_millis(5) };

    async fn start() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, PLAN));
        address
    }

    /// The payloads of all events of a stream.
    fn events(dialect: &Dialect) -> Vec<String> {
        let (mut lines, mut events) = (crate::sse::DataLines::default(), Vec::new());
        let chunks = std::iter::repeat_n(&dialect.chunk, dialect.chunks);
        let mut reader = crate::http::ResponseReader::new();
        let mut answer = None;
        for bytes in [&dialect.opening].into_iter().chain(chunks).chain([&dialect.closing]) {
            answer = reader
                .push(bytes, |body| {
                    lines.push(body, |data| events.push(String::from_utf8(data.to_vec()).unwrap()));
                })
                .unwrap();
        }
        assert!(answer.is_some(), "the stream is one complete response");
        events
    }

    #[test]
    fn streams_have_the_events_of_their_dialect() {
        let answers = Answers::new(PLAN);
        let openai = events(&answers.openai);
        assert_eq!(openai.last().unwrap(), "[DONE]");
        let parsed: Vec<Value> = openai[..13].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
        assert_eq!(parsed[0]["choices"][0]["delta"]["role"], "assistant");
        let text: String =
            parsed[1..11].iter().map(|event| event["choices"][0]["delta"]["content"].as_str().unwrap()).collect();
        assert_eq!(text.len(), 1000);
        assert_eq!(parsed[11]["choices"][0]["finish_reason"], "stop");
        assert_eq!(parsed[12]["usage"]["total_tokens"], 450);

        let types: Vec<String> = events(&answers.anthropic)
            .iter()
            .map(|event| serde_json::from_str::<Value>(event).unwrap()["type"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(types[..3], ["message_start", "content_block_start", "ping"]);
        assert!(types[3..13].iter().all(|name| name == "content_block_delta"));
        assert_eq!(types[13..], ["content_block_stop", "message_delta", "message_stop"]);
    }

    #[tokio::test]
    async fn both_dialects_answer_the_loads() {
        let address = start().await;
        for path in ["/v1/chat/completions", "/v1/messages"] {
            let post = |stream, bytes| Request::post(address, path, &[], &traffic::chat("m", stream, bytes));
            let plan = closed::Plan { connections: 3, max_requests: 30, max_time: Duration::from_secs(20) };
            let report = closed::run(post(false, 300 * 1024), closed::Turns::default(), plan).await.unwrap();
            assert_eq!(report.requests, 30);
            assert!((1000.0..2000.0).contains(&report.answer_bytes), "{report:?}");
            let plan = streams::Plan {
                streams: 4,
                repeat: 2,
                ramp: Duration::from_millis(5),
                max_time: Duration::from_secs(20),
            };
            let report = streams::run(post(true, 1024), plan).await.unwrap();
            assert_eq!((report.finished, report.chunks), (8, 80));
            // Nine gaps a stream, two streams after each other: a busy machine may bunch them, but none comes early.
            assert!(report.seconds >= 0.08, "{report:?}");
        }
    }
}
