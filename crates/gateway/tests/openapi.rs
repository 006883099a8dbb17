//! The documentation against the program: what `/openapi.json` says is tried through the front door of a sandbox.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use gateway_core::error::ErrorKind;
use serde_json::{Map, Value, json};

const ADMIN_KEY: &str = "an-operator-s-key-7719";

struct Sandbox {
    child: Child,
    address: String,
    _directory: tempfile::TempDir,
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    text: String,
}

impl Sandbox {
    fn start() -> Sandbox {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_llm-gateway"))
            .args(["serve", "--port", "0"])
            .env_clear()
            .env("RATE_LIMIT_ENABLED", "false")
            .env("GATEWAY_ADMIN_KEY", ADMIN_KEY)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| line.split_once("listens on http://").map(|(_, address)| address.trim().to_owned()))
            .expect("the gateway says where it listens");
        Sandbox { child, address, _directory: directory }
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (host, length) = (&self.address, body.len());
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer {ADMIN_KEY}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, text) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        Answer { status, headers: lines.filter_map(header).collect(), text: text.to_owned() }
    }

    fn document(&self) -> Value {
        self.ask("GET", "/openapi.json", None).json()
    }

    fn complete(&self, body: &Value) -> Answer {
        self.ask("POST", "/v1/completions", Some(body))
    }

    /// Sends `body`, which must be refused because of the field at `path`.
    fn refused(&self, body: &Value, path: &str) {
        let answer = self.complete(body);
        let error = answer.json();
        assert_eq!((answer.status, &error["error"]), (400, &json!("invalid_request")), "{path}: {body}\n{error}");
        let field = error["details"]["field"].as_str().unwrap_or_default();
        // The field itself, what it stands in, or what is missing in it.
        let near = !field.is_empty() && (path.starts_with(field) || field.starts_with(path));
        assert!(near, "{path}: {error}");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A request with every field that is documented.
fn everything() -> Value {
    json!({
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "name": "ann", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
            ]},
            {"role": "assistant", "content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
            ]},
            {"role": "tool", "tool_call_id": "call_1", "content": "A cat."},
            {"role": "user", "content": "And?"}
        ],
        "model": "openai/gpt-4o-mini", "provider": "openai", "temperature": 0.5, "max_tokens": 50, "top_p": 0.9,
        "stop_sequences": ["END"], "presence_penalty": 0.5, "frequency_penalty": -0.5,
        "tools": [{"type": "function", "function": {
            "name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}, "strict": false
        }}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {"type": "json_schema", "json_schema": {
            "name": "answer", "description": "An answer.", "strict": false, "schema": {"type": "object"}
        }},
        "stream": false, "skip_cache": true, "user_id": "ann", "metadata": {"k": [1]},
        "routing": {"strategy": "fallback", "preferred_providers": ["openai"], "exclude_providers": ["anthropic"],
                    "required_capabilities": ["tools"]},
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}]});
    body[name] = value;
    body
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(path) => document.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("{path} leads nowhere")),
        None => schema,
    }
}

/// The alternative of `schema` that `value` is meant for: the one that knows its type, or its `type`.
fn alternative<'a>(document: &'a Value, schema: &'a Value, value: &Value) -> &'a Value {
    let schema = resolve(document, schema);
    let Some(several) = schema["anyOf"].as_array() else { return schema };
    let means = |one: &&Value| {
        let one = resolve(document, one);
        let kind = &one["properties"]["type"];
        is_type(&one["type"], value)
            && (value["type"].is_null()
                || kind["const"] == value["type"]
                || kind["enum"].as_array().is_some_and(|words| words.contains(&value["type"])))
    };
    alternative(document, several.iter().find(means).unwrap_or_else(|| panic!("{value} is in none of {schema}")), value)
}

fn is_type(kind: &Value, value: &Value) -> bool {
    match kind {
        Value::Array(kinds) => kinds.iter().any(|kind| is_type(kind, value)),
        Value::Null => true,
        kind => match kind.as_str().unwrap() {
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "number" => value.is_number(),
            "integer" => value.is_u64() || value.is_i64(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "null" => value.is_null(),
            other => panic!("{other} is no type"),
        },
    }
}

/// Whether `value` is what `schema` says, with no field that it does not say.
fn conforms(document: &Value, schema: &Value, value: &Value, path: &str) {
    let schema = alternative(document, schema, value);
    assert!(is_type(&schema["type"], value), "{path}: {value} is not {}", schema["type"]);
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        conforms(document, &schema["items"], item, &format!("{path}[{n}]"));
    }
    let Some(object) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(object.contains_key(name.as_str().unwrap()), "{path} has no {name}");
    }
    for (name, value) in object {
        let inside = match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, more) if more.is_object() => more,
            (Value::Null, _) => {
                assert!(schema["properties"].is_null(), "{path}.{name} is not documented");
                continue;
            }
            (property, _) => property,
        };
        conforms(document, inside, value, &format!("{path}.{name}"));
    }
}

/// Walks `value` along `schema` and collects the path of every field that must be there and of every one that is documented.
fn walk(
    document: &Value,
    schema: &Value,
    value: &Value,
    path: &str,
    required: &mut Vec<String>,
    wrong: &mut Vec<String>,
) {
    let schema = alternative(document, schema, value);
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        walk(document, &schema["items"], item, &format!("{path}/{n}"), required, wrong);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}/{name}");
        if let Some(value) = value.get(name).filter(|value| !value.is_null()) {
            wrong.push(path.clone());
            walk(document, property, value, &path, required, wrong);
            if schema["required"].as_array().is_some_and(|all| all.contains(&json!(name))) {
                required.push(path);
            }
        }
    }
}

/// `/messages/0/role` as the gateway writes it: `messages[0].role`.
fn field(pointer: &str) -> String {
    let mut text = String::new();
    for segment in pointer.split('/').skip(1) {
        match segment.parse::<usize>() {
            Ok(n) => text += &format!("[{n}]"),
            Err(_) if text.is_empty() => text += segment,
            Err(_) => text += &format!(".{segment}"),
        }
    }
    text
}

#[test]
fn a_request_with_every_documented_field_is_accepted() {
    let sandbox = Sandbox::start();
    let document = sandbox.document();
    let schema = &document["components"]["schemas"]["CompletionRequest"];
    let everything = everything();
    conforms(&document, schema, &everything, "body");
    for (schema, part) in [(schema, &everything), (&schema["properties"]["routing"], &everything["routing"])] {
        let documented: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        let sent = part.as_object().unwrap();
        assert!(documented.iter().all(|name| sent.contains_key(*name)), "{documented:?} and {:?}", sent.keys());
    }
    let answer = sandbox.complete(&everything);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("x-gateway-dropped"), None);
    assert_eq!(answer.json()["metadata"], everything["metadata"]);
}

#[test]
fn what_is_required_must_be_there_and_every_type_is_checked() {
    let sandbox = Sandbox::start();
    let document = sandbox.document();
    let schema = &document["components"]["schemas"]["CompletionRequest"];
    let everything = everything();
    let (mut required, mut wrong) = (Vec::new(), Vec::new());
    walk(&document, schema, &everything, "", &mut required, &mut wrong);
    assert!(required.len() > 20 && wrong.len() > 40, "{required:?} {wrong:?}");
    // A choice without `type` may be a vendor's own: for the provider to check.
    for path in required.iter().filter(|path| *path != "/tool_choice/type") {
        let mut body = everything.clone();
        let (parent, name) = path.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        sandbox.refused(&body, &field(path));
    }
    // What a provider alone reads is for the provider to check.
    let provider_s = ["detail", "arguments", "type"];
    for path in wrong.iter().filter(|path| !provider_s.iter().any(|name| path.ends_with(name))) {
        let mut body = everything.clone();
        let value = body.pointer_mut(path).unwrap();
        *value = if value.is_number() || value.is_boolean() { json!("wrong") } else { json!(7) };
        sandbox.refused(&body, &field(path));
    }
}

#[test]
fn every_documented_range_is_enforced_at_its_edges() {
    let sandbox = Sandbox::start();
    let document = sandbox.document();
    let mut ranges = 0;
    for (name, property) in document["components"]["schemas"]["CompletionRequest"]["properties"].as_object().unwrap() {
        let (least, most) = (property["minimum"].as_f64(), property["maximum"].as_f64());
        for (edge, outside) in [(least, least.map(|edge| edge - 0.01)), (most, most.map(|edge| edge + 0.01))] {
            let (Some(edge), Some(outside)) = (edge, outside) else { continue };
            ranges += 1;
            let number =
                |value: f64| if property["type"] == "integer" { json!(value.floor() as i64) } else { json!(value) };
            let answer = sandbox.complete(&with(name, number(edge)));
            assert_eq!(answer.status, 200, "{name} {edge}: {}", answer.text);
            sandbox.refused(&with(name, number(outside)), name);
        }
    }
    assert_eq!(ranges, 9);
    sandbox.refused(&with("messages", json!([])), "messages");
}

#[test]
fn every_documented_word_is_known_and_no_other() {
    let sandbox = Sandbox::start();
    let document = sandbox.document();
    let routing = &document["components"]["schemas"]["CompletionRequest"]["properties"]["routing"]["properties"];
    for word in routing["strategy"]["enum"].as_array().unwrap() {
        let answer = sandbox.complete(&with("routing", json!({"strategy": word})));
        assert_eq!(answer.status, 200, "{word}: {}", answer.text);
    }
    for word in routing["required_capabilities"]["items"]["enum"].as_array().unwrap() {
        let answer = sandbox.complete(&with("routing", json!({"required_capabilities": [word]})));
        assert!(!answer.text.contains("must be one of"), "{word}: {}", answer.text);
    }
    for (name, inside) in [("strategy", json!("magic")), ("required_capabilities", json!(["magic"]))] {
        sandbox.refused(&with("routing", json!({ name: inside })), &format!("routing.{name}[0]"));
    }
    let roles = &document["components"]["schemas"]["Message"]["properties"]["role"]["enum"];
    for role in roles.as_array().unwrap() {
        let message = json!({"role": role, "content": "x", "tool_call_id": "call_1"});
        let answer = sandbox.complete(&with("messages", json!([message])));
        assert!(!answer.text.contains("role must be"), "{role}: {}", answer.text);
    }
}

/// Not one of those that only browsers and proxies read.
fn is_ours(name: &str) -> bool {
    name.starts_with("x-") && !["x-accel-buffering", "x-content-type-options"].contains(&name)
}

#[test]
fn every_route_answers_as_it_is_documented() {
    let sandbox = Sandbox::start();
    let document = sandbox.document();
    // A request of which there is much to explain.
    let failed = sandbox.complete(&with("model", json!("openai/fault:status=500")));
    let failed = failed.header("x-request-id").unwrap().to_owned();
    // One whose answer came from the cache.
    let hits = [0, 1].map(|_| sandbox.complete(&with("model", json!("openai/gpt-4o-mini"))));
    let hit = hits[1].header("x-request-id").unwrap().to_owned();
    // The key or the team that was made last.
    let mut made = String::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let id = match path.split('/').nth(2) {
                Some("requests") => &failed,
                Some("v1") => made.as_str(),
                _ => "openai",
            };
            let path = path.replace("{model}", "openai/gpt-4o-mini").replace("{id}", id);
            let content = &operation["requestBody"]["content"]["application/json"];
            let reported = path.ends_with("/feedback").then(|| json!({"request_id": hit}));
            let body = reported.or(content.get("example").cloned()).unwrap_or(json!({}));
            let has_body = ["post", "patch"].contains(&method.as_str());
            let answer = sandbox.ask(&method.to_uppercase(), &path, Some(&body).filter(|_| has_body));
            if answer.status == 201 {
                answer.json()["id"].as_str().unwrap().clone_into(&mut made);
            }
            let what = format!("{method} {path}: {}", answer.text);
            let built = operation["x-not-built"].is_null();
            let good = if operation["responses"]["201"].is_null() { 200 } else { 201 };
            assert_eq!(answer.status, if built { good } else { 404 }, "{what}");
            assert!(built || answer.text.contains(" yet"), "{what}");
            let response = &operation["responses"][answer.status.to_string()];
            for (name, _) in answer.headers.iter().filter(|(name, _)| is_ours(name)) {
                let known = response["headers"].get(name).or(document["components"]["headers"].get(name));
                assert!(known.is_some() && (!built || !response["headers"][name].is_null()), "{name} at {what}");
            }
            let kind = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
            let content = &response["content"][kind];
            assert!(!content.is_null(), "{kind} at {what}");
            match kind {
                "application/json" => conforms(&document, &content["schema"], &answer.json(), &path),
                "text/event-stream" => {
                    let events = answer.text.lines().filter_map(|line| line.strip_prefix("data: {"));
                    let events: Vec<Value> =
                        events.map(|rest| serde_json::from_str(&format!("{{{rest}")).unwrap()).collect();
                    assert!(events.len() > 1, "{what}");
                    events.iter().for_each(|event| conforms(&document, &content["schema"], event, &path));
                }
                _ => {}
            }
        }
    }
}

#[test]
fn errors_have_their_documented_shape_and_status_in_each_dialect() {
    let sandbox = Sandbox::start();
    let document = sandbox.document();
    let messages = json!([{"role": "user", "content": "Hi"}]);
    for path in ["/v1/completions", "/v1/chat/completions", "/v1/messages"] {
        let responses = &document["paths"][path]["post"]["responses"];
        for body in [json!({}), json!({"model": "nobody/nothing", "max_tokens": 9, "messages": messages})] {
            let answer = sandbox.ask("POST", path, Some(&body));
            let response = &responses[answer.status.to_string()];
            assert!(!response.is_null(), "{path} {}: {}", answer.status, answer.text);
            conforms(&document, &response["content"]["application/json"]["schema"], &answer.json(), path);
        }
    }
}

#[test]
fn the_document_has_no_dead_ends_and_names_each_route_once() {
    let sandbox = Sandbox::start();
    let document = sandbox.document();
    let (mut stack, mut references) = (vec![&document], 0);
    while let Some(value) = stack.pop() {
        if value["$ref"].is_string() {
            resolve(&document, value);
            references += 1;
        }
        stack.extend(value.as_array().into_iter().flatten());
        stack.extend(value.as_object().into_iter().flat_map(Map::values));
    }
    assert!(references > 50);
    let mut names: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|methods| methods.as_object().unwrap().values())
        .map(|operation| &operation["operationId"])
        .collect();
    let all = names.len();
    names.sort_by_key(|name| name.to_string());
    names.dedup();
    assert_eq!((names.len(), names.contains(&&Value::Null)), (all, false));
}

#[test]
fn the_page_is_served_whole_and_takes_nothing_from_elsewhere() {
    let sandbox = Sandbox::start();
    let page = sandbox.ask("GET", "/docs", None);
    let mut bytes = page.text.len();
    let assets: Vec<&str> = page.text.split(['"']).filter(|text| text.starts_with("/docs/")).collect();
    assert_eq!(assets, ["/docs/page.css", "/docs/page.js"]);
    for path in assets {
        let asset = sandbox.ask("GET", path, None);
        assert_eq!(asset.status, 200);
        assert!(!asset.text.contains("://"), "{path} names another place");
        bytes += asset.text.len();
    }
    assert!(bytes < 40 * 1024, "{bytes} bytes");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}

/// After a change, `UPDATE_GOLDEN=1 cargo test -p llm-gateway --test openapi` writes the table again.
#[test]
fn the_page_about_the_api_names_every_error_and_every_header() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut table = String::from("| native `error` | status | OpenAI `type` | Anthropic `type` |\n|---|---|---|---|\n");
    for row in ErrorKind::ALL.map(ErrorKind::row) {
        let status = |own: u16| if own == row.status { String::new() } else { format!(" ({own})") };
        let (openai, anthropic) = (status(row.openai_status), status(row.anthropic_status));
        let (code, status, openai_type, anthropic_type) = (row.code, row.status, row.openai_type, row.anthropic_type);
        table += &format!("| `{code}` | {status} | `{openai_type}`{openai} | `{anthropic_type}`{anthropic} |\n");
    }
    let (begin, end) = ("<!-- generated: errors -->\n", "<!-- end: errors -->");
    let (before, rest) = page.split_once(begin).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    let wanted = format!("{before}{begin}\n{table}\n{end}{after}");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &wanted).unwrap();
    } else {
        assert_eq!(page, wanted, "docs/api.md is out of date");
    }
    let document = Sandbox::start().document();
    let components = &document["components"];
    for name in
        [&components["headers"], &components["parameters"]].iter().flat_map(|all| all.as_object().unwrap().keys())
    {
        assert!(page.contains(&format!("`{name}")), "docs/api.md does not name {name}");
    }
}
