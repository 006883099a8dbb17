"""What the official clients make of the gateway's own limits."""

import contextlib
import time

import anthropic
import openai
import pytest
from scenes import QUESTION, model, through_gateway
from world import gateway_before

pytestmark = through_gateway

# Two seconds until the next request, which is as long as a client waits in a test.
PER_MINUTE = 30


@pytest.fixture(scope="module")
def limited(simulator):
    limits = {"RATE_LIMIT_ENABLED": "true", "RATE_LIMIT_REQUESTS_PER_MINUTE": str(PER_MINUTE)}
    with gateway_before(simulator, **limits) as program:
        yield program.url


def of_openai(url, user, retries):
    client = openai.OpenAI(
        base_url=f"{url}/v1", api_key="sk", max_retries=retries, timeout=10, default_headers={"x-gateway-user": user}
    )
    return lambda: client.chat.completions.create(model=model("openai"), messages=QUESTION)


def of_anthropic(url, user, retries):
    client = anthropic.Anthropic(
        base_url=url, api_key="sk", max_retries=retries, timeout=10, default_headers={"x-gateway-user": user}
    )
    return lambda: client.messages.create(model=model("anthropic"), max_tokens=10, messages=QUESTION)


@pytest.mark.parametrize(("client", "error"), [(of_openai, openai.RateLimitError), (of_anthropic, anthropic.RateLimitError)])
def test_who_has_nothing_left_gets_a_rate_limit_error_and_a_patient_client_its_answer(limited, client, error):
    user = client.__name__
    ask = client(limited, user, retries=0)
    with pytest.raises(error) as caught:
        for _ in range(2 * PER_MINUTE):
            ask()
    response = caught.value.response
    assert response.status_code == 429
    assert f"{PER_MINUTE} requests a minute for this user" in caught.value.message
    assert "x-should-retry" not in response.headers
    assert response.headers["x-ratelimit-limit-requests"] == str(PER_MINUTE)
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    assert 0 < int(response.headers["retry-after-ms"]) <= 60_000 / PER_MINUTE
    # Others have spent nothing of theirs.
    client(limited, f"not {user}", retries=0)()
    # As long as it takes until there is nothing left again: this client is faster than what comes back.
    with contextlib.suppress(error):
        for _ in range(PER_MINUTE):
            ask()
    began = time.monotonic()
    client(limited, user, retries=2)()
    assert time.monotonic() - began < 5
