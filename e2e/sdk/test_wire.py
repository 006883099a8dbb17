"""Below the clients: what bare sockets do to the gateway, and how it leaves."""

import contextlib
import json
import signal
import socket
import struct
import time
from urllib.parse import urlsplit

import h2.config
import h2.connection
import h2.events
import pytest
from scenes import ANSWER, QUESTION, SLOW, model, through_gateway
from world import gateway_before, get, peer_closed

pytestmark = through_gateway

BODY = json.dumps({"model": model("openai"), "messages": QUESTION}).encode()
SLOW_STREAM = json.dumps({"model": model("openai", SLOW), "messages": QUESTION, "stream": True}).encode()


def connect(url, timeout=10):
    address = urlsplit(url)
    return socket.create_connection((address.hostname, address.port), timeout=timeout)


def head(url, length, *more, path="/v1/chat/completions", method="POST"):
    lines = [f"{method} {path} HTTP/1.1", f"host: {urlsplit(url).netloc}", "content-type: application/json", *more]
    if length is not None:
        lines.append(f"content-length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def receive(connection, until=None):
    """All that comes, until the connection ends or the text is there."""
    received = b""
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        while until is None or until not in received:
            more = connection.recv(65536)
            if not more:
                break
            received += more
    return received


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.1 ") else None


def still_serves(url):
    return get(url + "/health/live")[0] == 200


# Clients that go away


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_client_that_leaves_a_stream_frees_the_provider(gateway, ledger, reset):
    with connect(gateway) as client:
        client.sendall(head(gateway, len(SLOW_STREAM)) + SLOW_STREAM)
        assert b'"content":"' in receive(client, until=b'"content":"T')
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ledger.wait_for(peer_closed, seconds=1), ledger.calls()


def test_a_client_that_leaves_before_the_first_byte_frees_the_provider(gateway, ledger):
    body = json.dumps({"model": model("openai", "stall"), "messages": QUESTION}).encode()
    with connect(gateway) as client:
        client.sendall(head(gateway, len(body)) + body)
        assert ledger.wait_for(lambda call: call["ending"] == "open", seconds=2)
    assert ledger.wait_for(peer_closed, seconds=1), ledger.calls()


def test_a_client_that_leaves_within_its_request_asks_nothing_of_the_provider(gateway, ledger):
    with connect(gateway) as client:
        client.sendall(head(gateway, len(BODY)) + BODY[:20])
    time.sleep(0.2)
    assert ledger.calls() == []
    assert still_serves(gateway)


# Clients that are slow or silent


def test_silent_connections_keep_nobody_else_waiting(gateway):
    with contextlib.ExitStack() as open_ones:
        for number in range(100):
            silent = open_ones.enter_context(connect(gateway))
            if number % 2:
                silent.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127")
        began = time.monotonic()
        assert still_serves(gateway)
        assert time.monotonic() - began < 1


@pytest.mark.timeout(40)
def test_an_unfinished_head_is_not_waited_for_forever(gateway):
    with connect(gateway, timeout=30) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127")
        began = time.monotonic()
        answer = receive(client)
        assert status(answer) in (None, 408)
        assert 2 < time.monotonic() - began < 20


def test_a_slow_sender_is_served(gateway):
    request = head(gateway, len(BODY), "connection: close") + BODY
    with connect(gateway) as client:
        for start in range(0, len(request), 16):
            client.sendall(request[start : start + 16])
            time.sleep(0.01)
        answer = receive(client)
    assert status(answer) == 200 and ANSWER.encode() in answer


def test_a_body_in_chunks_is_served(gateway):
    with connect(gateway) as client:
        client.sendall(head(gateway, None, "transfer-encoding: chunked", "connection: close"))
        for start in range(0, len(BODY), 10):
            piece = BODY[start : start + 10]
            client.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        client.sendall(b"0\r\n\r\n")
        answer = receive(client)
    assert status(answer) == 200 and ANSWER.encode() in answer


def test_expect_continue_is_answered(gateway):
    with connect(gateway) as client:
        client.sendall(head(gateway, len(BODY), "expect: 100-continue", "connection: close"))
        assert receive(client, until=b"\r\n\r\n").startswith(b"HTTP/1.1 100")
        client.sendall(BODY)
        assert ANSWER.encode() in receive(client)


def test_pipelined_requests_are_answered_in_order(gateway):
    bodies = [
        json.dumps({"model": model("openai"), "messages": [{"role": "user", "content": f"Reply with exactly: {word}"}]}).encode()
        for word in ("first", "second")
    ]
    with connect(gateway) as client:
        first, second = bodies
        client.sendall(head(gateway, len(first)) + first + head(gateway, len(second), "connection: close") + second)
        answer = receive(client)
    assert answer.count(b"HTTP/1.1 200") == 2
    assert answer.index(b'"first"') < answer.index(b'"second"')


# Requests that are too large, or made to deceive


def test_a_body_over_the_limit_is_refused_before_it_is_sent(gateway, ledger):
    with connect(gateway) as client:
        client.sendall(head(gateway, 33 * 1024 * 1024) + b"{")
        answer = receive(client, until=b"}")
    assert status(answer) == 413
    assert b"request_too_large" in answer or b"payload_too_large" in answer
    assert ledger.calls() == []


def test_a_body_over_the_limit_without_a_length_is_refused_on_the_way(gateway, ledger):
    piece = b" " * 65536
    sent = 0
    with connect(gateway) as client:
        client.sendall(head(gateway, None, "transfer-encoding: chunked"))
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            while sent < 64 * 1024 * 1024:
                client.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
                sent += len(piece)
        answer = receive(client, until=b"}")
    assert sent < 64 * 1024 * 1024, "all of it was read"
    assert status(answer) in (None, 413)
    assert ledger.calls() == []
    assert still_serves(gateway)


@pytest.mark.parametrize(
    "header",
    ["x-long: " + "a" * 64 * 1024, "\r\n".join(f"x-{number}: 1" for number in range(500))],
    ids=["long", "many"],
)
def test_headers_over_the_limit_are_refused(gateway, header):
    with connect(gateway) as client:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            client.sendall(head(gateway, 0, header))
        assert status(receive(client, until=b"\r\n\r\n")) in (None, 400, 431)
    assert still_serves(gateway)


SMUGGLED = b"GET /health/live HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        "content-length: {length}\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: {length}",
        "content-length: {length}\r\ncontent-length: 0",
        "content-length: +{length}",
        "content-length: {length}, 0",
        "transfer-encoding: xchunked",
        "transfer-encoding : chunked",
        "transfer-encoding: chunked, identity",
    ],
)
def test_a_request_of_two_lengths_is_never_two_requests(gateway, ledger, lines):
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: {urlsplit(gateway).netloc}\r\ncontent-type: application/json\r\n"
        + lines.format(length=len(BODY))
        + "\r\n\r\n"
    ).encode()
    with connect(gateway, timeout=2) as client:
        client.sendall(request + b"0\r\n\r\n" + SMUGGLED)
        with contextlib.suppress(TimeoutError):
            answer = receive(client)
            assert answer.count(b"HTTP/1.1 ") <= 1
            assert status(answer) in (None, 400, 501)
    assert ledger.calls() == []


def test_another_host_name_is_refused_on_loopback(gateway):
    """A page of another site whose name leads here must not be able to use the gateway."""
    with connect(gateway) as client:
        request = head(gateway, len(BODY), "connection: close").replace(urlsplit(gateway).netloc.encode(), b"evil.example")
        client.sendall(request + BODY)
        answer = receive(client)
    assert 400 <= status(answer) < 500
    assert ANSWER.encode() not in answer


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
def test_the_names_of_this_machine_are_served_on_loopback(gateway, name):
    with connect(gateway) as client:
        host = f"{name}:{urlsplit(gateway).port}".encode()
        client.sendall(
            head(gateway, 0, "connection: close", path="/health/live", method="GET").replace(
                urlsplit(gateway).netloc.encode(), host
            )
        )
        assert status(receive(client)) == 200


# HTTP/2


def http2(url, bodies):
    """Sends requests at once on one HTTP/2 connection without an upgrade; {stream: (status, body)}."""
    protocol = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    answers = {}
    with connect(url) as client:
        protocol.initiate_connection()
        for body in bodies:
            stream = protocol.get_next_available_stream_id()
            authority = urlsplit(url).netloc
            headers = [
                *((":method", "POST"), (":scheme", "http"), (":authority", authority), (":path", "/v1/chat/completions")),
                ("content-type", "application/json"),
            ]
            protocol.send_headers(stream, headers)
            protocol.send_data(stream, body, end_stream=True)
            answers[stream] = [None, b""]
        client.sendall(protocol.data_to_send())
        open_streams = set(answers)
        while open_streams:
            data = client.recv(65536)
            assert data, "the connection ended early"
            for event in protocol.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    answers[event.stream_id][0] = int(dict(event.headers)[":status"])
                elif isinstance(event, h2.events.DataReceived):
                    answers[event.stream_id][1] += event.data
                    protocol.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    open_streams.discard(event.stream_id)
                elif isinstance(event, h2.events.StreamReset):
                    raise AssertionError(event)
            client.sendall(protocol.data_to_send())
    return [tuple(answer) for answer in answers.values()]


def test_http2_is_spoken_to_those_who_begin_with_it(gateway):
    streamed = json.dumps({"model": model("anthropic"), "messages": QUESTION, "stream": True}).encode()
    whole, stream, wrong = http2(gateway, [BODY, streamed, b"{"])
    assert whole[0] == 200 and json.loads(whole[1])["choices"][0]["message"]["content"] == ANSWER
    assert stream[0] == 200 and stream[1].endswith(b"data: [DONE]\n\n")
    assert wrong[0] == 400


# The end


def wait_for_refusal(url, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if get(url + "/health/ready")[0] == 503:
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def test_a_stream_outlives_the_order_to_stop(simulator):
    """SIGTERM: no new work, the running stream to its end, then exit code 0."""
    with gateway_before(simulator) as program, connect(program.url) as client:
        client.sendall(head(program.url, len(SLOW_STREAM)) + SLOW_STREAM)
        begun = receive(client, until=b'"content":"')
        program.process.send_signal(signal.SIGTERM)
        assert wait_for_refusal(program.url, seconds=1)
        rest = receive(client, until=b"[DONE]")
        assert b"[DONE]" in begun + rest
        assert program.process.wait(10) == 0


def test_a_stream_that_lasts_too_long_is_told_so(simulator):
    body = json.dumps({"model": model("openai", "stall_after=4"), "messages": QUESTION, "stream": True}).encode()
    with gateway_before(simulator, DRAIN_TIMEOUT="1") as program, connect(program.url) as client:
        client.sendall(head(program.url, len(body)) + body)
        begun = receive(client, until=b'"content":"')
        program.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        rest = receive(client)
        assert 0.5 < time.monotonic() - began < 3
        assert b'"error"' in begun + rest and b"[DONE]" not in begun + rest
        assert program.process.wait(5) == 0


def test_a_second_order_to_stop_is_obeyed_at_once(simulator):
    body = json.dumps({"model": model("openai", "stall"), "messages": QUESTION}).encode()
    with gateway_before(simulator) as program, connect(program.url) as client:
        client.sendall(head(program.url, len(body)) + body)
        time.sleep(0.3)
        program.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert program.process.poll() is None
        program.process.send_signal(signal.SIGTERM)
        program.process.wait(2)


def test_an_idle_gateway_leaves_at_once(simulator):
    with gateway_before(simulator) as program, connect(program.url) as idle:
        idle.sendall(head(program.url, 0, path="/health/live", method="GET"))
        assert status(receive(idle, until=b"\r\n\r\n")) == 200
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait(3) == 0
