"""Gateways and fake Tritons that run beside a test, on real sockets."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from prometheus_client.parser import text_string_to_metric_families

from gateway.http_server import Server, config_from_settings
from gateway.service import Service
from gateway.settings import Settings
from tests.fake_triton import FakeModel, FakeTriton
from tests.ports import free_ports

START_S = 30.0

F = TypeVar("F", bound=FakeTriton)


@dataclass(frozen=True)
class RunningGateway:
    """`http` keeps connections open, as callers do; `grpc` is host:port; `stop` is what SIGTERM is to a process."""

    url: str
    grpc: str
    http: httpx.Client
    service: Service
    stop: Callable[[], None]

    def predict(self, model: str, body: bytes, media_type: str = "image/jpeg", **more: str) -> httpx.Response:
        """POST the body; `more` are headers."""
        headers = {"content-type": media_type} | {name.replace("_", "-"): value for name, value in more.items()}
        return self.http.post(f"/v1/models/{model}/predict", content=body, headers=headers)


@contextmanager
def running_gateway(triton: str, **settings: object) -> Iterator[RunningGateway]:
    """The gateway as `python -m gateway` configures it, in a thread, on a free port."""
    given = {
        "triton": triton,
        "port": 0,
        "grpc_port": 0,
        "decode_threads": 2,
        "refresh_s": 0.1,
        "log_level": "warning",
    } | settings
    config = config_from_settings(Settings.model_validate(given))
    server = Server(config)

    def stop() -> None:
        server.should_exit = True

    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive(), within_s=START_S)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        app = config.app
        assert not isinstance(app, str)
        if any(_listens(address) for address in triton.split(",")):  # its first look may fail on a busy machine
            catalogue = app.state.service.catalogue  # type: ignore[union-attr]  # an ASGI app; ours has it
            eventually(lambda: catalogue.unavailable is None, within_s=START_S)
        with httpx.Client(base_url=url, timeout=30) as http:
            state = app.state  # type: ignore[union-attr]  # an ASGI app; ours has it
            yield RunningGateway(url, f"127.0.0.1:{state.grpc.port}", http, state.service, stop)
    finally:
        stop()
        thread.join(START_S)
        assert not thread.is_alive(), "the gateway does not end"


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def process(
    command: Sequence[str] = (sys.executable, "-m", "gateway"), /, **settings: object
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`python -m gateway`, and its URL; it may still be starting."""
    [port] = free_ports(1)
    given = {"port": port, "grpc_port": 0} | settings
    environment = {f"GATEWAY_{name.upper()}": str(value) for name, value in given.items()}
    started = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        yield started, f"http://127.0.0.1:{port}"
    finally:
        started.kill()
        started.communicate()


def answers(url: str) -> bool:
    """Whether a gateway does, at this URL."""
    try:
        return httpx.get(f"{url}/health/live").status_code == 200
    except httpx.TransportError:
        return False


def samples(gateway: RunningGateway) -> dict[tuple[str, ...], float]:
    """Value by name and sorted label values."""
    text = gateway.http.get("/metrics").text
    return {
        (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@contextmanager
def running_fake(models: dict[str, FakeModel]) -> Iterator[FakeTriton]:
    """A fake Triton in an event loop of its own."""
    with running(FakeTriton(models)) as fake:
        yield fake


@contextmanager
def running(fake: F) -> Iterator[F]:
    """The same, of a kind of its own."""
    with start_blocking_portal() as portal:
        portal.call(fake.start)
        try:
            yield fake
        finally:
            portal.call(fake.stop)


@contextmanager
def no_settings() -> Iterator[None]:
    """An environment without `GATEWAY_…` and `OTEL_…`: a developer may have some, and `make` exports GATEWAY_PORT."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith(("GATEWAY_", "OTEL_")):
                patch.delenv(name)
        yield


def eventually(holds: Callable[[], object], *, within_s: float) -> None:
    """Wait until it holds."""
    end_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end_s, f"did not hold within {within_s:g} s"
        time.sleep(0.01)
