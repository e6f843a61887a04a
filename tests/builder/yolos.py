"""Small real networks in the YOLOs' layouts: class scores from the mean colour, boxes in a fixed crowd."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE_HW = (64, 96)
STRIDES = (8, 16, 32)
CELLS = sum((SIZE_HW[0] // stride) * (SIZE_HW[1] // stride) for stride in STRIDES)
LABELS = ("car", "dog", "bus")
METADATA = {
    "author": "Ultralytics",
    "version": "8.4.190",
    "task": "detect",
    "stride": "32",
    "batch": "1",
    "imgsz": "[64, 96]",
    "names": "{0: 'car', 1: 'dog', 2: 'bus'}",
    "license": "AGPL-3.0",
}


def yolo(
    layout: str,
    *,
    classes: int = len(LABELS),
    rows: int | None = None,
    batch: int | str = "batch",
    size_hw: tuple[int | str, int | str] = SIZE_HW,
    activation: str = "Sigmoid",
    boxes: NDArray[np.float32] | None = None,
    metadata: dict[str, str] | None = None,
    extra_output: bool = False,
    is_open: bool = False,
) -> onnx.ModelProto:
    """`predictions` of one of the contract's layouts; `rows` of them, or one a cell."""
    count = rows or CELLS
    rng = np.random.default_rng(5)
    columns = {"v8": classes, "v10": 2}.get(layout, 1 + classes)
    weights = rng.normal(0, 8, (3, count * columns)).astype(np.float32) / np.float32(255 if layout == "yolox" else 1)
    weights -= weights.mean(axis=0)  # of an image without colour all scores are 0.5, whatever its brightness
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node(activation, ["logits"], ["scores"]),
        helper.make_node("Reshape", ["scores", "to_rows"], ["score_rows"]),
        helper.make_node("MatMul", ["mean", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "boxes"], ["flat_boxes"]),
        helper.make_node("Reshape", ["flat_boxes", "to_boxes"], ["box_rows"]),
    ]
    last = "score_rows"
    if layout == "v10":  # the label is the row's number, of which there are more rows than labels
        last = "labelled"
        nodes.append(helper.make_node("Mul", ["score_rows", "score_column"], ["only_scores"]))
        nodes.append(helper.make_node("Add", ["only_scores", "label_column"], [last]))
    whole = ["rows"] if layout == "v8" else ["output0"]
    nodes.append(helper.make_node("Concat", ["box_rows", last], whole, axis=2))
    if layout == "v8":
        nodes.append(helper.make_node("Transpose", ["rows"], ["output0"], perm=[0, 2, 1]))
    crowd = crowd_of(layout, count) if boxes is None else boxes
    constants: dict[str, NDArray[Any]] = {
        "weights": weights,
        "to_rows": np.array([-1, count, columns], np.int64),
        "nothing": np.zeros((3, count * 4), np.float32),
        "boxes": crowd.reshape(-1),
        "to_boxes": np.array([-1, count, 4], np.int64),
    }
    if layout == "v10":
        constants["score_column"] = np.array([1, 0], np.float32)
        labels = np.arange(count) % classes
        constants["label_column"] = np.stack([np.zeros(count), labels], axis=1).astype(np.float32)
    shape: list[int | str] = [batch, 4 + columns, count] if layout == "v8" else [batch, count, 4 + columns]
    if is_open:  # as Ultralytics exports it with dynamic axes
        shape = ["batch", "sides", "anchors"]
    outputs = [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)]
    if extra_output:
        outputs.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, count * columns]))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, *size_hw])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)
    if metadata is not None:
        helper.set_model_props(model, metadata)
    return model


def crowd_of(layout: str, count: int) -> NDArray[np.float32]:
    """Boxes [count, 4] as the layout has them, many on top of each other."""
    rng = np.random.default_rng(6)
    if layout == "yolox":
        return np.concatenate([rng.uniform(-1, 2, (count, 2)), rng.uniform(0, 2, (count, 2))], axis=1).astype(
            np.float32
        )
    centres = rng.uniform((20, 20), (SIZE_HW[1] - 20, SIZE_HW[0] - 20), (8, 2))[rng.integers(8, size=count)]
    boxes = np.concatenate([centres, rng.uniform(20, 40, (count, 2))], axis=1)
    if layout == "v10":
        boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1)
    return boxes.astype(np.float32)
