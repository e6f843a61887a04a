from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from tests.builder.conftest import Importer
from tests.builder.networks import LETTERBOX, MEAN, NORMALIZE, SIZE_HW, STD, STRETCH, classifier, detector
from vision.contract import Contract, contract_from_json

Bundle = Callable[..., Path]
RECIPE = """
task: classification
labels: [a, b, c, d]
precision: fp32
input: {name: input, layout: NHWC}
preprocess:
  - {op: resize_stretch, size_hw: [32, 48], interpolation: bilinear, library: pillow}
  - {op: normalise, mean: [103.53, 116.28, 123.675], std: [57.375, 57.12, 58.395]}
  - {op: to_rgb}
postprocess: {head: classifier, scores: output, activation: none, top_k: 2}
"""


def run(model: bytes, batch: NDArray[Any]) -> list[NDArray[Any]]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, {"input": batch})]


def published(folder: Path) -> tuple[bytes, Contract]:
    return (folder / "model.onnx").read_bytes(), contract_from_json((folder / "contract.json").read_bytes())


def pixels() -> NDArray[np.uint8]:
    """Every channel brighter than the one before, so that a swap shows. uint8 [2, h, w, 3] BGR."""
    noise = np.random.default_rng(0).integers(0, 60, (2, *SIZE_HW, 3))
    batch: NDArray[np.int64] = noise + np.array([10, 90, 190])
    return batch.astype(np.uint8)


@pytest.mark.parametrize("opset", [8, 11, 17])
@pytest.mark.parametrize("to_rgb", [False, True])
def test_the_folded_graph_takes_bytes_and_computes_the_same(
    importer: Importer, bundle_with: Bundle, to_rgb: bool, opset: int
) -> None:
    """uint8 NHWC through the published graph is FP32 NCHW, swapped and normalised by hand, through the source."""
    model = classifier(opset=opset)
    transforms = [*STRETCH[:2], {**NORMALIZE, "to_rgb": to_rgb}, *STRETCH[3:]]
    folder = bundle_with(model, task="Classifier", transforms=transforms, labels="a\nb\nc\nd\n")
    data, contract = published(importer(folder).folder / "1")
    assert (contract.input.dtype, contract.input.layout, contract.input.shape) == ("UINT8", "NHWC", (*SIZE_HW, 3))
    assert [step.op for step in contract.in_graph] == (["to_rgb", "normalise"] if to_rgb else ["normalise"])
    assert [step.op for step in contract.preprocess] == ["resize_stretch"]
    batch = pixels()
    channels = batch[..., ::-1] if to_rgb else batch
    by_hand = (channels.astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    expected = run(model.SerializeToString(), np.ascontiguousarray(by_hand.transpose(0, 3, 1, 2)))[0]
    np.testing.assert_array_equal(run(data, batch)[0], expected)
    assert onnx.load_model_from_string(data).opset_import[0].version == opset


def test_an_nhwc_graph_folds_in_the_order_of_its_steps(importer: Importer, tmp_path: Path) -> None:
    """A recipe may normalise before it swaps, and feed NHWC: the graph does just that."""
    model = classifier(layout="NHWC")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "net.yaml").write_text(RECIPE)
    result = importer(tmp_path / "net.onnx", recipe=tmp_path / "net.yaml")
    data, contract = published(result.folder / "1")
    assert [step.op for step in contract.in_graph] == ["normalise", "to_rgb"]
    batch = pixels()
    by_hand = (batch.astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    expected = run(model.SerializeToString(), np.ascontiguousarray(by_hand[..., ::-1]))[0]
    np.testing.assert_array_equal(run(data, batch)[0], expected)


def test_no_fold_publishes_the_source_byte_for_byte(importer: Importer, bundle_with: Bundle) -> None:
    """Without folding the graph is untouched and takes FP32."""
    model = detector().SerializeToString()
    data, contract = published(importer(bundle_with(model), fold=False).folder / "1")
    assert data == model
    assert (contract.input.dtype, contract.input.layout, contract.in_graph) == ("FP32", "NCHW", ())
    assert contract.provenance.source_sha256 == contract.provenance.model_sha256


def test_padding_after_normalise_is_not_folded(importer: Importer, bundle_with: Bundle) -> None:
    """Zeros padded after normalisation are no 8-bit value: the FP32 path stays, and the import says why."""
    transforms = [LETTERBOX[0], LETTERBOX[1], NORMALIZE, {"type": "Pad", "size_divisor": 32}, LETTERBOX[6]]
    folder = bundle_with(detector(size_hw=("h", "w")), transforms=transforms)
    data, contract = published(importer(folder).folder / "1")
    assert (contract.input.dtype, contract.input.shape) == ("FP32", (3, -1, -1))
    assert data == (folder / "end2end.onnx").read_bytes()
    assert any("pad_to_divisor comes after normalise" in line for line in importer.said)


def test_subgraphs_read_the_folded_input_too(importer: Importer, bundle_with: Bundle) -> None:
    """A branch may use the graph's input directly; it must see normalised pixels, not bytes."""
    model = classifier()
    inner = onnx.helper.make_node("Identity", ["input"], ["branch"])
    shape = onnx.helper.make_tensor_value_info("branch", onnx.TensorProto.FLOAT, None)
    body = onnx.helper.make_graph([inner], "body", [], [shape])
    branch = onnx.helper.make_node("If", ["always"], ["chosen"], then_branch=body, else_branch=body)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "always"))
    model.graph.node[0].input[0] = "chosen"
    model.graph.node.insert(0, branch)
    folder = bundle_with(model, task="Classifier", transforms=STRETCH, labels="a\nb\nc\nd\n")
    _, contract = published(importer(folder).folder / "1")
    assert contract.input.dtype == "UINT8"
