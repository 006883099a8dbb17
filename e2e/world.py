"""The programs under test, started and ended: simulated providers, and the gateway in front of them.

    from world import Gateway, Simulator, gateway_before

As a program, `world.py COMMAND...` starts both, runs the command with SIMULATOR_URL and GATEWAY_URL, and ends them. At
REPEATING_GATEWAY_URL is another gateway, for the few tests that need a second attempt at the same provider: there is a budget for
these, which the failures of other tests spend.
E2E_DIRECT=1 leaves the gateway out: clients talk to the simulator, which is how the tests themselves are checked.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIRECT = os.environ.get("E2E_DIRECT") == "1"

# Nothing but the provider is in the way of a test, unless the test asks for it.
UNLIMITED = {
    "RATE_LIMIT_ENABLED": "false",
    "CACHE_ENABLED": "false",
    "CIRCUIT_BREAKER_FAILURE_THRESHOLD": "1000000",
    "RETRY_BASE_DELAY": "0.01",
    "RETRY_MAX_DELAY": "0.05",
    "LOG_LEVEL": "debug",
}


def binary():
    """The gateway's debug build, or the program that LLM_GATEWAY_BIN names."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return os.environ.get("LLM_GATEWAY_BIN", str(target / "debug/llm-gateway"))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url):
    """(status, body) of a GET, errors included."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


class Program:
    """A server in a folder of its own, with no more of the environment than it is given."""

    def __init__(self, command, environment, ready, port):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.home = Path(tempfile.mkdtemp(prefix="llm-gateway-e2e-"))
        self.log = self.home / "log"
        base = {"PATH": os.environ["PATH"], "HOME": str(self.home), "RUST_BACKTRACE": "1"}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.home, env=base | environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.wait_until(ready)

    def wait_until(self, ready):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                if get(self.url + ready)[0] == 200:
                    return
            time.sleep(0.02)
        log = self.log.read_text(errors="replace")[-4000:]
        self.stop()
        raise RuntimeError(f"{self.process.args} did not serve {ready} (exit code {self.process.returncode}):\n{log}")

    def stop(self):
        """Asks the program to end, makes it if it does not, and returns its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Simulator(Program):
    """Both providers on one port. What they were asked, and how each answer ended, is in the ledger."""

    def __init__(self):
        port = free_port()
        super().__init__([binary(), "sandbox", "--port", str(port)], {}, "/ledger", port)


class Ledger:
    """The simulator's ledger from here on: `calls()` are the requests that came since this was made."""

    def __init__(self, url):
        self.url = url
        self.seen = max((entry["sequence"] for entry in self.everything()), default=0)

    def everything(self):
        ledger = json.loads(get(self.url + "/ledger")[1])
        return ledger if isinstance(ledger, list) else ledger["entries"]

    def calls(self):
        return [entry for entry in self.everything() if entry["sequence"] > self.seen]

    def wait_for(self, condition, seconds):
        """The first call that fulfils the condition, looked for so long; None if there is none."""
        deadline = time.monotonic() + seconds
        while True:
            for call in self.calls():
                if condition(call):
                    return call
            if time.monotonic() > deadline:
                return None
            time.sleep(0.01)


def peer_closed(call):
    return isinstance(call["ending"], dict) and "peer_closed" in call["ending"]


class Gateway(Program):
    def __init__(self, environment, *arguments):
        port = free_port()
        environment = {"HOST": "127.0.0.1", "PORT": str(port)} | environment
        super().__init__([binary(), "serve", *arguments], environment, "/health/ready", port)


def gateway_before(upstream, *arguments, **settings):
    """A gateway whose two providers are the simulator at `upstream`; settings are environment variables, arguments flags."""
    providers = {
        "OPENAI_API_KEY": "sk-openai-of-the-gateway",
        "OPENAI_BASE_URL": f"{upstream}/v1",
        "ANTHROPIC_API_KEY": "sk-anthropic-of-the-gateway",
        "ANTHROPIC_BASE_URL": upstream,
    }
    return Gateway(providers | UNLIMITED | settings, *arguments)


def main():
    with contextlib.ExitStack() as programs:
        simulator = programs.enter_context(Simulator())
        gateway = simulator if DIRECT else programs.enter_context(gateway_before(simulator.url))
        repeating = simulator if DIRECT else programs.enter_context(gateway_before(simulator.url))
        urls = {"SIMULATOR_URL": simulator.url, "GATEWAY_URL": gateway.url, "REPEATING_GATEWAY_URL": repeating.url}
        sys.exit(subprocess.call(sys.argv[1:], env=os.environ | urls))


if __name__ == "__main__":
    main()
