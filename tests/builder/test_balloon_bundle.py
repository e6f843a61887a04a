"""The real bundle in `recipes/balloon-rtmdet/sdk`, exported by mmdeploy 1.3.1."""

import shutil
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from builder.importer import Order, import_model
from builder.source import Wishes
from vision.contract import Contract, Normalise, PadToSize, ResizeKeepRatio, contract_from_json
from vision.decode import image_from_bytes
from vision.heads import detections_from_outputs
from vision.transforms import Preprocessor

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "recipes" / "balloon-rtmdet" / "sdk"
PICTURE = ROOT / "tests" / "assets" / "balloons.jpg"


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's version folder, imported with the shipped picture as a probe."""
    repository = tmp_path_factory.mktemp("models")
    order = Order(BUNDLE, "balloon", repository, wishes=Wishes(score_threshold=0.3), probes=(PICTURE,))
    return import_model(order, lambda step, text: None).folder / "1"


@pytest.fixture(scope="module")
def contract(version: Path) -> Contract:
    return contract_from_json((version / "contract.json").read_bytes())


def test_the_contract_is_the_test_pipeline_of_its_training(contract: Contract) -> None:
    """recipes/balloon-rtmdet/rtmdet_nano_416.py: letterbox to 416 with 114, BGR, ImageNet mean and std."""
    assert contract.labels == ("balloon",)
    assert contract.input.model_dump() == {"name": "input", "dtype": "UINT8", "layout": "NHWC", "shape": (416, 416, 3)}
    assert contract.preprocess == (
        ResizeKeepRatio(long_edge=416, short_edge=416, rounding="mmcv", interpolation="bilinear", library="opencv"),
        PadToSize(size_hw=(416, 416), value=(114.0, 114.0, 114.0)),
    )
    assert contract.in_graph == (Normalise(mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395)),)


def test_the_published_graph_finds_the_balloons(version: Path, contract: Contract) -> None:
    """Bytes in, boxes on the shipped picture out, and the same as the source graph gives for normalised floats."""
    image = image_from_bytes(PICTURE.read_bytes(), max_pixels=10**8)
    batch, geometries = Preprocessor(contract).batch([image])
    names = ["dets", "labels"]
    providers = ["CPUExecutionProvider"]
    values = ort.InferenceSession(version / "model.onnx", providers=providers).run(names, {"input": batch})
    outputs = {name: np.asarray(value) for name, value in zip(names, values, strict=True)}
    assert len(detections_from_outputs(contract, outputs, geometries)[0]) >= 3
    mean, std = (np.array(v, np.float32) for v in ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395)))
    floats = ((batch.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2)
    source = ort.InferenceSession(BUNDLE / "end2end.onnx", providers=providers)
    expected = [np.asarray(value) for value in source.run(names, {"input": np.ascontiguousarray(floats)})]
    np.testing.assert_allclose(outputs["dets"], expected[0], rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(outputs["labels"], expected[1])


def test_a_zip_of_it_is_imported_the_same(version: Path, tmp_path: Path) -> None:
    """As a user would send it: `zip -r`, one top folder."""
    archive = shutil.make_archive(str(tmp_path / "balloon"), "zip", BUNDLE.parent, BUNDLE.name)
    order = Order(Path(archive), "balloon", tmp_path / "models", wishes=Wishes(score_threshold=0.3))
    result = import_model(order, lambda step, text: None)
    assert (result.folder / "1" / "model.onnx").read_bytes() == (version / "model.onnx").read_bytes()
