"""Recipes in folders of a test's own."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.builder.networks import MEAN, SIZE_HW, STD, write_bundle

TOLERANCE: dict[str, Any] = {"pixels": 0, "outputs": 1e-4, "score": 1e-4, "iou": 0.99, "unmatched": 0, "top_k": 2}


def write_photos(folder: Path, number: int = 3) -> Path:
    """Small photos, each of other colours and another size."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    for index in range(number):
        image = np.full((40 + 8 * index, 72, 3), rng.integers(40, 216, 3), np.uint8)
        image[8:30, 10:50] = rng.integers(0, 256, 3)
        cv2.imwrite(str(folder / f"photo-{index}.png"), image)
    return folder


def write_recipe(folder: Path, source: dict[str, Any] | None = None, without: str = "", **changed: Any) -> Path:
    """A recipe of a toy detector in an SDK bundle, or of another source; `changed` replaces fields."""
    folder.mkdir(parents=True, exist_ok=True)
    write_photos(folder / "photos")
    if source is None:
        write_bundle(folder / "bundle")
        source = {"kind": "sdk-bundle", "bundle": "bundle"}
    document = {
        "name": "toy",
        "source": source,
        "serve": {},
        "parity": {"images": ["photos/*"], "tolerances": {"fp32": TOLERANCE}},
        **changed,
    }
    text = json.dumps({key: value for key, value in document.items() if key != without})
    (folder / "recipe.yaml").write_text(text)  # JSON is YAML
    return folder


def convolutional(classes: int = 4) -> onnx.ModelProto:
    """A classifier with a layer that can be quantised; of one image, as it was exported."""
    rng = np.random.default_rng(3)
    weights = {
        "kernel": (rng.standard_normal((8, 3, 3, 3)) / 5).astype(np.float32),
        "weights": rng.standard_normal((8, classes)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["maps"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["maps"], ["active"], name="relu"),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], name="flatten"),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"], name="matmul"),
        helper.make_node("Softmax", ["logits"], ["output"], axis=1, name="softmax"),
    ]
    made = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, *SIZE_HW])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, classes])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def onnx_source(folder: Path, **changed: Any) -> dict[str, Any]:
    """A toy classifier as a bare ONNX, and what it leaves unsaid."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.onnx").write_bytes(convolutional().SerializeToString())
    source = {
        "kind": "onnx",
        "onnx": "network.onnx",
        "task": "classification",
        "labels": ["a", "b", "c", "d"],
        "precision": "fp32",
        "input": {"name": "input", "layout": "NCHW"},
        "preprocess": [
            {"op": "resize_stretch", "size_hw": list(SIZE_HW), "interpolation": "bilinear", "library": "opencv"},
            {"op": "normalise", "mean": MEAN, "std": STD},
        ],
        "postprocess": {"head": "classifier", "scores": "output", "activation": "none", "top_k": 2},
    }
    return {**source, **changed}


def write_loose_recipe(folder: Path, **changed: Any) -> Path:
    """The toy classifier, with tolerances that every precision is within."""
    loose = {**TOLERANCE, "outputs": None, "score": 0.5, "iou": 0.1, "top_k": 1, "tie": 0.5}
    parity = {"images": ["photos/*"], "tolerances": dict.fromkeys(("fp32", "fp16", "int8"), loose)}
    return write_recipe(folder, onnx_source(folder), parity=parity, **changed)
