"""The gateway's own API, with httpx: the examples that its users are given, and the shapes it promises."""

import asyncio
import json
import re
import time
from datetime import datetime

import httpx
import pytest
from scenes import ANSWER, NAMES, PROVIDERS, QUESTION, SLOW, model, through_gateway, unique
from world import peer_closed

pytestmark = through_gateway
each_provider = pytest.mark.parametrize("provider", PROVIDERS)

HEALTH = (
    "is_healthy latency_ms latency_p50_ms latency_p95_ms latency_p99_ms success_rate error_count last_error last_check circuit"
).split()

# The usage examples word for word, but for the address.
EXAMPLES = {
    "basic": """
async with httpx.AsyncClient() as client:
    response = await client.post(
        "http://localhost:8000/v1/completions",
        json={
            "messages": [
                {"role": "user", "content": "What is the capital of France?"}
            ],
            "model": "gpt-4",
        },
    )
    print(response.json())
""",
    "hints": """
response = await client.post(
    "http://localhost:8000/v1/completions",
    json={
        "messages": [{"role": "user", "content": "Hello!"}],
        "routing": {
            "strategy": "cost",
            "preferred_providers": ["anthropic"],
            "exclude_providers": ["openai"],
        },
    },
)
""",
    "streaming": """
async with httpx.AsyncClient() as client:
    async with client.stream(
        "POST",
        "http://localhost:8000/v1/completions/stream",
        json={"messages": [{"role": "user", "content": "Tell me a story"}]},
    ) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                print(line[6:])
""",
}


def run_example(name, gateway, **names):
    """Runs an example as the body of a coroutine. Returns the response and what was printed."""
    printed = []
    body = EXAMPLES[name].replace("http://localhost:8000", gateway).strip().replace("\n", "\n    ")
    scope = {"httpx": httpx, "print": printed.append, **names}
    exec(f"async def example():\n    {body}\n    return response", scope)
    return scope["example"], printed


def test_the_basic_example(gateway):
    example, printed = run_example("basic", gateway)
    asyncio.run(example())
    (answer,) = printed
    assert answer["content"] == ANSWER
    assert answer["provider"] == "openai" and answer["model"] == "gpt-4"
    assert answer["finish_reason"] == "stop" and answer["cached"] is False
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    cost = answer["cost"]
    assert cost["currency"] == "USD" and cost["total_cost"] == pytest.approx(cost["input_cost"] + cost["output_cost"])
    assert answer["id"] and answer["request_id"] and answer["metadata"] == {} and answer["latency_ms"] >= 0
    assert "cache_key" in answer
    assert datetime.fromisoformat(answer["timestamp"].replace("Z", "+00:00")).tzinfo


def test_the_example_with_routing_hints(gateway):
    async def with_client():
        async with httpx.AsyncClient() as client:
            example, _ = run_example("hints", gateway, client=client)
            return await example()

    response = asyncio.run(with_client())
    assert response.status_code == 200, response.text
    assert response.json()["provider"] == "anthropic"
    assert response.json()["content"]


def test_the_streaming_example(gateway):
    example, printed = run_example("streaming", gateway)
    asyncio.run(example())
    assert printed.pop() == "[DONE]"
    chunks = [json.loads(line) for line in printed]
    assert len("".join(chunk["content"] or "" for chunk in chunks)) > 100


def ask(provider, fault=None, **more):
    return {"model": model(provider, fault), "messages": QUESTION} | more


def stream(http, body, path="/v1/completions/stream"):
    """The data of every event, and the media type."""
    with http.stream("POST", path, json=body) as answer:
        assert answer.status_code == 200, answer.read()
        text = "".join(answer.iter_text())
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = text.split("\n\n")
    assert events.pop() == "", "the last event is not closed"
    for event in events:
        assert event.startswith((":", "data: ")), event
    return [event.removeprefix("data: ") for event in events if not event.startswith(":")]


@each_provider
def test_whole(http, provider):
    answer = http.post("/v1/completions", json=ask(provider, metadata={"trace": "t-1"}, user_id="u-1"))
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["content"] == ANSWER
    assert (body["provider"], body["model"]) == (provider, NAMES[provider])
    assert body["metadata"] == {"trace": "t-1"}
    assert answer.headers["x-request-id"] == body["request_id"]


@pytest.mark.parametrize("path", ["/v1/completions/stream", "/v1/completions"])
@each_provider
def test_the_grammar_of_a_stream(http, provider, path):
    """Chunks of one shape; the last one, and only it, has the finish reason, usage and cost; then [DONE]."""
    whole = http.post("/v1/completions", json=ask(provider)).json()
    events = stream(http, ask(provider, **({"stream": True} if path == "/v1/completions" else {})), path)
    assert events.pop() == "[DONE]"
    chunks = [json.loads(event) for event in events]
    assert "".join(chunk["content"] or "" for chunk in chunks) == whole["content"]
    for chunk in chunks:
        assert chunk["id"] == chunks[0]["id"]
        assert (chunk["provider"], chunk["model"]) == (provider, whole["model"])
    for chunk in chunks[:-1]:
        assert chunk["finish_reason"] is None and chunk["usage"] is None
    assert chunks[-1]["finish_reason"] == "stop"
    assert chunks[-1]["usage"] == whole["usage"]
    assert chunks[-1]["cost"] == whole["cost"]


TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@each_provider
def test_tools_whole_and_streamed(http, provider):
    question = [{"role": "user", "content": "What is the weather in Paris and Tokyo?"}]
    whole = http.post("/v1/completions", json=ask(provider, messages=question, tools=[TOOL])).json()
    assert whole["finish_reason"] == "tool_calls"
    assert [json.loads(call["function"]["arguments"])["city"] for call in whole["tool_calls"]] == ["Paris", "Tokyo"]

    chunks = [json.loads(event) for event in stream(http, ask(provider, messages=question, tools=[TOOL]))[:-1]]
    arguments, names = {}, {}
    for chunk in chunks:
        for delta in chunk.get("tool_calls") or []:
            names.setdefault(delta["index"], delta["function"].get("name"))
            arguments[delta["index"]] = arguments.get(delta["index"], "") + (delta["function"].get("arguments") or "")
    assert names == {0: "get_weather", 1: "get_weather"}
    assert [json.loads(text)["city"] for _, text in sorted(arguments.items())] == ["Paris", "Tokyo"]
    assert chunks[-1]["finish_reason"] == "tool_calls"

    results = [{"role": "tool", "tool_call_id": call["id"], "content": "sunny"} for call in whole["tool_calls"]]
    assistant = {"role": "assistant", "content": whole["content"] or None, "tool_calls": whole["tool_calls"]}
    last = http.post("/v1/completions", json=ask(provider, messages=[*question, assistant, *results], tools=[TOOL])).json()
    assert last["finish_reason"] == "stop" and "sunny" in last["content"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "role"),
        ({"messages": QUESTION, "temperature": 2.5}, "temperature"),
        ({"messages": QUESTION, "temperature": "warm"}, "temperature"),
        ({"messages": QUESTION, "top_p": 1.5}, "top_p"),
        ({"messages": QUESTION, "max_tokens": 0}, "max_tokens"),
        ({"messages": QUESTION, "presence_penalty": -3}, "presence_penalty"),
        ({"messages": QUESTION, "stop_sequences": "x"}, "stop_sequences"),
        ({"messages": QUESTION, "routing": {"strategy": "cheapest"}}, "strategy"),
    ],
)
def test_a_bad_request_is_refused_by_the_name_of_its_field(http, ledger, body, field):
    answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 400, answer.text
    error = answer.json()
    assert error["error"] == "invalid_request"
    assert field in error["message"]
    assert error["request_id"] == answer.headers["x-request-id"]
    assert isinstance(error["details"], dict)
    assert ledger.calls() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages": 1}', b"\xff\xfe", b'"text"'])
def test_what_is_no_request_is_400(http, body):
    answer = http.post("/v1/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"


def test_unknown_paths_and_methods(http):
    assert http.get("/v1/nothing").status_code == 404
    assert http.get("/v1/completions").status_code == 405
    assert http.get("/v1/providers/nobody/health").status_code == 404


def test_an_unknown_model_is_404(http):
    answer = http.post("/v1/completions", json={"messages": QUESTION, "model": "no-such-model-anywhere"})
    assert answer.status_code == 404
    assert answer.json()["error"] == "model_not_found"


@each_provider
def test_a_provider_can_be_named_beside_the_model(http, provider):
    body = http.post("/v1/completions", json={"messages": QUESTION, "provider": provider, "model": NAMES[provider]}).json()
    assert (body["provider"], body["content"]) == (provider, ANSWER)


def test_an_excluded_provider_is_never_asked(http, ledger):
    """A request that excludes its own provider contradicts itself."""
    body = {"messages": QUESTION, "model": model("openai"), "routing": {"exclude_providers": ["openai"]}}
    answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 400
    assert "excluded" in answer.json()["message"]
    assert ledger.calls() == []


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("status=500", 500, None),
        ("status=401", 502, "provider_error"),
        ("reset", 502, "provider_error"),
        ("html", 502, "provider_error"),
    ],
)
def test_failures_of_the_provider(http, fault, status, code):
    answer = http.post("/v1/completions", json=ask("openai", fault))
    assert answer.status_code in ({status} if code else {status, 502})
    error = answer.json()
    assert error["error"] == (code or error["error"]) and error["message"] and error["request_id"]


@each_provider
def test_a_failure_within_a_stream_is_an_error_and_no_done(http, provider):
    events = stream(http, ask(provider, "error_after=3"))
    error = json.loads(events[-1])
    assert error["error"] and error["message"] and error["request_id"]
    assert all(json.loads(event)["finish_reason"] is None for event in events[:-1])


@pytest.mark.repeats
@each_provider
def test_a_passing_error_is_not_seen(http, ledger, provider):
    answer = http.post("/v1/completions", json=ask(provider, f"status=503,times=1,seed={next(unique)}"))
    assert answer.json()["content"] == ANSWER
    assert answer.headers["x-gateway-attempts"] == "2"
    assert len(ledger.calls()) == 2


@each_provider
def test_closing_a_stream_ends_it_at_the_provider(http, ledger, provider):
    with http.stream("POST", "/v1/completions/stream", json=ask(provider, SLOW)) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: ") and json.loads(line[6:])["content"]:
                break
    assert ledger.wait_for(peer_closed, seconds=1), ledger.calls()


@each_provider
def test_many_at_once_do_not_mix(gateway, provider):
    async def all_of_them():
        async with httpx.AsyncClient(base_url=gateway, timeout=30) as client:
            words = [f"word{number}" for number in range(60)]
            asks = [
                client.post(
                    "/v1/completions",
                    json={"model": model(provider), "messages": [{"role": "user", "content": f"Reply with exactly: {word}"}]},
                )
                for word in words
            ]
            answers = await asyncio.gather(*asks)
            assert [answer.json()["content"] for answer in answers] == words

    asyncio.run(all_of_them())


def test_providers_are_listed(http):
    body = http.get("/v1/providers").json()
    assert body["total"] == len(body["providers"]) == 2
    for provider in body["providers"]:
        assert provider["name"] in PROVIDERS and provider["display_name"]
        assert provider["is_available"] is True
        assert provider["default_model"] and provider["supported_models"]
        assert {"streaming", "tools"} <= set(provider["capabilities"])
        assert provider["health"]["is_healthy"] is True
        for price in provider["pricing"].values():
            assert price["input"] >= 0 and price["output"] >= 0
    health = http.get("/v1/providers/openai/health").json()
    assert set(HEALTH) <= set(health)


def test_health_never_asks_a_provider(http, ledger):
    answer = http.get("/health")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "healthy" and body["version"]
    assert set(body["providers"]) == set(PROVIDERS)
    assert isinstance(body["cache_enabled"], bool) and isinstance(body["rate_limiting_enabled"], bool)
    for path in ("/health/live", "/health/ready", "/livez", "/readyz"):
        assert http.get(path).status_code == 200
    assert ledger.calls() == []


def test_the_root_says_what_this_is(http):
    body = http.get("/").json()
    assert body["name"] and body["version"]
    assert "/docs" in json.dumps(body) and "/health" in json.dumps(body)


def test_metrics_count_requests(http):
    http.post("/v1/completions", json=ask("openai"))
    answer = http.get("/metrics")
    assert answer.status_code == 200
    assert "# TYPE" in answer.text and "gateway_" in answer.text


def test_the_api_documents_itself_without_other_hosts(http):
    document = http.get("/openapi.json").json()
    assert document["openapi"].startswith("3.")
    assert {"/v1/completions", "/v1/completions/stream", "/health", "/v1/providers"} <= set(document["paths"])
    page = http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert not re.search(r"(src|href)=.https?:", page.text)


def test_every_answer_carries_its_own_request_id_and_time(http):
    answers = [http.get("/health/live", headers={"x-request-id": "mine"}) for _ in range(2)]
    answers.append(http.get("/v1/nothing"))
    ids = {answer.headers["x-request-id"] for answer in answers}
    assert len(ids) == 3 and "mine" not in ids
    assert answers[0].headers["x-correlation-id"] == "mine"
    assert all("x-response-time" in answer.headers for answer in answers)


def test_the_overhead_is_told(http):
    began = time.monotonic()
    answer = http.post("/v1/completions", json=ask("openai", "slow_first=200"))
    assert time.monotonic() - began > 0.2
    assert 0 <= float(answer.headers["x-gateway-overhead-ms"]) < 150
