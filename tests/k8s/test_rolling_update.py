"""A gateway that is replaced while callers ask costs none of them an answer: two real ones, and a cluster's Service."""

import http.client
import selectors
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc
from websockets import CloseCode, ConnectionClosed

from gateway.settings import Settings
from gateway.workers import serve_together
from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.photos import encoded
from tests.gateway.serving import answers, eventually, process, running_fake, running_gateway
from tests.gateway.streams import answer, streaming
from tests.ports import free_ports
from tests.tiny_models import colour_contract

USERS = 8
START_S, SOON_S, DRAIN_S = 60.0, 20.0, 5.0
"""A gateway drains for longer than a busy machine stands still: who has not heard of it by then is cut off."""
PHOTO = encoded(40, 40)
HEADERS = {"content-type": "image/jpeg"}
SERVING = health_pb2.HealthCheckResponse.SERVING


class Service:
    """What kube-proxy is: a new connection goes to whom the Service's endpoints say now, and stays there."""

    def __init__(self, listening: socket.socket, endpoint: int) -> None:
        self.endpoint = endpoint
        self._listening = listening
        self._ways = selectors.DefaultSelector()
        self._over = False

    def run(self) -> None:
        """Carry bytes until the end."""
        with self._ways as ways, self._listening:
            ways.register(self._listening, selectors.EVENT_READ)
            while not self._over:
                for key, _ in ways.select(0.05):
                    if key.fileobj is self._listening:
                        self._connect()
                    else:
                        self._carry(key.fileobj, key.data)
            for key in list(ways.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]  # sockets all

    def end(self) -> None:
        self._over = True

    def _connect(self) -> None:
        caller, _ = self._listening.accept()
        try:
            gateway = socket.create_connection(("127.0.0.1", self.endpoint))
        except OSError:
            caller.close()
            return
        self._ways.register(caller, selectors.EVENT_READ, gateway)
        self._ways.register(gateway, selectors.EVENT_READ, caller)

    def _carry(self, source: Any, target: socket.socket) -> None:
        if source.fileno() < 0:  # closed with the other end, a moment ago
            return
        with suppress(OSError):
            if data := source.recv(65536):
                target.sendall(data)
                return
        for end in (source, target):
            self._ways.unregister(end)
            end.close()


@contextmanager
def service(endpoint: int) -> Iterator[tuple[Service, int]]:
    """One that runs, and its port."""
    listening = socket.create_server(("127.0.0.1", 0))
    running = Service(listening, endpoint)
    port: int = listening.getsockname()[1]
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield running, port
    finally:
        running.end()
        thread.join()


@contextmanager
def users(port: int, grpc_port: int) -> Iterator[Counter[str]]:
    """Eight that keep their connections, and never ask twice for one answer; what became of each request."""
    outcomes: Counter[str] = Counter()
    over = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while not over.wait(0.002):
            try:
                connection.request("POST", "/v1/models/colour/predict", PHOTO, HEADERS)
                answer = connection.getresponse()
                answer.read()
                outcomes[f"HTTP {answer.status}"] += 1
            except (OSError, http.client.HTTPException) as exc:
                outcomes[type(exc).__name__] += 1
                connection.close()
        connection.close()

    def ask_grpc() -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]  # else all of a process have one connection
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}", options) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while not over.wait(0.002):
                try:
                    stub.ModelInfer(_request(), timeout=20)
                    outcomes["gRPC OK"] += 1
                except grpc.RpcError as exc:
                    outcomes[f"gRPC {exc.code().name}"] += 1

    threads = [threading.Thread(target=which) for which in (ask, ask_grpc) for _ in range(USERS // 2)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.fixture(scope="module")
def triton() -> Iterator[FakeTriton]:
    with running_fake({"colour": FakeModel(colour_contract())}) as fake:
        yield fake


@pytest.fixture(scope="module")
def successor(triton: FakeTriton) -> Iterator[tuple[int, int]]:
    """The ports, HTTP's and gRPC's, of the one that takes over."""
    [grpc_port] = free_ports(1)
    with process(triton=triton.address, grpc_port=grpc_port) as (_, url):
        eventually(lambda: _ready(url), within_s=START_S)
        yield _port(url), grpc_port


@pytest.mark.parametrize("workers", [1, 2])
def test_a_rolling_update_loses_no_request(triton: FakeTriton, successor: tuple[int, int], workers: int) -> None:
    """The old one is told to end before the Service has heard of it, and serves on until it has.

    gRPC's callers learn of it by their connection's age: what reaches a server that stops is cancelled.
    """
    [old_port] = free_ports(1)
    with (
        process(triton=triton.address, drain_s=DRAIN_S, workers=workers, grpc_port=old_port) as (old, old_url),
        service(_port(old_url)) as (endpoints, port),
        service(old_port) as (grpc_endpoints, grpc_port),
    ):
        eventually(lambda: _ready(old_url), within_s=START_S)
        with users(port, grpc_port) as outcomes:
            eventually(lambda: min(outcomes["HTTP 200"], outcomes["gRPC OK"]) > 30, within_s=SOON_S)
            old.send_signal(signal.SIGTERM)
            before = outcomes.total()
            eventually(lambda: outcomes.total() > before + 50, within_s=SOON_S)  # which the old one still answers
            endpoints.endpoint, grpc_endpoints.endpoint = successor
            eventually(lambda: old.poll() is not None, within_s=SOON_S)
            after = outcomes.copy()
            eventually(lambda: min((outcomes - after)[of] for of in ("HTTP 200", "gRPC OK")) > 20, within_s=SOON_S)
    assert set(outcomes) == {"HTTP 200", "gRPC OK"}, outcomes


def test_a_stream_of_grpc_stays_on_a_connection_that_calls_have_left(fake: FakeTriton) -> None:
    """Ten times as long as a connection is old before new calls go to another."""

    def frames() -> Iterator[Any]:
        for _ in range(10):
            yield _request()
            time.sleep(0.1)

    with running_gateway(fake.address, drain_s=0.3) as gateway, grpc.insecure_channel(gateway.grpc) as channel:
        eventually(lambda: _ready(gateway.url), within_s=START_S)
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answers = list(stub.ModelStreamInfer(frames(), timeout=20))
    assert [answered.error_message for answered in answers] == [""] * 10


@pytest.mark.parametrize("workers", [1, 2])
def test_one_that_drains_answers_is_ready_for_nobody_and_ends_when_it_is_told_again(
    fake: FakeTriton, workers: int
) -> None:
    """`Connection: close` with every answer, streams go on, all three protocols say that it is not ready.

    The second SIGTERM ends the wait, a minute before its time: what is in work is answered, streams are told to connect
    again.
    """
    [port] = free_ports(1)
    with (
        process(triton=fake.address, drain_s=60, deadline_s=30, workers=workers, grpc_port=port) as (started, url),
        ThreadPoolExecutor(1) as threads,
    ):
        eventually(lambda: _ready(url), within_s=START_S)
        with (
            httpx.Client(base_url=url) as caller,
            streaming(url, "colour") as stream,
            grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
        ):
            health = health_pb2_grpc.HealthStub(channel)
            assert "connection" not in caller.get("/health/live").headers
            assert health.Check(health_pb2.HealthCheckRequest(), timeout=5).status == SERVING
            started.send_signal(signal.SIGTERM)
            eventually(lambda: httpx.get(f"{url}/health/ready").status_code == 503, within_s=SOON_S)
            eventually(lambda: httpx.get(f"{url}/v2/health/ready").status_code == 503, within_s=SOON_S)
            eventually(
                lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=5).status != SERVING, within_s=SOON_S
            )
            eventually(lambda: _predicted(caller).headers.get("connection") == "close", within_s=SOON_S)
            stream.send(PHOTO)
            assert answer(stream)["model"] == "colour"
            fake.hangs = True
            slow = threads.submit(_predicted, httpx.Client(base_url=url, timeout=40))
            eventually(lambda: fake.running, within_s=SOON_S)
            started.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                stream.recv(15)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == CloseCode.SERVICE_RESTART
            fake.hangs = False
            assert slow.result().status_code == httpx.codes.OK
        _, log = started.communicate(timeout=15)
    assert "Traceback" not in log


def test_workers_that_cannot_start_have_nothing_to_drain(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first one ends, by a setting that there is not, and the gateway does at once, not a minute later."""
    monkeypatch.setenv("GATEWAY_NONE", "1")
    begin_s = time.monotonic()
    assert serve_together(Settings(workers=2, drain_s=60, port=0, grpc_port=0)) == 1
    assert time.monotonic() - begin_s < 30
    assert "ended before any of them served" in caplog.text


def _request() -> Any:
    """One photo, as the Open Inference Protocol has it over gRPC."""
    asked = service_pb2.ModelInferRequest(
        model_name="colour", raw_input_contents=[struct.pack("<I", len(PHOTO)) + PHOTO]
    )
    asked.inputs.add(name="image", datatype="BYTES", shape=[1])
    return asked


def _predicted(caller: httpx.Client) -> httpx.Response:
    answered = caller.post("/v1/models/colour/predict", content=PHOTO, headers=HEADERS)
    assert answered.status_code == httpx.codes.OK
    return answered


def _port(url: str) -> int:
    return int(url.rpartition(":")[2])


def _ready(url: str) -> bool:
    return answers(url) and httpx.get(f"{url}/health/ready").status_code == 200
