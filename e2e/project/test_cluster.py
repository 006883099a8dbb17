"""Several gateways behind the load balancer that docker-compose.cluster.yml starts, with the same configuration."""

import contextlib
import http.client
import itertools
import json
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from world import ROOT, Gateway, Program, Simulator, free_port, gateway_before, get

needs_haproxy = pytest.mark.skipif(not shutil.which("haproxy"), reason="there is no haproxy; scripts/setup.sh installs it")
GATEWAYS = 3


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.cluster.yml").read_text())


@pytest.fixture(scope="module")
def configuration():
    return (ROOT / "deploy/haproxy.cfg").read_text()


class Balancer(Program):
    def __init__(self, configuration, gateways, folder):
        port = free_port()
        local = configuration.replace("bind :8000", f"bind 127.0.0.1:{port}")
        for number, gateway in enumerate(gateways, 1):
            local = local.replace(f" gateway-{number}:8000", f" 127.0.0.1:{gateway.port}")
        path = folder / "haproxy.cfg"
        path.write_text(local)
        super().__init__(["haproxy", "-db", "-f", str(path)], {}, "/health/ready", port)


@pytest.fixture
def fleet(configuration, tmp_path):
    """(balancer, gateways)."""
    programs = [Simulator()]
    try:
        gateways = [gateway_before(programs[0].url) for _ in range(GATEWAYS)]
        programs += gateways
        balancer = Balancer(configuration, gateways, tmp_path)
        programs.append(balancer)
        yield balancer, gateways
    finally:
        for program in reversed(programs):
            program.stop()


def ask(url, model="openai/sim", stream=False, prompt="Reply with exactly: ok", **headers):
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": prompt}]}
    headers = {"content-type": "application/json"} | headers
    request = urllib.request.Request(f"{url}/v1/chat/completions", json.dumps(body).encode(), headers)
    return urllib.request.urlopen(request, timeout=20)


def answered(gateway):
    counts = re.findall(r"^gateway_requests_total\{.*\} (\d+)$", get(gateway.url + "/metrics")[1].decode(), re.MULTILINE)
    return sum(map(int, counts))


@needs_haproxy
def test_the_configuration_is_one_that_haproxy_takes(configuration, tmp_path):
    path = tmp_path / "haproxy.cfg"
    path.write_text(configuration)
    checked = subprocess.run(["haproxy", "-c", "-f", str(path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    # The names of the gateways are known only where they run.
    warnings = [line for line in checked.stderr.splitlines() if "[WARNING]" in line and "could not resolve" not in line]
    assert warnings == []


@needs_haproxy
def test_all_gateways_answer_and_one_that_ends_loses_no_request(fleet):
    balancer, gateways = fleet
    failures, over = [], threading.Event()

    def client():
        while not over.is_set():
            try:
                with ask(balancer.url) as answer:
                    answer.read()
            except (urllib.error.URLError, OSError) as error:
                failures.append(repr(error))

    with ThreadPoolExecutor(4) as clients:
        for _ in range(4):
            clients.submit(client)
        try:
            time.sleep(1)
            assert all(answered(gateway) > 0 for gateway in gateways)
            # As a rolling restart does it, and then as a machine that loses its power.
            gateways[0].process.send_signal(signal.SIGTERM)
            gateways[0].process.wait(10)
            assert failures == []
            time.sleep(1)
        finally:
            over.set()
    assert failures == []
    before = answered(gateways[1]) + answered(gateways[2])
    for _ in range(6):
        with ask(balancer.url) as answer:
            assert answer.status == 200
    assert answered(gateways[1]) + answered(gateways[2]) == before + 6


@needs_haproxy
def test_a_stream_passes_as_it_comes(fleet):
    balancer, _ = fleet
    times = []
    with ask(balancer.url, model="openai/fault:drip=20,split=200", stream=True, prompt="Please tell me a long story") as answer:
        for line in answer:
            if line.startswith(b"data:"):
                times.append(time.monotonic())
    assert line == b"\n" and len(times) > 10
    # Not all at once at the end.
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert sum(step > 0.005 for step in steps) >= 5, steps


@needs_haproxy
def test_callers_are_who_connected_and_not_who_they_say(configuration, tmp_path):
    with contextlib.ExitStack() as programs:
        simulator = programs.enter_context(Simulator())
        settings = tmp_path / "gateway.yaml"
        settings.write_text("server: {trusted_proxies: [127.0.0.1]}\nlimits: {requests_per_minute: 1}\n")
        providers = {"OPENAI_API_KEY": "sk-none", "OPENAI_BASE_URL": f"{simulator.url}/v1"}
        gateway = programs.enter_context(Gateway(providers, "--config", str(settings)))
        balancer = programs.enter_context(Balancer(configuration, [gateway], tmp_path))

        def status(source, says):
            connection = http.client.HTTPConnection("127.0.0.1", balancer.port, source_address=(source, 0))
            body = json.dumps({"model": "openai/sim", "messages": [{"role": "user", "content": "Hi"}]})
            headers = {"content-type": "application/json", "x-forwarded-for": says, "forwarded": f"for={says}"}
            connection.request("POST", "/v1/chat/completions", body, headers)
            return connection.getresponse().status

        assert [status("127.0.0.2", f"203.0.113.{n}") for n in range(3)] == [200, 429, 429]
        assert [status("127.0.0.3", "203.0.113.0") for n in range(2)] == [200, 429]


def test_the_cluster_is_published_on_loopback_only(compose):
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published == ["127.0.0.1:8000:8000"]


def test_the_balancer_knows_every_gateway_and_the_gateways_trust_it(compose, configuration):
    named = re.findall(r"^    server (\S+) (\S+)$", configuration, flags=re.MULTILINE)
    gateways = [name for name in compose["services"] if name.startswith("gateway-")]
    assert named == [(name, f"{name}:{compose['services'][name]['environment']['PORT']}") for name in gateways]
    trusted = yaml.safe_load((ROOT / "deploy/gateway.yaml").read_text())["server"]["trusted_proxies"]
    assert trusted == [compose["networks"]["gateways"]["ipam"]["config"][0]["subnet"]]


def test_a_full_redis_refuses_and_does_not_forget(compose):
    command = compose["services"]["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
