import os

import httpx
import pytest
from world import DIRECT, Ledger, Simulator, gateway_before


@pytest.fixture(scope="session")
def simulator():
    if url := os.environ.get("SIMULATOR_URL"):
        yield url
        return
    with Simulator() as program:
        yield program.url


@pytest.fixture(scope="session")
def shared_gateway(simulator):
    if DIRECT:
        yield simulator
        return
    with gateway_before(simulator) as program:
        yield program.url


@pytest.fixture
def gateway(request, simulator, shared_gateway):
    """The address that clients talk to."""
    if DIRECT or not request.node.get_closest_marker("repeats"):
        yield shared_gateway
        return
    with gateway_before(simulator) as program:
        yield program.url


@pytest.fixture
def ledger(simulator):
    return Ledger(simulator)


@pytest.fixture
def http(gateway):
    with httpx.Client(base_url=gateway, timeout=10) as client:
        yield client
