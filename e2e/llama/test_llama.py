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
