"""The files that describe the project agree with each other: image, compose file, example settings, make targets."""

import json
import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

TARGETS = """
    setup run test test-cov lint fmt bench cache-eval e2e fuzz model-check faults limits-marathon docker-build docker-up
    docker-down docker-logs release simulate update-models clean help
""".split()

VARIABLES = """
    HOST PORT LOG_LEVEL LOG_FORMAT OPENAI_API_KEY OPENAI_BASE_URL OPENAI_DEFAULT_MODEL ANTHROPIC_API_KEY ANTHROPIC_BASE_URL
    ANTHROPIC_DEFAULT_MODEL REDIS_URL DATABASE_URL DEFAULT_ROUTING_STRATEGY RATE_LIMIT_ENABLED RATE_LIMIT_REQUESTS_PER_MINUTE
    RATE_LIMIT_TOKENS_PER_MINUTE GATEWAY_ADMIN_KEY GATEWAY_ADMIN_ADDR GATEWAY_ALLOW_ANONYMOUS CACHE_ENABLED
    CACHE_SIMILARITY_THRESHOLD CACHE_TTL_SECONDS CACHE_EMBEDDING_MODEL CIRCUIT_BREAKER_FAILURE_THRESHOLD
    CIRCUIT_BREAKER_RECOVERY_TIMEOUT CIRCUIT_BREAKER_HALF_OPEN_REQUESTS RETRY_MAX_ATTEMPTS RETRY_BASE_DELAY RETRY_MAX_DELAY
    RETRY_EXPONENTIAL_BASE REQUEST_TIMEOUT CONNECT_TIMEOUT DRAIN_TIMEOUT
""".split()


def read(name):
    return (ROOT / name).read_text()


def instructions(word):
    """The arguments of a Dockerfile instruction, in order, continuation lines joined."""
    text = re.sub(r"\\\n\s*", " ", read("Dockerfile"))
    return re.findall(rf"^{word} (.*)$", text, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load(read("docker-compose.yml"))


@pytest.fixture(scope="module")
def image_environment():
    return dict(pair.split("=", 1) for line in instructions("ENV") for pair in line.split())


def test_the_image_runs_the_program_that_the_workspace_builds():
    package = tomllib.loads(read("crates/gateway/Cargo.toml"))["package"]["name"]
    assert f"--package {package}" in " ".join(instructions("RUN"))
    assert instructions("ENTRYPOINT") == [f'["/usr/local/bin/{package}"]']
    assert any(line.endswith(f"/usr/local/bin/{package}") for line in instructions("COPY"))


def test_the_image_does_not_run_as_root_and_builds_with_a_supported_rust():
    base, runtime = instructions("FROM")
    assert runtime.endswith(":nonroot")
    required = tomllib.loads(read("Cargo.toml"))["workspace"]["package"]["rust-version"]
    offered = re.match(r"rust:(\d+)\.(\d+)", base).groups()
    assert tuple(map(int, offered)) >= tuple(map(int, required.split(".")))


def test_image_and_compose_file_agree_on_the_port(compose, image_environment):
    port = image_environment["PORT"]
    assert instructions("EXPOSE") == [port]
    assert compose["services"]["gateway"]["environment"]["PORT"] == port
    assert compose["services"]["gateway"]["ports"] == [f"127.0.0.1:8000:{port}"]


def test_compose_publishes_on_loopback_only_and_says_that_callers_need_no_key(compose):
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published and all(port.startswith("127.0.0.1:") for port in published)
    assert compose["services"]["gateway"]["environment"]["GATEWAY_ALLOW_ANONYMOUS"] == "true"


def test_compose_waits_longer_than_the_drain(compose):
    drain = int(re.search(r"^# DRAIN_TIMEOUT=(\d+)$", read(".env.example"), flags=re.MULTILINE)[1])
    assert int(compose["services"]["gateway"]["stop_grace_period"].removesuffix("s")) > drain


def test_the_volumes_of_compose_are_declared_and_used(compose):
    used = {volume.split(":")[0] for service in compose["services"].values() for volume in service.get("volumes", [])}
    assert used == set(compose["volumes"])


def settings_of_the_program():
    """{variable: (section of the configuration file, key)}, as the program has them."""
    rows = re.findall(r'row\("(\w+)", &\["(\w+)", "(\w+)"\]\)', read("crates/gateway/src/config/variables.rs"))
    vendors = yaml.safe_load(read("crates/gateway/src/providers/providers.yaml"))
    ours = {name: (section, key) for name, section, key in rows}
    for vendor in vendors:
        for key in ("key", "base_url", "default_model"):
            if name := vendor.get(f"{key}_variable"):
                ours[name] = ("providers", vendor.get(key) if key != "key" else None)
    return ours


def settings_of_the_example():
    """{variable: (value, is it in effect)}, as .env.example has them."""
    before, _, after = read(".env.example").partition("# Not in effect yet\n")
    pattern = re.compile(r"^# ([A-Z][A-Z0-9_]*)=(.*)$", flags=re.MULTILINE)
    lines = [(*match, True) for match in pattern.findall(before)] + [(*match, False) for match in pattern.findall(after)]
    assert len(lines) == len({name for name, _, _ in lines}), "a variable is there twice"
    return {name: (value, effective) for name, value, effective in lines}


def test_the_example_settings_are_those_of_the_program():
    assert set(settings_of_the_example()) == set(settings_of_the_program()) >= set(VARIABLES)
    assert all(line.startswith("#") for line in read(".env.example").splitlines() if line), "an example sets nothing"


def test_the_example_settings_show_the_defaults_and_say_what_is_not_in_effect():
    schema = json.loads(read("docs/gateway.schema.json"))
    program = settings_of_the_program()
    for name, (value, effective) in settings_of_the_example().items():
        section, key = program[name]
        if section == "providers":
            assert value in ("", key), name
            continue
        default = schema["properties"][section]["default"].get(key)
        if isinstance(default, bool):
            assert value == str(default).lower(), name
        elif isinstance(default, int | float):
            assert float(value) == default, name
        elif default is not None:
            assert value == default, name
        shown = re.search(rf"^\| `{name}` .*$", read("docs/configuration.md"), flags=re.MULTILINE)[0]
        assert effective == ("**Not in effect yet.**" not in shown), name


def test_the_build_context_holds_what_the_build_needs_and_no_secret():
    kept = [line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")]
    assert sorted(kept) == ["Cargo.lock", "Cargo.toml", "LICENSE", "crates"]


def test_every_make_target_is_there_and_explained_in_its_help():
    explained = re.findall(r"^([a-z0-9-]+):.*## \S", read("Makefile"), flags=re.MULTILINE)
    assert sorted(explained) == sorted(TARGETS)
    phony = re.search(r"^\.PHONY: (.*)$", read("Makefile"), flags=re.MULTILINE)[1].split()
    assert set(TARGETS) <= set(phony)


def test_continuous_integration_runs_what_a_developer_runs():
    assert read(".ci/run").rstrip().endswith("make test")
    assert os.access(ROOT / ".ci/run", os.X_OK)


def test_what_is_installed_is_pinned_exactly():
    for file in sorted(ROOT.glob("e2e/**/requirements*.txt")):
        if "node_modules" in file.parts:
            continue
        for line in file.read_text().splitlines():
            assert line.startswith("#") or re.match(r"[a-z0-9._-]+==[^*]+$", line), f"{file}: {line}"
    for version in json.loads(read("e2e/sdk/package.json"))["dependencies"].values():
        assert re.fullmatch(r"[\d.]+", version)
