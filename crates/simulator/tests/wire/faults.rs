//! Every fault does on the wire what it says.

use std::time::Duration;

use serde_json::{Value, json};
use simulator::Simulator;

use crate::client::{Answer, Ended, post, post_with, raw, request, simulator};

const OPENAI: &str = "/v1/chat/completions";
const ANTHROPIC: &str = "/v1/messages";
const BOTH: [&str; 2] = [OPENAI, ANTHROPIC];
const TEXT: &str = "The capital of France is Paris.";

fn body(path: &str, fault: &str, stream: bool) -> Value {
    let mut body = json!({"model": format!("fault:{fault}"), "stream": stream,
        "messages": [{"role": "user", "content": "What is the capital of France?"}]});
    if path == ANTHROPIC {
        body["max_tokens"] = json!(1000);
    } else if stream {
        body["stream_options"] = json!({"include_usage": true});
    }
    body
}

async fn stream(sim: &Simulator, path: &str, fault: &str) -> Answer {
    post(sim, path, &body(path, fault, true)).await
}

async fn whole(sim: &Simulator, path: &str, fault: &str) -> Answer {
    post(sim, path, &body(path, fault, false)).await
}

fn text(answer: &Answer) -> String {
    let of = |data: &Value| {
        let text = data["choices"][0]["delta"]["content"].as_str().or(data["delta"]["text"].as_str());
        text.unwrap_or("").to_owned()
    };
    answer.data().iter().map(of).collect()
}

#[tokio::test]
async fn no_answer_at_all() {
    let sim = simulator().await;
    for path in BOTH {
        for streamed in [true, false] {
            for (fault, ended) in [("refuse", Ended::Closed), ("reset", Ended::Reset), ("stall", Ended::Silent)] {
                let answer = post(&sim, path, &body(path, fault, streamed)).await;
                assert_eq!((answer.status, answer.ended), (0, ended), "{path} {fault}");
            }
        }
    }
}

#[tokio::test]
async fn a_stream_cut_after_its_third_event() {
    let sim = simulator().await;
    for path in BOTH {
        let full = stream(&sim, path, "seed=1").await;
        for (fault, ended) in [
            ("truncate=3", Ended::Complete),
            ("abort=3", Ended::Closed),
            ("reset_after=3", Ended::Reset),
            ("stall_after=3", Ended::Silent),
        ] {
            let answer = stream(&sim, path, fault).await;
            assert_eq!((answer.status, answer.ended, answer.done()), (200, ended, false), "{path} {fault}");
            if fault != "reset_after=3" {
                assert_eq!(answer.chunks.len(), 3, "{path} {fault}");
            }
            assert!(full.events().len() > 5);
        }
    }
}

#[tokio::test]
async fn a_whole_answer_cut_after_its_twentieth_byte() {
    let sim = simulator().await;
    for path in BOTH {
        for (fault, ended, claims_all) in [
            ("truncate=20", Ended::Complete, false),
            ("abort=20", Ended::Closed, true),
            ("reset_after=20", Ended::Reset, true),
            ("stall_after=20", Ended::Silent, true),
        ] {
            let answer = whole(&sim, path, fault).await;
            assert_eq!((answer.status, answer.ended), (200, ended), "{path} {fault}");
            let length: usize = answer.header("content-length").unwrap().parse().unwrap();
            assert_eq!(length > 20, claims_all, "{path} {fault}");
            if fault != "reset_after=20" {
                assert_eq!(answer.body.len(), 20);
            }
        }
    }
}

#[tokio::test]
async fn a_stalled_stream_may_ping() {
    let sim = simulator().await;
    // Pings keep the client from giving up, so it is cut off from outside.
    let answering = stream(&sim, ANTHROPIC, "stall_after=4,ping_every=50");
    assert!(tokio::time::timeout(Duration::from_millis(900), answering).await.is_err(), "it must not end");
    tokio::time::sleep(Duration::from_millis(50)).await;
    let entry = sim.ledger().pop().unwrap();
    assert!(entry.bytes_written > 400 && matches!(entry.ending, simulator::Ending::PeerClosed { .. }), "{entry:?}");
}

#[tokio::test]
async fn statuses_have_the_vendors_bodies() {
    let sim = simulator().await;
    for (status, openai, anthropic) in [
        (400, "invalid_request_error", "invalid_request_error"),
        (401, "invalid_request_error", "authentication_error"),
        (403, "request_forbidden", "permission_error"),
        (404, "invalid_request_error", "not_found_error"),
        (429, "requests", "rate_limit_error"),
        (500, "server_error", "api_error"),
        (502, "server_error", "api_error"),
        (503, "server_error", "overloaded_error"),
        (529, "server_error", "overloaded_error"),
    ] {
        for (path, kind) in [(OPENAI, openai), (ANTHROPIC, anthropic)] {
            for streamed in [true, false] {
                let answer = post(&sim, path, &body(path, &format!("status={status}"), streamed)).await;
                assert_eq!((answer.status, answer.ended), (status, Ended::Complete));
                assert_eq!(answer.json()["error"]["type"], kind, "{path} {status}");
            }
        }
    }
}

#[tokio::test]
async fn retry_hints_are_sent_verbatim() {
    let sim = simulator().await;
    for value in ["1", "0.5", "-1", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"] {
        for path in BOTH {
            let answer = whole(&sim, path, &format!("retry_after={value},retry_after_ms=250")).await;
            assert_eq!((answer.status, answer.header("retry-after")), (429, Some(value)));
            assert_eq!(answer.header("retry-after-ms"), Some("250"));
        }
    }
    let answer = whole(&sim, OPENAI, "status=503,retry_after=7").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("7")));
    assert_eq!(whole(&sim, OPENAI, "status=429").await.header("retry-after"), None);
}

#[tokio::test]
async fn money_can_run_out() {
    let sim = simulator().await;
    let openai = whole(&sim, OPENAI, "spend_cap").await;
    assert_eq!((openai.status, openai.json()["error"]["code"].as_str()), (429, Some("insufficient_quota")));
    let anthropic = whole(&sim, ANTHROPIC, "spend_cap").await;
    assert_eq!(anthropic.status, 400);
    assert!(anthropic.text().contains("credit balance is too low"));
    let billing = whole(&sim, ANTHROPIC, "spend_cap,status=402").await;
    assert_eq!((billing.status, billing.json()["error"]["type"].as_str()), (402, Some("billing_error")));
}

#[tokio::test]
async fn errors_hide_in_successes() {
    let sim = simulator().await;
    for (path, kind, event) in [(OPENAI, "server_error", ""), (ANTHROPIC, "overloaded_error", "error")] {
        let answer = stream(&sim, path, "error_in_200").await;
        assert_eq!((answer.status, answer.events().len(), answer.done()), (200, 1, false));
        assert_eq!((answer.events()[0].0.as_str(), &answer.data()[0]["error"]["type"]), (event, &json!(kind)));
        let answer = whole(&sim, path, "error_in_200=api_error").await;
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (200, &json!("api_error")));
        let answer = whole(&sim, path, "error_after=2,error_type=api_error").await;
        assert_eq!((answer.status, &answer.json()["error"]["type"]), (200, &json!("api_error")));
        let answer = stream(&sim, path, "error_after=2,error_type=rate_limit_error").await;
        let data = answer.data();
        assert_eq!(data.last().unwrap()["error"]["type"], "rate_limit_error");
        assert_eq!((answer.done(), answer.ended), (false, Ended::Complete));
        let said = text(&answer);
        assert!(!said.is_empty() && TEXT.starts_with(&said) && said.len() < TEXT.len(), "{said}");
    }
}

#[tokio::test]
async fn wrong_bodies() {
    let sim = simulator().await;
    for path in BOTH {
        let answer = whole(&sim, path, "empty").await;
        assert_eq!((answer.status, answer.body.len(), answer.ended), (200, 0, Ended::Complete));
        let answer = stream(&sim, path, "html").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let answer = whole(&sim, path, "redirect=http://127.0.0.1:9/a,b").await;
        assert_eq!((answer.status, answer.header("location")), (302, Some("http://127.0.0.1:9/a,b")));
        let answer = whole(&sim, path, "wrong_length=10").await;
        assert_eq!(
            (answer.ended, answer.body.len() + 10),
            (Ended::Closed, answer.header("content-length").unwrap().parse().unwrap())
        );
        let answer = whole(&sim, path, "wrong_length=-10").await;
        assert_eq!(answer.ended, Ended::Complete);
        assert!(serde_json::from_slice::<Value>(&answer.body).is_err());
        let answer = stream(&sim, path, "wrong_length").await;
        assert_eq!((answer.ended, answer.done()), (Ended::Closed, true));
        let answer = whole(&sim, path, "garbage=5").await;
        assert!(serde_json::from_slice::<Value>(&answer.body).is_err());
    }
}

#[tokio::test]
async fn garbage_stands_where_an_event_stood() {
    let sim = simulator().await;
    for path in BOTH {
        let answer = stream(&sim, path, "garbage=3").await;
        let broken: Vec<bool> = answer
            .events()
            .iter()
            .map(|(_, data)| data != "[DONE]" && serde_json::from_str::<Value>(data).is_err())
            .collect();
        assert_eq!(broken.iter().position(|broken| *broken), Some(2), "{path}");
        assert_eq!(broken.iter().filter(|broken| **broken).count(), 1);
        assert!(answer.body.windows(2).any(|bytes| bytes == b"\xff\xfe"));
        assert!(answer.done(), "the rest comes as usual");
    }
}

#[tokio::test]
async fn frames_that_are_left_out() {
    let sim = simulator().await;
    for path in BOTH {
        assert!(stream(&sim, path, "seed=0").await.done());
        let answer = stream(&sim, path, "no_done").await;
        assert_eq!((answer.done(), answer.ended, text(&answer).as_str()), (false, Ended::Complete, TEXT));
        let answer = stream(&sim, path, "no_usage").await;
        assert!(answer.done() && !answer.text().contains("_tokens"));
        assert!(!whole(&sim, path, "no_usage").await.text().contains("_tokens"));
        let answer = stream(&sim, path, "no_finish").await;
        assert!(answer.done());
        let finished = |data: &Value| !data["choices"][0]["finish_reason"].is_null() || data["type"] == "message_delta";
        assert!(!answer.data().iter().any(finished));
        let json = whole(&sim, path, "no_finish").await.json();
        let reason = if path == OPENAI { &json["choices"][0]["finish_reason"] } else { &json["stop_reason"] };
        assert_eq!(*reason, Value::Null);
    }
}

#[tokio::test]
async fn streams_in_other_clothes() {
    let sim = simulator().await;
    for path in BOTH {
        let answer = stream(&sim, path, "crlf").await;
        assert_eq!(text(&answer), TEXT);
        let newlines = answer.body.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(answer.text().matches("\r\n").count(), newlines);
        let answer = stream(&sim, path, "comments").await;
        assert_eq!(answer.text().matches(": still here\n").count(), answer.events().len());
        assert_eq!(text(&answer), TEXT);
        let plain = stream(&sim, path, "seed=1").await.text().matches("ping").count();
        let pinged = stream(&sim, path, "pings=5").await;
        let marks = pinged.text().matches(if path == OPENAI { ": keep-alive\n\n" } else { "event: ping\n" }).count();
        assert_eq!(marks, if path == OPENAI { 5 } else { 5 + plain / 2 });
        assert_eq!(text(&pinged), TEXT);
    }
}

#[tokio::test]
async fn pieces_of_any_size() {
    let sim = simulator().await;
    for path in BOTH {
        let answer = stream(&sim, path, "split=7").await;
        assert_eq!((text(&answer).as_str(), answer.ended), (TEXT, Ended::Complete));
        assert!(answer.chunks.len() > 50 && answer.chunks.iter().all(|chunk| chunk.len() <= 7));
        let answer = stream(&sim, path, "split=random").await;
        assert_eq!(text(&answer), TEXT);
        let sizes: std::collections::HashSet<usize> = answer.chunks.iter().map(Vec::len).collect();
        assert!(sizes.len() > 5 && sizes.iter().all(|size| *size <= 16), "{sizes:?}");
        assert_eq!(whole(&sim, path, "split=3").await.status, 200);
    }
    let mut body = body(OPENAI, "split=1", true);
    body["messages"][0]["content"] = json!("Reply with exactly: 🌊é");
    let answer = post(&sim, OPENAI, &body).await;
    assert_eq!(text(&answer), "🌊é");
    assert!(answer.chunks.iter().any(|chunk| std::str::from_utf8(chunk).is_err()), "characters are cut");
}

#[tokio::test]
async fn slowness() {
    let sim = simulator().await;
    let answer = stream(&sim, OPENAI, "slow_first=150").await;
    assert!(answer.first < Duration::from_millis(100) && answer.took >= Duration::from_millis(150), "{answer:?}");
    let answer = whole(&sim, ANTHROPIC, "slow_first=150").await;
    assert!(answer.first >= Duration::from_millis(150));
    let answer = stream(&sim, OPENAI, "drip=1,split=64").await;
    assert!(answer.took >= Duration::from_millis(answer.chunks.len() as u64 - 1), "{:?}", answer.took);
    let answer = stream(&sim, OPENAI, "drip=1,truncate=1").await;
    assert!(answer.chunks.iter().all(|chunk| chunk.len() == 1));
    let both = stream(&sim, ANTHROPIC, "slow_first=200,truncate=4").await;
    assert!(both.took >= Duration::from_millis(200) && both.events().len() == 4 && !both.done());
}

#[tokio::test]
async fn one_huge_event() {
    let sim = simulator().await;
    for path in BOTH {
        let answer = stream(&sim, path, "huge_event=300000").await;
        assert_eq!(text(&answer).len(), 300_000);
        assert_eq!(answer.data().iter().filter(|data| data.to_string().len() > 300_000).count(), 1);
    }
}

#[tokio::test]
async fn a_fault_for_the_first_requests_only() {
    let sim = simulator().await;
    for _ in 0..2 {
        assert_eq!(whole(&sim, OPENAI, "status=500,times=2").await.status, 500);
    }
    for _ in 0..2 {
        assert_eq!(whole(&sim, OPENAI, "status=500,times=2").await.status, 200);
    }
}

#[tokio::test]
async fn faults_by_header_and_after_a_model_name() {
    let sim = simulator().await;
    let mut body = body(OPENAI, "", false);
    body["model"] = json!("gpt-sim");
    let answer = post_with(&sim, OPENAI, &body, "x-sim-fault: status=418\r\n").await;
    assert_eq!(answer.status, 418);
    let headers = "authorization: Bearer k\r\nx-sim-fault: status=500\r\n";
    assert_eq!(raw(sim.addr(), &request("GET", "/v1/models", headers, "")).await.status, 500);
    body["model"] = json!("gpt-sim+fault:seed=3");
    assert_eq!(post(&sim, OPENAI, &body).await.json()["model"], "gpt-sim");
    body["model"] = json!("gpt-sim+fault:explode");
    let answer = post(&sim, OPENAI, &body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("unknown fault"), "{}", answer.text());
}

#[tokio::test]
async fn a_seed_decides_the_pieces() {
    let sim = simulator().await;
    let pieces = async |seed: u64| {
        let answer = stream(&sim, OPENAI, &format!("seed={seed}")).await;
        let of = |data: &Value| data["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
        answer.data().iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(pieces(1).await, pieces(1).await);
    assert_ne!(pieces(1).await, pieces(2).await);
}

#[tokio::test]
async fn faults_leave_embeddings_and_counting_no_peace() {
    let sim = simulator().await;
    let body = json!({"model": "fault:status=503", "input": "x", "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(post(&sim, "/v1/embeddings", &body).await.status, 503);
    assert_eq!(post(&sim, "/v1/messages/count_tokens", &body).await.status, 503);
}
