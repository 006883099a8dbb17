"""What /openapi.json promises, tried by schemathesis with the admin key: no request, whatever is in it, gets an answer that is
not documented, and none fails inside of the gateway."""

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from world import Gateway

ADMIN_KEY = "an-operator-s-own-key-7719"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture(scope="module")
def gateway():
    """In sandbox mode, with a database of its own."""
    with Gateway({"GATEWAY_ADMIN_KEY": ADMIN_KEY, "RATE_LIMIT_ENABLED": "false", "LOG_LEVEL": "error"}) as gateway:
        yield gateway


def schemathesis(gateway, folder, *arguments):
    command = ["schemathesis", "run", f"{gateway.url}/openapi.json", "--seed", "1", "--no-shrink"]
    command += ["--header", f"Authorization: Bearer {ADMIN_KEY}"]
    # A client that gives a request a millisecond gets its 504.
    command += ["--header", "x-gateway-timeout-ms: 60000", "--warnings", "off", "--checks", CHECKS, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert gateway.process.poll() is None


# Their events are described one by one, which schemathesis takes for the shape of an event together with its name: the tests
# of crates/gateway/tests/openapi.rs look into them.
STREAMED = "^/v1/completions"
# One worker: two at once share tables of hypothesis that are not made for it, and now and then one of them ends with a KeyError.
EVERYTHING = ["--phases", "examples,coverage", "--workers", "1"]


def test_every_operation_answers_as_documented(gateway, tmp_path):
    schemathesis(gateway, tmp_path, "--exclude-path-regex", STREAMED, *EVERYTHING)


def test_conversations_and_streams_never_fail_inside(gateway, tmp_path):
    without = ["--exclude-checks", "response_schema_conformance"]
    schemathesis(gateway, tmp_path, "--include-path-regex", STREAMED, *without, *EVERYTHING)


def test_the_operator_s_routes_take_anything(gateway, tmp_path):
    phases = ["--phases", "fuzzing,stateful", "--max-examples", "8"]
    schemathesis(gateway, tmp_path, "--include-tag", "Operator", *phases)
