"""What the tests ask, and of whom."""

import base64
import itertools
import time

import pytest
from world import DIRECT

# The model asked for at each provider; the simulator answers for any name.
NAMES = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5"}
PROVIDERS = list(NAMES)

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ANSWER = "The capital of France is Paris."
# A picture of one pixel.
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da6364f8cf50cf0003060101"
        "005c7e4e0b0000000049454e44ae426082"
    )
).decode()
# Slow enough to be interrupted, and to see that nothing is held back.
SLOW = "drip=20,split=64"
# Seeds for faults that count their requests, so that no test meets the count of another.
unique = itertools.count(time.time_ns() // 1000 % 1_000_000_000)

through_gateway = pytest.mark.skipif(DIRECT, reason="the simulator does not do what a gateway does")


def each_provider(of_client):
    """Runs a test for every provider: the client's own dialect, and translated. Without a gateway nothing translates."""
    return pytest.mark.parametrize("provider", [of_client] if DIRECT else PROVIDERS)


def model(provider, fault=None):
    """The name to ask for; with a fault that the simulator plays for it."""
    name = NAMES[provider] + (f"+fault:{fault}" if fault else "")
    return name if DIRECT else f"{provider}/{name}"
