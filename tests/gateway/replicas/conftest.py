"""Two fakes, and a gateway before both."""

import functools
from collections.abc import Iterator

import pytest

from gateway.addresses import Addresses
from tests.gateway.replicas.fakes import Frozen, before, models
from tests.gateway.serving import RunningGateway, running


@pytest.fixture
def a() -> Iterator[Frozen]:
    with running(Frozen(models())) as fake:
        yield fake


@pytest.fixture
def b() -> Iterator[Frozen]:
    with running(Frozen(models())) as fake:
        yield fake


@pytest.fixture
def both(a: Frozen, b: Frozen) -> Iterator[RunningGateway]:
    with before(a, b) as gateway:
        yield gateway


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the gateway's DNS answers; nothing is a failure."""
    found: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        assert host == "triton"
        if not found:
            raise OSError(-2, "Name or service not known")
        return list(found)

    monkeypatch.setattr("gateway.service.Addresses", functools.partial(Addresses, resolver=resolve))
    monkeypatch.setattr("gateway.replicas.LOOKUP_S", 0.05)
    return found


@pytest.fixture
def one_port() -> Iterator[tuple[Frozen, Frozen]]:
    """Two fakes on different addresses of this machine, and the same port, as the pods of a service are."""
    with running(Frozen(models())) as first, running(Frozen(models(), host="127.0.0.2", port=first.port)) as second:
        yield first, second
