"""pytorch-ssd's layout, from a bare ONNX and its description to boxes."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from builder.verify import Runner, Side
from tests.builder.conftest import Importer
from tests.vision.encoded import noise
from vision.contract import contract_from_json
from vision.heads import detections_from_outputs

PRIORS, CLASSES = 60, 2
RECIPE = """
task: detection
labels: [balloon, kite]
precision: fp32
input: {name: input_0, layout: NCHW}
preprocess:
  - {op: resize_stretch, size_hw: [30, 30], interpolation: bilinear, library: opencv}
  - {op: to_rgb}
  - {op: normalise, mean: [127, 127, 127], std: [128, 128, 128]}
postprocess:
  {head: ssd, scores: scores, boxes: boxes, score_threshold: 0.4, iou_threshold: 0.45, candidates: 200,
   max_detections: 100}
"""


def ssd(*, classes: int = CLASSES, softmax: bool = True, columns: int = 4) -> onnx.ModelProto:
    """`input_0` to `scores` and `boxes`, as pytorch-ssd's exporter names them."""
    rng = np.random.default_rng(3)
    width = 1 + classes
    nodes = [
        helper.make_node("ReduceMean", ["input_0"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["flat"]),
        helper.make_node("Reshape", ["flat", "to_priors"], ["logits" if softmax else "scores"]),
        helper.make_node("MatMul", ["mean", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "crowd"], ["flat_boxes"]),
        helper.make_node("Reshape", ["flat_boxes", "to_boxes"], ["boxes"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["scores"], axis=2))
    corners = rng.uniform(0, 0.7, (5, 2))[rng.integers(5, size=PRIORS)] + rng.normal(0, 0.01, (PRIORS, 2))
    crowd = np.concatenate([corners, corners + 0.25], axis=1)[:, :columns]
    constants: dict[str, NDArray[Any]] = {
        "weights": rng.normal(0, 4, (3, PRIORS * width)).astype(np.float32),
        "to_priors": np.array([-1, PRIORS, width], np.int64),
        "nothing": np.zeros((3, PRIORS * columns), np.float32),
        "crowd": crowd.reshape(-1).astype(np.float32),
        "to_boxes": np.array([-1, PRIORS, columns], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "ssd",
        [helper.make_tensor_value_info("input_0", TensorProto.FLOAT, ["batch", 3, 30, 30])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", PRIORS, width]),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["batch", PRIORS, columns]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "ssd.onnx"


def test_from_photo_to_boxes(importer: Importer, written: Path) -> None:
    """The published model answers with boxes of the photo, each label suppressed for itself, none of the background."""
    onnx.save(ssd(), str(written))
    version = importer(written, recipe=written.with_name("recipe.yaml")).folder / "1"
    contract = contract_from_json((version / "contract.json").read_bytes())
    assert [output.shape for output in contract.outputs] == [(PRIORS, 3), (PRIORS, 4)]
    photo = noise(80, 120) // np.array([4, 1, 2], np.uint8)
    runner = Runner(Side((version / "model.onnx").read_bytes(), contract))
    outputs, geometries = runner([photo])
    found = detections_from_outputs(contract, outputs, geometries)[0]
    expected = sorted(
        (float(score), label)
        for label in range(CLASSES)
        for score in kept(outputs["scores"][0, :, 1 + label], outputs["boxes"][0])
    )
    assert sorted(zip(found.scores.tolist(), found.label_ids.tolist(), strict=True)) == expected
    assert len(expected) > 3
    assert found.boxes_xyxy.min() >= 0
    assert (found.boxes_xyxy <= (120, 80, 120, 80)).all()


def kept(scores: NDArray[Any], boxes: NDArray[Any]) -> list[float]:
    """Hard suppression as a loop over pairs; the boxes here are all of one size, a quarter of the side."""
    chosen: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if scores[index] > 0.4 and all(overlap(boxes[index], boxes[other]) <= 0.45 for other in chosen):
            chosen.append(int(index))
    return [float(scores[index]) for index in chosen]


def overlap(one: NDArray[Any], other: NDArray[Any]) -> float:
    sides = np.maximum(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0)
    return float(sides.prod() / (2 * 0.25**2 - sides.prod() + 1e-5))


@pytest.mark.parametrize(
    ("model", "step", "part"),
    [
        (ssd(classes=3), "check", "expected ['any', 3]: the background and 2 labels"),
        (ssd(columns=3), "check", "expected ['any', 4]: x1 y1 x2 y2"),
        (ssd(softmax=False), "verify", "expected probabilities"),
    ],
)
def test_another_layout(importer: Importer, written: Path, model: onnx.ModelProto, step: str, part: str) -> None:
    """A class too many, boxes without a side, scores without softmax: refused by name."""
    onnx.save(model, str(written))
    importer.refused(written, step, part, recipe=written.with_name("recipe.yaml"))
