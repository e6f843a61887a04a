"""What the builder publishes, in the real Triton."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from builder.importer import Order, import_model
from builder.source import Wishes
from clients.triton.client import TritonClient
from tests.builder.networks import SIZE_HW
from tests.local_triton import LocalTriton
from vision.contract import contract_from_json

pytestmark = [pytest.mark.anyio, pytest.mark.triton]

Bundle = Callable[..., Path]


def published(source: Path, triton: LocalTriton, threshold: float) -> Path:
    order = Order(source, "built", triton.repository, wishes=Wishes(score_threshold=threshold))
    result = import_model(order, lambda step, text: None)
    return result.folder / str(result.version)


async def test_a_published_model_is_served_and_switched(triton: LocalTriton, bundle_with: Bundle) -> None:
    """Triton loads what was written, tells the same contract, answers as the graph does, and follows a new version."""
    source = bundle_with(labels='a "quoted" one\nLöwe 獅子\n')
    first = published(source, triton, 0.3)
    triton.load("built")
    batch = np.random.default_rng(0).integers(0, 256, (3, *SIZE_HW, 3), np.uint8)
    session = ort.InferenceSession(first / "model.onnx", providers=["CPUExecutionProvider"])
    expected = [np.asarray(value) for value in session.run(["dets", "labels"], {"input": batch})]
    async with TritonClient(triton.address) as client:
        served = {model.name: model for model in await client.models()}["built"]
        assert served.contract == contract_from_json((first / "contract.json").read_bytes())
        assert (served.version, served.ready) == ("1", True)
        answer = await client.infer("built", "", served.contract, batch, timeout_s=10)
        np.testing.assert_allclose(answer.outputs["dets"], expected[0], rtol=1e-5)
        np.testing.assert_array_equal(answer.outputs["labels"], expected[1])
        published(source, triton, 0.6)
        assert {model.name: model for model in await client.models()}["built"].version == "1"
        triton.load("built")
        served = {model.name: model for model in await client.models()}["built"]
        assert (served.version, served.ready) == ("2", True)
    triton.unload("built")
