"""The official Anthropic client, in front of either provider."""

import json
import time

import anthropic
import httpx
import pytest
from scenes import ANSWER, NAMES, PIXEL, QUESTION, SLOW, each_provider, model, through_gateway, unique
from world import DIRECT, peer_closed

WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}

each_base = pytest.mark.parametrize("base", [""] if DIRECT else ["", "/anthropic"])


@pytest.fixture
def client(gateway):
    with anthropic.Anthropic(base_url=gateway, api_key="sk-of-the-client", max_retries=0, timeout=10) as client:
        yield client


def ask(provider, fault=None, **more):
    return {"model": model(provider, fault), "messages": QUESTION, "max_tokens": 200} | more


def text_of(message):
    return "".join(block.text for block in message.content if block.type == "text")


def input_tokens(usage):
    return usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)


@each_base
@each_provider("anthropic")
def test_whole(gateway, base, provider):
    client = anthropic.Anthropic(base_url=gateway + base, api_key="sk-of-the-client", max_retries=0)
    answer = client.messages.create(**ask(provider))
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert [block.type for block in answer.content] == ["text"]
    assert text_of(answer) == ANSWER
    assert NAMES[provider] in answer.model
    assert answer.usage.input_tokens > 0 and answer.usage.output_tokens > 0


@each_base
@each_provider("anthropic")
def test_streamed_text_and_usage_equal_the_whole_answer(gateway, base, provider):
    client = anthropic.Anthropic(base_url=gateway + base, api_key="sk-of-the-client", max_retries=0)
    whole = client.messages.create(**ask(provider))
    with client.messages.stream(**ask(provider)) as stream:
        pieces = list(stream.text_stream)
        answer = stream.get_final_message()
    assert len(pieces) > 1
    assert "".join(pieces) == text_of(answer) == text_of(whole)
    assert answer.stop_reason == whole.stop_reason
    assert input_tokens(answer.usage) == input_tokens(whole.usage)
    assert answer.usage.output_tokens == whole.usage.output_tokens


@each_provider("anthropic")
def test_the_grammar_of_a_stream(client, provider):
    """message_start, blocks one after the other, message_delta, message_stop; each exactly where it belongs."""
    kinds = []
    for event in client.messages.create(**ask(provider, stream=True)):
        if event.type in ("content_block_start", "content_block_delta", "content_block_stop"):
            assert event.index == 0
        if event.type != "ping" and (not kinds or kinds[-1] != event.type):
            kinds.append(event.type)
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@each_provider("anthropic")
def test_a_stream_arrives_while_it_is_written(client, provider):
    began = time.monotonic()
    with client.messages.stream(**ask(provider, SLOW)) as stream:
        times = [time.monotonic() - began for _ in stream.text_stream]
    assert len(times) > 2
    assert times[-1] - times[0] > 0.1, "everything came at once"


def call(client, provider, messages, streamed):
    asked = ask(provider, messages=messages, tools=[WEATHER])
    if not streamed:
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as stream:
        return stream.get_final_message()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@each_provider("anthropic")
def test_tools_in_a_loop(client, ledger, provider, streamed):
    """Three turns, two of them with calls; the first with two calls at once. Results find their calls by id."""
    messages = [{"role": "user", "content": "What is the weather in Paris and Tokyo?"}]
    cities = []
    for question in (None, "What is the weather in Lisbon?"):
        if question:
            messages.append({"role": "user", "content": question})
        answer = call(client, provider, messages, streamed)
        assert answer.stop_reason == "tool_use"
        uses = [block for block in answer.content if block.type == "tool_use"]
        assert len({use.id for use in uses}) == len(uses)
        messages.append({"role": "assistant", "content": [block.model_dump(exclude_unset=True) for block in answer.content]})
        results = []
        for use in uses:
            assert use.name == "get_weather"
            cities.append(use.input["city"])
            results.append({"type": "tool_result", "tool_use_id": use.id, "content": f"It is sunny in {use.input['city']}."})
        messages.append({"role": "user", "content": results})
        answer = call(client, provider, messages, streamed)
        assert answer.stop_reason == "end_turn" and text_of(answer)
        messages.append({"role": "assistant", "content": text_of(answer)})
    assert cities == ["Paris", "Tokyo", "Lisbon"]
    seen = json.dumps(ledger.calls()[-1]["request"])
    for sent in messages:
        for block in sent["content"] if isinstance(sent["content"], list) else []:
            if block["type"] == "tool_use":
                assert seen.count(block["id"]) == 2
            if block["type"] == "tool_result":
                assert block["content"] in seen


@through_gateway
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_a_name_that_is_too_long_for_openai_is_the_clients_own_again(client, ledger, streamed):
    tool = WEATHER | {"name": "get_weather_" + "of_a_city_" * 8}
    messages = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    for turn in range(3):
        asked = ask("openai", messages=messages, tools=[tool], tool_choice={"type": "tool", "name": tool["name"]})
        if streamed:
            with client.messages.stream(**asked) as stream:
                answer = stream.get_final_message()
        else:
            answer = client.messages.create(**asked)
        (use,) = [block for block in answer.content if block.type == "tool_use"]
        assert use.name == tool["name"]
        messages.append({"role": "assistant", "content": [block.model_dump(exclude_unset=True) for block in answer.content]})
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "It is sunny."}
        messages.append({"role": "user", "content": [result]})
        seen = ledger.calls()[turn]["request"]
        sent = seen["tools"][0]["function"]["name"]
        assert len(sent) <= 64 and seen["tool_choice"]["function"]["name"] == sent
        told = [call["function"]["name"] for message in seen["messages"] for call in message.get("tool_calls", [])]
        assert told == [sent] * turn


@each_base
@each_provider("anthropic")
def test_tokens_are_counted(gateway, ledger, base, provider):
    client = anthropic.Anthropic(base_url=gateway + base, api_key="sk-of-the-client", max_retries=0)
    asked = {"model": model(provider), "messages": QUESTION, "tools": [WEATHER], "system": "Be brief."}
    raw = client.messages.with_raw_response.count_tokens(**asked)
    counted = raw.parse().input_tokens
    answer = client.messages.create(**asked, max_tokens=50)
    if provider == "anthropic":
        assert counted == input_tokens(answer.usage)
        assert "x-gateway-added" not in raw.headers
    else:
        assert raw.headers["x-gateway-added"] == "input_tokens"
        assert 0.5 < counted / input_tokens(answer.usage) < 2
        assert len(ledger.calls()) == 1, "nobody was asked for an estimate"


@each_provider("anthropic")
def test_a_forced_tool_is_called(client, provider):
    answer = client.messages.create(**ask(provider, tools=[WEATHER], tool_choice={"type": "tool", "name": "get_weather"}))
    assert [block.name for block in answer.content if block.type == "tool_use"] == ["get_weather"]


@each_provider("anthropic")
def test_what_the_client_sets_reaches_the_provider(client, ledger, provider):
    client.messages.create(
        **ask(
            provider,
            max_tokens=77,
            system="You are a geographer.",
            stop_sequences=["Berlin", "Rome"],
            extra_body={"temperature": 0.25, "top_p": 0.5},
            # The last version that knows the temperature.
            extra_headers={"anthropic-beta": "some-beta-2026-01-01", "anthropic-version": "2023-06-01"},
        )
    )
    (seen,) = ledger.calls()
    request = seen["request"]
    assert request["model"] == NAMES[provider]
    assert (request["temperature"], request["top_p"]) == (0.25, 0.5)
    if provider == "anthropic":
        assert request["max_tokens"] == 77
        assert request["stop_sequences"] == ["Berlin", "Rome"]
        assert request["system"] == "You are a geographer."
        assert seen["headers"]["anthropic-beta"] == "some-beta-2026-01-01"
        assert seen["headers"]["anthropic-version"] == "2023-06-01"
    else:
        assert 77 in (request.get("max_tokens"), request.get("max_completion_tokens"))
        assert request["stop"] == ["Berlin", "Rome"]
        assert request["messages"][0]["role"] in ("system", "developer")
        assert "You are a geographer." in json.dumps(request["messages"][0]["content"])
        assert "anthropic-beta" not in seen["headers"]


@each_provider("anthropic")
def test_max_tokens_cuts_the_answer(client, provider):
    answer = client.messages.create(**ask(provider, max_tokens=3))
    assert answer.stop_reason == "max_tokens"
    assert ANSWER.startswith(text_of(answer)) and text_of(answer) != ANSWER


@each_provider("anthropic")
def test_a_stop_sequence_ends_the_answer(client, provider):
    answer = client.messages.create(**ask(provider, stop_sequences=[" is "]))
    assert text_of(answer) == "The capital of France"
    # OpenAI's answer does not tell a stop sequence from an end of its own.
    assert answer.stop_reason == ("stop_sequence" if provider == "anthropic" else "end_turn")


@each_provider("anthropic")
def test_images_reach_the_provider(client, ledger, provider):
    source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is in this picture?"}]
    assert text_of(client.messages.create(**ask(provider, messages=[{"role": "user", "content": content}])))
    (seen,) = ledger.calls()
    parts = seen["request"]["messages"][0]["content"]
    assert parts[1] == {"type": "text", "text": "What is in this picture?"}
    if provider == "anthropic":
        assert parts[0] == {"type": "image", "source": source}
    else:
        assert parts[0]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"


@through_gateway
@each_base
def test_models_are_listed(gateway, base):
    client = anthropic.Anthropic(base_url=gateway + base, api_key="sk-of-the-client", max_retries=0)
    models = list(client.models.list())
    ids = [listed.id for listed in models]
    assert any(name.startswith("openai/") for name in ids) and any(name.startswith("anthropic/") for name in ids)
    assert {listed.type for listed in models} == {"model"}
    assert client.models.retrieve(ids[0]).id == ids[0]


@through_gateway
def test_the_key_of_the_client_stays_with_the_gateway(client, simulator, ledger):
    client.messages.create(**ask("anthropic"))
    headers = {"x-api-key": "sk-anthropic-of-the-gateway", "anthropic-version": "2023-06-01"}
    httpx.post(f"{simulator}/v1/messages", json=ask("anthropic"), headers=headers)
    through, direct = (call["headers"] for call in ledger.calls())
    assert through["x-api-key"] == direct["x-api-key"]
    assert "authorization" not in through


def test_the_version_that_the_client_speaks_reaches_the_provider(client, ledger):
    client.messages.create(**ask("anthropic"))
    assert ledger.calls()[0]["headers"]["anthropic-version"] == client.default_headers["anthropic-version"]


@through_gateway
def test_a_query_does_not_change_the_path(client):
    assert text_of(client.messages.create(**ask("openai"), extra_query={"beta": "true"})) == ANSWER


# Errors


@through_gateway
def test_an_unknown_model_is_404(client):
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="no-such-model-anywhere", messages=QUESTION, max_tokens=5)
    body = caught.value.response.json()
    assert body["type"] == "error" and body["error"]["type"] == "not_found_error" and body["request_id"]
    assert "no-such-model-anywhere" in body["error"]["message"]


@each_provider("anthropic")
def test_a_bad_parameter_is_400(client, provider):
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.messages.create(**ask(provider, max_tokens=-5))
    body = caught.value.response.json()
    assert body["type"] == "error" and body["error"]["type"] == "invalid_request_error"
    # OpenAI's newer models know the limit under another name.
    assert "max_tokens" in body["error"]["message"] or "max_completion_tokens" in body["error"]["message"]


@each_provider("anthropic")
def test_a_rate_limit_of_the_provider_is_429_with_its_hint(client, ledger, provider):
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**ask(provider, "status=429,retry_after=30"))
    assert caught.value.response.headers["retry-after"] == "30"
    assert caught.value.response.json()["error"]["type"] == "rate_limit_error"
    assert len(ledger.calls()) == 1, "the provider said when to come back"


@pytest.mark.repeats
@through_gateway
@pytest.mark.parametrize("status", [500, 529])
def test_an_error_of_the_provider_is_retried_by_the_gateway_alone(gateway, ledger, status):
    patient = anthropic.Anthropic(base_url=gateway, api_key="sk-of-the-client", max_retries=5)
    with pytest.raises(anthropic.APIStatusError) as caught:
        patient.messages.create(**ask("anthropic", f"status={status}"))
    assert caught.value.status_code == status
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert 2 <= len(ledger.calls()) <= 3


@through_gateway
def test_an_error_of_the_other_provider_is_told_in_anthropic_words(client):
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**ask("openai", "status=500"))
    body = caught.value.response.json()
    assert caught.value.status_code == 500
    assert body["type"] == "error" and body["error"]["type"] == "api_error" and body["error"]["message"]


@through_gateway
@pytest.mark.parametrize("status", [401, 403])
@each_provider("anthropic")
def test_a_refused_key_of_the_gateway_is_502_without_details(client, provider, status):
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**ask(provider, f"status={status}"))
    assert caught.value.status_code == 502
    assert caught.value.response.json()["error"]["type"] == "api_error"
    assert "sk-" not in caught.value.response.text


@pytest.mark.repeats
@through_gateway
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@each_provider("anthropic")
def test_a_passing_error_is_not_seen(client, ledger, provider, streamed):
    asked = ask(provider, f"status=503,times=1,seed={next(unique)}")
    if streamed:
        with client.messages.stream(**asked) as stream:
            answer = stream.get_final_message()
    else:
        answer = client.messages.create(**asked)
    assert text_of(answer) == ANSWER
    assert [seen["status"] for seen in ledger.calls()] == [503, 200]


@each_provider("anthropic")
def test_an_error_within_a_stream_is_raised(client, provider):
    seen = ""
    with pytest.raises(anthropic.APIError) as caught:
        for event in client.messages.create(**ask(provider, "error_after=3", stream=True)):
            assert event.type != "message_stop"
            if event.type == "content_block_delta":
                seen += event.delta.text
    assert seen and ANSWER.startswith(seen) and seen != ANSWER
    assert caught.value.message


@through_gateway
@pytest.mark.parametrize("cut", ["abort=6", "truncate=6", "reset_after=6"])
@each_provider("anthropic")
def test_a_cut_stream_never_looks_complete(client, provider, cut):
    kinds = []
    with pytest.raises(anthropic.APIError):
        for event in client.messages.create(**ask(provider, cut, stream=True)):
            kinds.append(event.type)
    assert "message_start" in kinds
    assert "message_delta" not in kinds and "message_stop" not in kinds


# Time


@each_provider("anthropic")
def test_closing_a_stream_ends_it_at_the_provider(client, ledger, provider):
    with client.messages.stream(**ask(provider, SLOW)) as stream:
        for _ in stream.text_stream:
            break
    assert ledger.wait_for(peer_closed, seconds=1), ledger.calls()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@each_provider("anthropic")
def test_a_client_that_gives_up_ends_the_call_at_the_provider(client, ledger, provider, streamed):
    with pytest.raises(anthropic.APITimeoutError):
        client.with_options(timeout=0.3).messages.create(**ask(provider, "stall", stream=streamed))
    assert ledger.wait_for(peer_closed, seconds=1), ledger.calls()


@through_gateway
@each_provider("anthropic")
def test_the_time_limit_of_a_request_is_kept(client, ledger, provider):
    began = time.monotonic()
    with pytest.raises(anthropic.APIStatusError) as caught:
        client.messages.create(**ask(provider, "stall"), extra_headers={"x-gateway-timeout-ms": "400"})
    assert caught.value.status_code == 504
    assert caught.value.response.json()["error"]["type"] == "timeout_error"
    assert 0.3 < time.monotonic() - began < 1.5
    assert ledger.wait_for(peer_closed, seconds=1)
