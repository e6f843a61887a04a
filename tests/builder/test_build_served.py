"""What a build publishes, in the real Triton."""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest

from builder.build import Order, build
from builder.progress import Progress
from builder.recipes.parts import Precision
from builder.recipes.recipe import recipe_from_folder
from clients.triton.client import TritonClient
from tests.builder.recipes import TOLERANCE, onnx_source, write_recipe
from tests.local_triton import LocalTriton
from vision.contract import contract_from_json
from vision.transforms import Preprocessor

pytestmark = [pytest.mark.anyio, pytest.mark.triton]

LOOSE = {**TOLERANCE, "outputs": None, "score": 0.5, "top_k": 1, "tie": 0.5}
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")


async def test_every_precision_is_served(triton: LocalTriton, tmp_path: Path) -> None:
    """Triton loads each as a further version, beside its papers, and answers as the graph does."""
    parity = {"images": ["photos/*"], "tolerances": dict.fromkeys(PRECISIONS, LOOSE)}
    folder = write_recipe(tmp_path / "recipe", onnx_source(tmp_path / "recipe"), name="of-recipe", parity=parity)
    recipe = recipe_from_folder(folder)
    image = cv2.imread(str(folder / "photos/photo-0.png"))
    assert image is not None
    async with TritonClient(triton.address) as client:
        for number, precision in enumerate(PRECISIONS, start=1):
            order = Order(recipe, repository=triton.repository, precision=precision, calibration=folder / "photos")
            made = build(order, Progress(lambda step, text: None)).published
            assert made.version == number
            triton.load("of-recipe")
            served = {model.name: model for model in await client.models()}["of-recipe"]
            version = made.folder / str(number)
            assert served.contract == contract_from_json((version / "contract.json").read_bytes())
            assert served.contract is not None
            assert served.contract.provenance.precision == precision
            batch, _ = Preprocessor(served.contract).batch([image.astype(np.uint8), image.astype(np.uint8)])
            session = ort.InferenceSession(version / "model.onnx", providers=["CPUExecutionProvider"])
            [expected] = session.run(["output"], {"input": batch})
            answer = await client.infer("of-recipe", "", served.contract, batch, timeout_s=10)
            np.testing.assert_allclose(answer.outputs["output"], np.asarray(expected), rtol=1e-4, atol=1e-6)
    triton.unload("of-recipe")
