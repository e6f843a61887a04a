"""Proxies of the environment are for other machines."""

import socket
from collections.abc import Iterator

import pytest

from clients import GatewayClient
from vision.errors import BackendUnavailable, DeadlineExceeded


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Something listens there and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.mark.usefixtures("dead_proxy")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine(host: str, silent_port: int) -> None:
    """A gateway on this machine is asked directly."""
    with GatewayClient(f"http://{host}:{silent_port}", timeout_s=0.2) as client, pytest.raises(DeadlineExceeded):
        client.models()


@pytest.mark.usefixtures("dead_proxy")
def test_another_machine() -> None:
    """A gateway elsewhere is asked by way of the proxy."""
    with GatewayClient("http://gateway.invalid") as client, pytest.raises(BackendUnavailable, match="refused"):
        client.models()
