"""Real tokens through the gateway: every client dialect to both dialects of a llama.cpp server, whole and streamed.

At temperature 0 the server answers the same question with the same tokens, so that what comes out of the gateway is compared with
what the server says without it.
"""

import json

import anthropic
import httpx
import openai
import pytest

QUESTION = "one, two, three, four, five,"
LENGTH = 16
PROVIDERS = ["local_openai", "local_anthropic"]

each_provider = pytest.mark.parametrize("provider", PROVIDERS)
pytestmark = pytest.mark.timeout(180)


def ask(**more):
    return {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": LENGTH, "temperature": 0} | more


def ask_anthropic(**more):
    """The same for Anthropic's client, which has no parameter for the temperature."""
    return {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": LENGTH, "extra_body": {"temperature": 0}} | more


@pytest.fixture(scope="module")
def truth(llama):
    """What the server says itself, and with how many tokens."""
    answer = openai.OpenAI(base_url=f"{llama}/v1", api_key="none").chat.completions.create(**ask(model="gemma"))
    text = answer.choices[0].message.content
    assert "six, seven, eight" in text
    return text, answer.usage


@pytest.fixture(scope="module")
def openai_client(gateway):
    return openai.OpenAI(base_url=f"{gateway}/openai/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def anthropic_client(gateway):
    return anthropic.Anthropic(base_url=f"{gateway}/anthropic", api_key="none", max_retries=0)


def test_the_server_speaks_both_dialects_by_itself(llama, truth):
    answer = anthropic.Anthropic(base_url=llama, api_key="none").messages.create(**ask_anthropic(model="gemma"))
    assert answer.content[0].text == truth[0]
    assert answer.stop_reason == "max_tokens"


@each_provider
def test_openai_client_whole(openai_client, truth, provider):
    answer = openai_client.chat.completions.create(**ask(model=f"{provider}/gemma"))
    text, usage = truth
    assert answer.choices[0].message.content == text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == LENGTH
    assert answer.usage.prompt_tokens == usage.prompt_tokens


@each_provider
def test_openai_client_streamed(openai_client, truth, provider):
    stream = openai_client.chat.completions.create(
        **ask(model=f"{provider}/gemma", stream=True, stream_options={"include_usage": True})
    )
    chunks = list(stream)
    text, usage = truth
    deltas = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(deltas) == text
    assert len([delta for delta in deltas if delta]) > LENGTH / 2, "the text came in few pieces"
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["length"]
    assert chunks[-1].usage.completion_tokens == LENGTH
    assert chunks[-1].usage.prompt_tokens == usage.prompt_tokens


@each_provider
def test_anthropic_client_whole(anthropic_client, truth, provider):
    answer = anthropic_client.messages.create(**ask_anthropic(model=f"{provider}/gemma"))
    assert [block.text for block in answer.content] == [truth[0]]
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == LENGTH
    assert answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0) == truth[1].prompt_tokens


@each_provider
def test_anthropic_client_streamed(anthropic_client, truth, provider):
    with anthropic_client.messages.stream(**ask_anthropic(model=f"{provider}/gemma")) as stream:
        pieces = list(stream.text_stream)
        answer = stream.get_final_message()
    assert "".join(pieces) == truth[0]
    assert len(pieces) > LENGTH / 2, "the text came in few pieces"
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == LENGTH


@each_provider
def test_native_whole(gateway, truth, provider):
    answer = httpx.post(f"{gateway}/v1/completions", json=ask(model=f"{provider}/gemma"), timeout=60)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["content"] == truth[0]
    assert body["provider"] == provider
    assert body["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == LENGTH
    assert body["usage"]["prompt_tokens"] == truth[1].prompt_tokens


@each_provider
def test_native_streamed(gateway, truth, provider):
    with httpx.stream("POST", f"{gateway}/v1/completions/stream", json=ask(model=f"{provider}/gemma"), timeout=60) as answer:
        assert answer.status_code == 200
        lines = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    assert "".join(chunk["content"] or "" for chunk in chunks) == truth[0]
    assert chunks[-1]["finish_reason"] == "length"
    assert chunks[-1]["usage"]["completion_tokens"] == LENGTH


@each_provider
def test_a_system_prompt_reaches_the_model(openai_client, anthropic_client, truth, provider):
    """The question as system prompt, so that only a gateway that passes it on gets the answer."""
    counted = {"role": "user", "content": "six,"}
    chat = openai_client.chat.completions.create(
        model=f"{provider}/gemma",
        messages=[{"role": "system", "content": QUESTION}, counted],
        max_tokens=8,
        temperature=0,
    )
    message = anthropic_client.messages.create(
        **ask_anthropic(model=f"{provider}/gemma", system=QUESTION, messages=[counted], max_tokens=8)
    )
    assert "seven" in chat.choices[0].message.content
    assert message.content[0].text == chat.choices[0].message.content


SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CITIES = ["Paris", "Lisbon", "Rome"]


def loop_of_openai():
    """Three turns with a call each, as OpenAI's clients tell them; the model is too small to make calls itself."""
    messages = []
    for n, city in enumerate(CITIES):
        function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
        messages += [
            {"role": "user", "content": f"Weather in {city}?"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": f"c{n}", "type": "function", "function": function}]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": f"{city}: sunny"},
        ]
        if n + 1 < len(CITIES):
            messages.append({"role": "assistant", "content": f"It is sunny in {city}."})
    function = {"name": "get_weather", "description": "The weather", "parameters": SCHEMA}
    return {"messages": messages, "tools": [{"type": "function", "function": function}], "tool_choice": "none"}


def loop_of_anthropic():
    messages = []
    for n, city in enumerate(CITIES):
        use = {"type": "tool_use", "id": f"c{n}", "name": "get_weather", "input": {"city": city}}
        result = {"type": "tool_result", "tool_use_id": f"c{n}", "content": f"{city}: sunny"}
        messages += [
            {"role": "user", "content": f"Weather in {city}?"},
            {"role": "assistant", "content": [use]},
            {"role": "user", "content": [result]},
        ]
        if n + 1 < len(CITIES):
            messages.append({"role": "assistant", "content": f"It is sunny in {city}."})
    tools = [{"name": "get_weather", "description": "The weather", "input_schema": SCHEMA}]
    return {"messages": messages, "tools": tools, "tool_choice": {"type": "none"}}


@pytest.fixture(scope="module")
def loop(llama):
    """What the server says itself after the three turns, and how many tokens it saw."""
    chat = openai.OpenAI(base_url=f"{llama}/v1", api_key="none").chat.completions
    answer = chat.create(**loop_of_openai(), model="gemma", max_tokens=8, temperature=0)
    assert answer.usage.prompt_tokens > 100, "the tools and the calls are not in the prompt"
    return answer.choices[0].message.content, answer.usage.prompt_tokens


@each_provider
def test_a_tool_loop_is_the_same_prompt_on_every_way(openai_client, anthropic_client, loop, provider):
    model = f"{provider}/gemma"
    chat = openai_client.chat.completions.create(**loop_of_openai(), model=model, max_tokens=8, temperature=0)
    assert (chat.choices[0].message.content, chat.usage.prompt_tokens) == loop
    message = anthropic_client.messages.create(**loop_of_anthropic(), model=model, max_tokens=8, extra_body={"temperature": 0})
    seen = message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
    assert ("".join(block.text for block in message.content), seen) == loop


@each_provider
def test_tokens_are_counted_or_estimated(anthropic_client, loop, provider):
    raw = anthropic_client.messages.with_raw_response.count_tokens(**loop_of_anthropic(), model=f"{provider}/gemma")
    counted = raw.parse().input_tokens
    if provider == "local_anthropic":
        assert counted == loop[1]
    else:
        assert raw.headers["x-gateway-added"] == "input_tokens"
        assert 0.3 < counted / loop[1] < 3
