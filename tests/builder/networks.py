"""Small real networks as ONNX, and bundles made of them. Outputs depend on every channel, so that swaps show."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Graph = tuple[list[onnx.NodeProto], dict[str, NDArray[Any]]]

SIZE_HW = (32, 48)
MEAN, STD = [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]
NORMALIZE = {"type": "Normalize", "mean": MEAN, "std": STD, "to_rgb": False}
LETTERBOX: list[dict[str, Any]] = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "keep_ratio": True, "size": [48, 32]},
    {"type": "Pad", "size": [48, 32], "pad_val": {"img": [114, 114, 114]}},
    NORMALIZE,
    {"type": "Pad", "size_divisor": 1},
    {"type": "DefaultFormatBundle"},
    {"type": "Collect", "keys": ["img"], "meta_keys": ["ori_shape"]},
]
STRETCH: list[dict[str, Any]] = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "size": [48, 32]},
    {**NORMALIZE, "to_rgb": True},
    {"type": "ImageToTensor", "keys": ["img"]},
    {"type": "Collect", "keys": ["img"]},
]


def detector(
    *,
    batch: int | str = "batch",
    size_hw: tuple[int | str, int | str] = SIZE_HW,
    label_ids: tuple[int, int] = (0, 1),
    gain: float = 1.0,
    rows: int = 2,
    opset: int = 11,
    broken: bool = False,
    dets: str = "dets",
    columns: int = 5,
) -> onnx.ModelProto:
    """Two boxes an image, scores from the mean of each channel. `gain` 0 makes every score 0, `rows` 0 no boxes."""
    boxes = np.array([[2, 3, 20, 21], [5, 6, 30, 25]], np.float32).reshape(8)
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "score_weights"], ["logits"]),
        helper.make_node("Log" if broken else "Sigmoid", ["logits"], ["raw"]),
        helper.make_node("Mul", ["raw", "gain"], ["scores"]),
        helper.make_node("Reshape", ["scores", "to_column"], ["score_column"]),
        helper.make_node("MatMul", ["mean", "no_weights"], ["nothing"]),
        helper.make_node("Add", ["nothing", "boxes"], ["flat_boxes"]),
        helper.make_node("Reshape", ["flat_boxes", "to_boxes"], ["box_columns"]),
        helper.make_node("Concat", ["box_columns", *["score_column"] * (columns - 4)], ["all_dets"], axis=2),
        helper.make_node("MatMul", ["mean", "no_ids"], ["no_label"]),
        helper.make_node("Add", ["no_label", "ids"], ["float_ids"]),
        helper.make_node("Cast", ["float_ids"], ["all_labels"], to=TensorProto.INT64),
        helper.make_node("Slice", ["all_dets", "zero", "rows", "axis"], [dets]),
        helper.make_node("Slice", ["all_labels", "zero", "rows", "axis"], ["labels"]),
    ]
    weights: dict[str, NDArray[Any]] = {
        "score_weights": np.array([[0.5, -0.2], [-0.3, 0.6], [0.2, 0.1]], np.float32),
        "gain": np.array(gain, np.float32),
        "to_column": np.array([-1, 2, 1], np.int64),
        "no_weights": np.zeros((3, 8), np.float32),
        "boxes": boxes,
        "to_boxes": np.array([-1, 2, 4], np.int64),
        "no_ids": np.zeros((3, 2), np.float32),
        "ids": np.array(label_ids, np.float32),
        "zero": np.array([0], np.int64),
        "rows": np.array([rows], np.int64),
        "axis": np.array([1], np.int64),
    }
    outputs = [
        helper.make_tensor_value_info(dets, TensorProto.FLOAT, [batch, "num_dets", columns]),
        helper.make_tensor_value_info("labels", TensorProto.INT64, [batch, "num_dets"]),
    ]
    return _model((nodes, weights), [batch, 3, *size_hw], outputs, opset)


def classifier(
    *, classes: int = 4, softmax: bool = True, batch: int | str = "batch", layout: str = "NCHW", opset: int = 11
) -> onnx.ModelProto:
    """Class scores from the mean of each channel."""
    is_nchw = layout == "NCHW"
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[2, 3] if is_nchw else [1, 2], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits" if softmax else "output"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["output"], axis=1))
    weights: dict[str, NDArray[Any]] = {
        "weights": (3 * np.sin(np.arange(3 * classes, dtype=np.float32))).reshape(3, classes)
    }
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, classes])]
    shape = [batch, 3, *SIZE_HW] if is_nchw else [batch, *SIZE_HW, 3]
    return _model((nodes, weights), shape, outputs, opset)


def _model(graph: Graph, shape: list[int | str], outputs: list[onnx.ValueInfoProto], opset: int) -> onnx.ModelProto:
    nodes, weights = graph
    made = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)


def documents(task: str, transforms: list[dict[str, Any]]) -> dict[str, Any]:
    """The three JSON files as mmdeploy 1.3.1 writes them."""
    is_detector = task == "Detector"
    post: dict[str, Any] = (
        {"module": "mmdet", "component": "ResizeBBox", "params": {"score_thr": 0.2, "max_per_img": 50}}
        if is_detector
        else {"module": "mmcls", "component": "LinearClsHead", "params": {"topk": 2}}
    )
    model = {"name": "net", "net": "end2end.onnx", "weights": "", "backend": "onnxruntime", "precision": "FP32"}
    return {
        "deploy.json": {"version": "1.3.1", "task": task, "models": [model], "customs": []},
        "detail.json": {"version": "1.3.1", "codebase": {"codebase": "mmdet", "version": "3.3.0"}},
        "pipeline.json": {
            "pipeline": {
                "tasks": [
                    {"type": "Task", "module": "Transform", "transforms": copy.deepcopy(transforms)},
                    {"type": "Task", "module": "Net", "input_map": {"img": "input"}},
                    {"type": "Task", "name": "postprocess", **post},
                ]
            }
        },
    }


def write_bundle(
    folder: Path,
    model: onnx.ModelProto | bytes | None = None,
    *,
    task: str = "Detector",
    transforms: list[dict[str, Any]] | None = None,
    labels: str | None = "balloon\nkite\n",
    changed: dict[str, Any] | None = None,
) -> Path:
    """A bundle in `folder`. `changed` replaces whole JSON files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    model = detector() if model is None else model
    data = model if isinstance(model, bytes) else model.SerializeToString()
    (folder / "end2end.onnx").write_bytes(data)
    for name, content in {**documents(task, transforms or STRETCH), **(changed or {})}.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "labels.txt").unlink(missing_ok=True)
    if labels is not None:
        (folder / "labels.txt").write_text(labels)
    return folder
