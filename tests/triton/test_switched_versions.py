"""A version that is unloaded between the index and the question for its contract: the one in its place is found."""

from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2

from clients.triton.client import TritonClient
from tests.fake_triton import FakeModel, FakeTriton, config_of
from tests.tiny_models import colour_contract

pytestmark = pytest.mark.anyio

READY, GONE = "READY", "UNAVAILABLE"
NOT_READY = "Request for unknown model: 'colour' version {} is not at ready state"


@dataclass
class Switching(FakeTriton):
    """`indexes` are told one after the other, the last again and again; `loaded` is the version that is ready."""

    indexes: list[dict[str, str]] = field(default_factory=list)
    loaded: str = ""

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's names
        states = self.indexes.pop(0) if len(self.indexes) > 1 else self.indexes[0]
        index = service_pb2.RepositoryIndexResponse()
        for version, state in states.items():
            index.models.add(name="colour", version=version, state=state)
        return index

    async def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        if request.version != self.loaded:
            await context.abort(grpc.StatusCode.UNAVAILABLE, NOT_READY.format(request.version))
        return service_pb2.ModelConfigResponse(config=config_of("colour", self.models["colour"]))


@pytest.mark.parametrize(
    ("indexes", "loaded", "found"),
    [
        ([{"1": READY, "2": READY}], "1", ("1", True)),  # back: both are ready for a moment, and the higher one goes
        ([{"1": READY, "2": "LOADING"}, {"1": GONE, "2": READY}], "2", ("2", True)),  # forward
        ([{"1": READY}, {"1": "UNLOADING"}], "", ("1", False)),  # unloaded, and nothing in its place
        ([{"1": READY}], "", ("1", False)),  # an index that is never right: asked for a few times only
    ],
)
async def test_the_version_in_its_place(indexes: list[dict[str, str]], loaded: str, found: tuple[str, bool]) -> None:
    """A model is ready as long as one of its versions is."""
    fake = Switching({"colour": FakeModel(colour_contract())}, indexes=list(indexes), loaded=loaded)
    async with fake, TritonClient(fake.address) as client:
        [model] = await client.models()
    assert (model.version, model.ready) == found
    assert (model.contract is not None) == model.ready
    assert (model.problem is None) == model.ready
