"""`python -m gateway` as a process: it starts, serves, and stops when told to."""

import signal

import httpx
from websockets.sync.client import connect

from tests.fake_triton import FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import answers, eventually, process


def test_it_serves_without_a_line_a_request_and_stops_on_a_signal(fake: FakeTriton) -> None:
    """Its log is about models and Triton; a thousand requests a second would be a disk's work."""
    with process(triton=fake.address) as (started, url):
        eventually(lambda: answers(url), within_s=60)
        headers = {"content-type": "image/jpeg"}
        for body in (encoded(40, 40), b"text"):
            httpx.post(f"{url}/v1/models/colour/predict", content=body, headers=headers)
        started.send_signal(signal.SIGTERM)
        _, log = started.communicate(timeout=30)
    assert started.returncode in {0, -signal.SIGTERM}
    assert f"model colour at {fake.address}: ready, version 1" in log
    assert "predict" not in log
    assert "Traceback" not in log


def test_no_level_of_the_log_shows_what_callers_have_in_their_heads(fake: FakeTriton) -> None:
    """Keys of theirs pass through here, for whoever stands in front; a log is read by others."""
    with process(triton=fake.address, log_level="debug") as (started, url):
        eventually(lambda: answers(url), within_s=60)
        httpx.post(f"{url}/v1/models/colour/predict", content=b"text", headers={"x-api-key": "over-http"})
        stream = f"{url}/v1/models/colour/stream".replace("http", "ws", 1)
        with connect(stream, additional_headers={"x-api-key": "over-websocket"}) as connection:
            connection.send(encoded(40, 40))
            connection.recv()
        started.send_signal(signal.SIGTERM)
        _, log = started.communicate(timeout=30)
    assert "DEBUG" in log
    assert "over-" not in log


def test_a_port_that_is_taken_ends_it_with_the_reason(fake: FakeTriton) -> None:
    """Not with a gateway that listens nowhere."""
    with process(triton=fake.address, port=fake.port) as (started, _):
        _, log = started.communicate(timeout=60)
    assert started.returncode not in {0, None}
    assert "address already in use" in log


def test_a_grpc_port_that_is_taken_ends_it_with_the_reason(fake: FakeTriton) -> None:
    """In one line, with the setting to change; nobody has to read a traceback for it."""
    with process(triton=fake.address, grpc_port=fake.port) as (started, _):
        _, log = started.communicate(timeout=60)
    assert started.returncode == 1
    assert f"gRPC cannot listen on port {fake.port} of 127.0.0.1: Address already in use" in log
    assert "GATEWAY_GRPC_PORT" in log
    assert "Traceback" not in log
