"""The official OpenAI client, in front of either provider."""

import json
import time

import openai
import pytest
from scenes import ANSWER, NAMES, PIXEL, QUESTION, SLOW, each_provider, model, through_gateway, unique
from world import DIRECT, peer_closed

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

each_base = pytest.mark.parametrize("base", ["/v1"] if DIRECT else ["/v1", "/openai/v1"])


@pytest.fixture
def client(gateway):
    with openai.OpenAI(base_url=f"{gateway}/v1", api_key="sk-of-the-client", max_retries=0, timeout=10) as client:
        yield client


def text_of(chunks):
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def finish_reasons(chunks):
    return [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]


@each_base
@each_provider("openai")
def test_whole(gateway, base, provider):
    client = openai.OpenAI(base_url=gateway + base, api_key="sk-of-the-client", max_retries=0)
    answer = client.chat.completions.create(model=model(provider), messages=QUESTION)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == ANSWER
    assert answer.choices[0].finish_reason == "stop"
    assert NAMES[provider] in answer.model
    assert answer.usage.prompt_tokens > 0 and answer.usage.completion_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@each_base
@each_provider("openai")
def test_streamed_text_and_usage_equal_the_whole_answer(gateway, base, provider):
    client = openai.OpenAI(base_url=gateway + base, api_key="sk-of-the-client", max_retries=0)
    whole = client.chat.completions.create(model=model(provider), messages=QUESTION)
    chunks = list(
        client.chat.completions.create(
            model=model(provider), messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
    )
    assert text_of(chunks) == whole.choices[0].message.content
    assert finish_reasons(chunks) == ["stop"]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert len({chunk.id for chunk in chunks}) == 1


@each_provider("openai")
def test_a_stream_without_include_usage_has_no_usage(client, provider):
    chunks = list(client.chat.completions.create(model=model(provider), messages=QUESTION, stream=True))
    assert text_of(chunks) == ANSWER
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)


@each_provider("openai")
def test_a_stream_arrives_while_it_is_written(client, provider):
    began = time.monotonic()
    times = [
        time.monotonic() - began
        for chunk in client.chat.completions.create(model=model(provider, SLOW), messages=QUESTION, stream=True)
        if text_of([chunk])
    ]
    assert len(times) > 2
    assert times[-1] - times[0] > 0.1, "everything came at once"


@each_provider("openai")
def test_the_streaming_helper_accumulates_the_answer(client, provider):
    with client.chat.completions.stream(model=model(provider), messages=QUESTION) as stream:
        for _ in stream:
            pass
        answer = stream.get_final_completion()
    assert answer.choices[0].message.content == ANSWER


def call(client, provider, messages, streamed):
    """One turn with tools: the assistant's message, and why it ended."""
    asked = {"model": model(provider), "messages": messages, "tools": [WEATHER]}
    if not streamed:
        choice = client.chat.completions.create(**asked).choices[0]
        return choice.message, choice.finish_reason
    with client.chat.completions.stream(**asked) as stream:
        for _ in stream:
            pass
        choice = stream.get_final_completion().choices[0]
        return choice.message, choice.finish_reason


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@each_provider("openai")
def test_tools_in_a_loop(client, ledger, provider, streamed):
    """Three turns, two of them with calls; the first with two calls at once. Results find their calls by id."""
    messages = [{"role": "user", "content": "What is the weather in Paris and Tokyo?"}]
    cities = []
    for question in (None, "What is the weather in Lisbon?"):
        if question:
            messages.append({"role": "user", "content": question})
        message, finish = call(client, provider, messages, streamed)
        assert finish == "tool_calls"
        assert len({called.id for called in message.tool_calls}) == len(message.tool_calls)
        messages.append(
            {
                "role": "assistant",
                "content": message.content,
                "tool_calls": [called.model_dump(include={"id", "type", "function"}) for called in message.tool_calls],
            }
        )
        for called in message.tool_calls:
            assert called.function.name == "get_weather"
            city = json.loads(called.function.arguments)["city"]
            cities.append(city)
            messages.append({"role": "tool", "tool_call_id": called.id, "content": f"It is sunny in {city}."})
        message, finish = call(client, provider, messages, streamed)
        assert finish == "stop" and message.content and not message.tool_calls
        messages.append({"role": "assistant", "content": message.content})
    assert cities == ["Paris", "Tokyo", "Lisbon"]
    # What the provider saw last: every result, and each under the id of its call.
    seen = json.dumps(ledger.calls()[-1]["request"])
    for city in cities:
        assert f"It is sunny in {city}." in seen
    for sent in messages:
        for called in sent.get("tool_calls", []):
            assert seen.count(called["id"]) == 2


@through_gateway
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@each_provider("openai")
def test_thinking_and_tools_in_a_loop(client, ledger, provider, streamed):
    """Anthropic wants thoughts back with the calls that they led to, and OpenAI's clients cannot send them: in the turns that
    answer calls it is not asked to think, and the client is told so."""
    messages = [{"role": "user", "content": "What is the weather in Paris and Tokyo?"}]
    for question in (None, "What is the weather in Lisbon?", "What is the weather in Rome?"):
        if question:
            messages.append({"role": "user", "content": question})
        for finish in ("tool_calls", "stop"):
            asked = {"model": model(provider), "messages": messages, "tools": [WEATHER], "reasoning_effort": "low"}
            raw = client.chat.completions.with_raw_response.create(**asked, stream=streamed)
            if streamed:
                chunks = list(raw.parse())
                assert finish_reasons(chunks) == [finish]
                message = {"role": "assistant", "content": text_of(chunks) or None}
                pieces = [piece for chunk in chunks for choice in chunk.choices for piece in choice.delta.tool_calls or []]
                calls = {}
                for piece in pieces:
                    name, arguments = piece.function.name, piece.function.arguments
                    call = calls.setdefault(piece.index, {"id": piece.id, "name": name, "arguments": ""})
                    call["arguments"] += arguments or ""
                calls = list(calls.values())
            else:
                choice = raw.parse().choices[0]
                assert choice.finish_reason == finish
                message = {"role": "assistant", "content": choice.message.content}
                calls = [
                    {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
                    for call in choice.message.tool_calls or []
                ]
            if calls:
                message["tool_calls"] = [
                    {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
                    for call in calls
                ]
            messages.append(message)
            for call in calls:
                city = json.loads(call["arguments"])["city"]
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": f"It is sunny in {city}."})
            if provider == "anthropic":
                after_tools = finish == "stop" or question is not None
                thinks = "thinking" in ledger.calls()[-1]["request"]
                named = "reasoning_effort" in raw.headers.get("x-gateway-dropped", "").split(", ")
                assert thinks != named, "either it thinks, or the client is told that it does not"
                assert thinks or after_tools
    assert [call["status"] for call in ledger.calls()] == [200] * 6


@through_gateway
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("name", ["weather.get/today", "get_weather_" + "of_a_city_" * 12], ids=["dotted", "long"])
def test_names_of_tools_that_the_provider_refuses_are_the_clients_own_again(client, ledger, name, streamed):
    tool = {"type": "function", "function": WEATHER["function"] | {"name": name}}
    messages = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    for turn in range(2):
        asked = {"model": model("anthropic"), "messages": messages, "tools": [tool], "tool_choice": "required"}
        if streamed:
            with client.chat.completions.stream(**asked) as stream:
                for _ in stream:
                    pass
                message = stream.get_final_completion().choices[0].message
        else:
            message = client.chat.completions.create(**asked).choices[0].message
        (call,) = message.tool_calls
        assert call.function.name == name
        called = {"role": "assistant", "tool_calls": [call.model_dump(include={"id", "type", "function"})]}
        messages += [called, {"role": "tool", "tool_call_id": call.id, "content": "It is sunny."}]
        seen = ledger.calls()[turn]["request"]
        assert seen["tools"][0]["name"] != name
        uses = [block for sent in seen["messages"] if isinstance(sent["content"], list) for block in sent["content"]]
        uses = [block["name"] for block in uses if block["type"] == "tool_use"]
        assert uses == [seen["tools"][0]["name"]] * turn


@each_provider("openai")
def test_a_forced_tool_is_called(client, provider):
    answer = client.chat.completions.create(
        model=model(provider),
        messages=QUESTION,
        tools=[WEATHER],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
    )
    assert [called.function.name for called in answer.choices[0].message.tool_calls] == ["get_weather"]
    json.loads(answer.choices[0].message.tool_calls[0].function.arguments)


@each_provider("openai")
def test_what_the_client_sets_reaches_the_provider(client, ledger, provider):
    raw = client.chat.completions.with_raw_response.create(
        model=model(provider),
        messages=[{"role": "system", "content": "You are a geographer."}, *QUESTION],
        temperature=0.25,
        top_p=0.5,
        stop=["Berlin", "Rome"],
        max_tokens=77,
    )
    (seen,) = ledger.calls()
    request = seen["request"]
    assert request["model"] == NAMES[provider]
    assert (request["temperature"], request["max_tokens"]) == (0.25, 77)
    # Anthropic's models take one of the two, and what is left out must be named.
    assert request.get("top_p") == 0.5 or "top_p" in raw.headers["x-gateway-dropped"].split(", ")
    if provider == "openai":
        assert request["stop"] == ["Berlin", "Rome"]
        assert request["messages"][0] == {"role": "system", "content": "You are a geographer."}
    else:
        assert request["stop_sequences"] == ["Berlin", "Rome"]
        assert "You are a geographer." in json.dumps(request["system"])
        assert [message["role"] for message in request["messages"]] == ["user"]
        assert seen["headers"]["anthropic-version"]


@each_provider("openai")
def test_max_tokens_cuts_the_answer(client, provider):
    answer = client.chat.completions.create(model=model(provider), messages=QUESTION, max_tokens=3)
    assert answer.choices[0].finish_reason == "length"
    assert ANSWER.startswith(answer.choices[0].message.content)
    assert answer.choices[0].message.content != ANSWER


@each_provider("openai")
def test_a_stop_sequence_ends_the_answer(client, provider):
    answer = client.chat.completions.create(model=model(provider), messages=QUESTION, stop=[" is "])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == "The capital of France"


@each_provider("openai")
def test_images_reach_the_provider(client, ledger, provider):
    content = [
        {"type": "text", "text": "What is in this picture?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    answer = client.chat.completions.create(model=model(provider), messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content
    (seen,) = ledger.calls()
    parts = seen["request"]["messages"][0]["content"]
    assert parts[0] == {"type": "text", "text": "What is in this picture?"}
    if provider == "openai":
        assert parts[1]["image_url"]["url"] == f"data:image/png;base64,{PIXEL}"
    else:
        assert parts[1]["source"] == {"type": "base64", "media_type": "image/png", "data": PIXEL}


@through_gateway
@each_base
def test_models_are_listed_and_retrieved(gateway, base):
    client = openai.OpenAI(base_url=gateway + base, api_key="sk-of-the-client", max_retries=0)
    ids = [listed.id for listed in client.models.list()]
    assert any(name.startswith("openai/") for name in ids) and any(name.startswith("anthropic/") for name in ids)
    assert len(ids) == len(set(ids))
    assert client.models.retrieve(ids[0]).id == ids[0]


@through_gateway
def test_the_key_of_the_client_stays_with_the_gateway(client, simulator, ledger):
    client.chat.completions.create(model=model("openai"), messages=QUESTION)
    openai.OpenAI(base_url=f"{simulator}/v1", api_key="sk-openai-of-the-gateway").chat.completions.create(
        model="gpt-4o-mini", messages=QUESTION
    )
    through, direct = (call["headers"]["authorization"] for call in ledger.calls())
    assert through == direct
    client.chat.completions.create(model=model("anthropic"), messages=QUESTION)
    headers = ledger.calls()[-1]["headers"]
    assert "authorization" not in headers and headers["x-api-key"] not in (through, direct)


@through_gateway
def test_the_answer_names_its_request_and_its_provider(client):
    raw = client.chat.completions.with_raw_response.create(
        model=model("anthropic"), messages=QUESTION, extra_headers={"x-request-id": "mine"}
    )
    assert raw.headers["x-request-id"] and raw.headers["x-request-id"] != "mine"
    assert raw.headers["x-correlation-id"] == "mine"
    assert raw.headers["x-gateway-provider"] == "anthropic"
    assert raw.headers["x-gateway-model"] == NAMES["anthropic"]
    assert raw.headers["x-gateway-attempts"] == "1"


# Errors


@through_gateway
def test_an_unknown_model_is_404(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model-anywhere", messages=QUESTION)
    assert caught.value.code == "gateway_model_not_found"
    assert "no-such-model-anywhere" in caught.value.message


@through_gateway
def test_a_misspelt_model_is_told_near_names(client):
    listed = next(found.id for found in client.models.list() if found.id.startswith("openai/gpt-"))
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model=listed.removeprefix("openai/").replace("gpt", "gtp"), messages=QUESTION)
    assert listed in caught.value.message


@each_provider("openai")
def test_a_bad_parameter_is_400(client, provider):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model(provider), messages=QUESTION, max_tokens=-5)
    assert "max_tokens" in caught.value.message


@each_provider("openai")
def test_a_rate_limit_of_the_provider_is_429_with_its_hint(client, ledger, provider):
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=model(provider, "status=429,retry_after=30"), messages=QUESTION)
    assert caught.value.response.headers["retry-after"] == "30"
    assert caught.value.message
    assert len(ledger.calls()) == 1, "the provider said when to come back"


@pytest.mark.repeats
@through_gateway
@each_provider("openai")
def test_an_error_of_the_provider_is_retried_by_the_gateway_alone(gateway, ledger, provider):
    patient = openai.OpenAI(base_url=f"{gateway}/v1", api_key="sk-of-the-client", max_retries=5)
    with pytest.raises(openai.InternalServerError) as caught:
        patient.chat.completions.create(model=model(provider, "status=500"), messages=QUESTION)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert 2 <= len(ledger.calls()) <= 3
    assert caught.value.response.headers["x-gateway-attempts"] == str(len(ledger.calls()))


@pytest.mark.repeats
@through_gateway
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@each_provider("openai")
def test_a_passing_error_is_not_seen(client, ledger, provider, streamed):
    answer = client.chat.completions.create(
        model=model(provider, f"status=500,times=1,seed={next(unique)}"), messages=QUESTION, stream=streamed
    )
    assert (text_of(answer) if streamed else answer.choices[0].message.content) == ANSWER
    assert [seen["status"] for seen in ledger.calls()] == [500, 200]


@through_gateway
@pytest.mark.parametrize("status", [401, 403])
@each_provider("openai")
def test_a_refused_key_of_the_gateway_is_502_without_details(client, provider, status):
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model(provider, f"status={status}"), messages=QUESTION)
    assert caught.value.status_code == 502
    assert "sk-" not in caught.value.response.text
    assert caught.value.type == "server_error"


@each_provider("openai")
def test_an_error_within_a_stream_is_raised(client, provider):
    stream = client.chat.completions.create(model=model(provider, "error_after=3"), messages=QUESTION, stream=True)
    seen = ""
    with pytest.raises(openai.APIError) as caught:
        for chunk in stream:
            seen += text_of([chunk])
    assert seen and ANSWER.startswith(seen) and seen != ANSWER
    assert caught.value.message


@through_gateway
@pytest.mark.parametrize("cut", ["abort=6", "truncate=6", "reset_after=6"])
@each_provider("openai")
def test_a_cut_stream_never_looks_complete(client, provider, cut):
    chunks = []
    with pytest.raises(openai.APIError):
        for chunk in client.chat.completions.create(model=model(provider, cut), messages=QUESTION, stream=True):
            chunks.append(chunk)
    assert finish_reasons(chunks) == []
    assert text_of(chunks) != ANSWER


@pytest.mark.repeats
@through_gateway
@each_provider("openai")
def test_an_error_before_the_first_content_is_retried_unseen(client, ledger, provider):
    stream = client.chat.completions.create(
        model=model(provider, f"error_in_200=overloaded_error,times=1,seed={next(unique)}"), messages=QUESTION, stream=True
    )
    assert text_of(list(stream)) == ANSWER
    assert len(ledger.calls()) == 2


# Time


@each_provider("openai")
def test_closing_a_stream_ends_it_at_the_provider(client, ledger, provider):
    stream = client.chat.completions.create(model=model(provider, SLOW), messages=QUESTION, stream=True)
    for chunk in stream:
        if text_of([chunk]):
            break
    stream.close()
    assert ledger.wait_for(peer_closed, seconds=1), ledger.calls()


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@each_provider("openai")
def test_a_client_that_gives_up_ends_the_call_at_the_provider(client, ledger, provider, streamed):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.3).chat.completions.create(
            model=model(provider, "stall"), messages=QUESTION, stream=streamed
        )
    assert ledger.wait_for(peer_closed, seconds=1), ledger.calls()


@through_gateway
@each_provider("openai")
def test_the_time_limit_of_a_request_is_kept(client, ledger, provider):
    began = time.monotonic()
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(
            model=model(provider, "stall"), messages=QUESTION, extra_headers={"x-gateway-timeout-ms": "400"}
        )
    assert caught.value.status_code == 504
    assert caught.value.code == "gateway_timeout"
    assert 0.3 < time.monotonic() - began < 1.5
    assert ledger.wait_for(peer_closed, seconds=1)
