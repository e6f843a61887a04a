"""What the gateway's tests share."""

from collections.abc import Iterator

import pytest

from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.serving import RunningGateway, no_settings, running_fake, running_gateway
from tests.local_triton import LocalTriton
from tests.tiny_models import colour_contract, colour_graph, spot_contract, spot_graph, write_model


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Tests say what they mean themselves; for the session, as `served` is made before a test's own fixtures."""
    with no_settings():
        yield


@pytest.fixture(scope="session")
def served(triton: LocalTriton) -> Iterator[RunningGateway]:
    """A gateway before a real Triton with the models `http_colour`, a classifier, and `http_spot`, a detector."""
    write_model(triton.repository, "http_colour", colour_contract(max_batch=4), colour_graph())
    write_model(triton.repository, "http_spot", spot_contract(), spot_graph())
    triton.load("http_colour")
    triton.load("http_spot")
    with running_gateway(triton.address) as gateway:
        yield gateway


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants exact times waits for as long as it takes, on a machine that has other things to do."""
    monkeypatch.setattr("gateway.statistics.EXACT_S", 20.0)


@pytest.fixture
def fake() -> Iterator[FakeTriton]:
    """A fake Triton with a classifier `colour` and a detector `spot`."""
    with running_fake({"colour": FakeModel(colour_contract()), "spot": FakeModel(spot_contract())}) as fake:
        yield fake


@pytest.fixture
def faked(fake: FakeTriton) -> Iterator[RunningGateway]:
    """A gateway before the fake Triton."""
    with running_gateway(fake.address) as gateway:
        yield gateway
