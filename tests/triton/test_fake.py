"""The fake says of a healthy model what the real Triton says."""

import numpy as np
import pytest

from clients.triton.client import TritonClient
from tests.fake_triton import FakeModel, FakeTriton
from tests.local_triton import LocalTriton
from tests.tiny_models import SIDE, colour_contract, colour_graph, spot_contract, spot_graph, write_model

pytestmark = [pytest.mark.anyio, pytest.mark.triton]


async def test_same_models(triton: LocalTriton) -> None:
    """Listed, loaded and unloaded, a model looks the same through the adapter."""
    contracts = {"fake_colour": colour_contract(), "fake_spots": spot_contract()}
    write_model(triton.repository, "fake_colour", contracts["fake_colour"], colour_graph())
    write_model(triton.repository, "fake_spots", contracts["fake_spots"], spot_graph())
    fakes = {name: FakeModel(contract, state="") for name, contract in contracts.items()}
    async with FakeTriton(fakes) as fake, TritonClient(fake.address) as pretended, TritonClient(triton.address) as real:
        for client in (pretended, real):
            await client.load("fake_colour")
        found = [model for model in await real.models() if model.name in contracts]
        assert [(m.name, m.ready, m.contract, m.problem) for m in await pretended.models()] == [
            (m.name, m.ready, m.contract, m.problem) for m in found
        ]


async def test_same_answers(triton: LocalTriton) -> None:
    """Outputs have the same names, dtypes and shapes, and both name the version."""
    contract = spot_contract()
    write_model(triton.repository, "fake_answer", contract, spot_graph())
    triton.load("fake_answer")
    batch = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    async with FakeTriton({"fake_answer": FakeModel(contract, boxes=0)}) as fake:
        seen = []
        for address in (fake.address, triton.address):
            async with TritonClient(address) as client:
                answer = await client.infer("fake_answer", "", contract, batch, timeout_s=5)
            seen.append((answer.version, {name: (a.dtype, a.shape) for name, a in answer.outputs.items()}))
    assert seen[0] == seen[1]
