"""A gateway for the clients' tests, before a fake Triton."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.fake_triton import FakeModel, FakeTriton
from tests.gateway.serving import RunningGateway, no_settings, running_fake, running_gateway
from tests.tiny_models import colour_contract, spot_contract


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    with no_settings():
        yield


def colours(batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    return {"scores": batch.mean(axis=(1, 2), dtype=np.float32) / 255}


def one_spot(batch: NDArray[np.uint8]) -> dict[str, NDArray[np.generic]]:
    boxes = np.tile(np.array([8, 4, 16, 12, 0.75], np.float32), (len(batch), 1, 1))
    return {"dets": boxes, "labels": np.zeros((len(batch), 1), np.int64)}


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeTriton]:
    models = {"colour": FakeModel(colour_contract(), colours), "spot": FakeModel(spot_contract(), one_spot)}
    with running_fake(models) as fake:
        yield fake


@pytest.fixture(scope="module")
def gateway(fake: FakeTriton) -> Iterator[RunningGateway]:
    with running_gateway(fake.address) as gateway:
        yield gateway
