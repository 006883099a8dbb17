import subprocess
import sys

import pytest
from world import ROOT, Gateway

CONFIGURATION = """
providers:
  local_openai: {{dialect: openai_chat, base_url: "{url}/v1", models: [gemma]}}
  local_anthropic: {{dialect: anthropic_messages, base_url: "{url}", models: [gemma]}}
"""


@pytest.fixture(scope="session")
def llama():
    """The address of a llama.cpp server."""
    command = [ROOT / ".cache/llama/bin/python", ROOT / "e2e/llama/server.py"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True) as process:
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), "the llama.cpp server did not start"
        yield url
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


@pytest.fixture(scope="session")
def gateway(llama, tmp_path_factory):
    """The address of a gateway that knows the server as two providers, one of each dialect."""
    file = tmp_path_factory.mktemp("gateway") / "gateway.yaml"
    file.write_text(CONFIGURATION.format(url=llama))
    settings = {"RATE_LIMIT_ENABLED": "false", "CACHE_ENABLED": "false", "RETRY_MAX_ATTEMPTS": "1"}
    with Gateway(settings, "--config", str(file)) as program:
        yield program.url
