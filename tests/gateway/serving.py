"""Gateways and fake Tritons that run beside a test, on real sockets."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import httpx
import pytest
import uvicorn
from anyio.from_thread import start_blocking_portal

from gateway.__main__ import config_from_settings
from gateway.service import Service
from gateway.settings import Settings
from tests.fake_triton import FakeModel, FakeTriton

START_S = 10.0

F = TypeVar("F", bound=FakeTriton)


@dataclass(frozen=True)
class RunningGateway:
    """`http` keeps connections open, as callers do; `grpc` is host:port."""

    url: str
    grpc: str
    http: httpx.Client
    service: Service

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
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        eventually(lambda: server.started or not thread.is_alive(), within_s=START_S)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        app = config.app
        assert not isinstance(app, str)
        with httpx.Client(base_url=url, timeout=30) as http:
            state = app.state  # type: ignore[union-attr]  # an ASGI app; ours has it
            yield RunningGateway(url, f"127.0.0.1:{state.grpc_port}", http, state.service)
    finally:
        server.should_exit = True
        thread.join(START_S)


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
    """An environment without `GATEWAY_…`: a developer may have some set, and `make` exports GATEWAY_PORT."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.upper().startswith("GATEWAY_"):
                patch.delenv(name)
        yield


def eventually(holds: Callable[[], object], *, within_s: float) -> None:
    """Wait until it holds."""
    end_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end_s, f"did not hold within {within_s:g} s"
        time.sleep(0.01)
