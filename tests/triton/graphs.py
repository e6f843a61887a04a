"""Graphs that show what `model.py` does with them, and images for them."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from tests.tiny_models import SIDE, model_from_nodes


def image(blue: int, green: int = 0, red: int = 0) -> NDArray[np.uint8]:
    """One image of one colour, [1, SIDE, SIDE, 3] uint8 BGR."""
    return np.full((1, SIDE, SIDE, 3), (blue, green, red), np.uint8)


def brittle_graph() -> onnx.ModelProto:
    """The colour model's shapes, and a failure whenever the first blue value is above 99."""
    return model_from_nodes(
        [
            helper.make_node("Slice", ["input", "begin", "end"], ["first"]),
            helper.make_node("Cast", ["first"], ["index"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["index", "flat"], ["row"]),
            helper.make_node("Gather", ["table", "row"], ["scores"]),
        ],
        {"input": (TensorProto.UINT8, ["batch", SIDE, SIDE, 3])},
        {"scores": (TensorProto.FLOAT, ["batch", 3])},
        [
            helper.make_tensor("begin", TensorProto.INT64, [4], [0, 0, 0, 0]),
            helper.make_tensor("end", TensorProto.INT64, [4], [10**6, 1, 1, 1]),
            helper.make_tensor("flat", TensorProto.INT64, [1], [-1]),
            helper.make_tensor("table", TensorProto.FLOAT, [100, 3], [i / 255 for i in range(100) for _ in range(3)]),
        ],
    )


def counting_graph(side: int | None = SIDE) -> onnx.ModelProto:
    """Every score is the number of images in its run; `side` None takes any size."""
    return model_from_nodes(
        [
            helper.make_node("Shape", ["input"], ["shape"]),
            helper.make_node("Slice", ["shape", "zero", "one"], ["batch"]),
            helper.make_node("Cast", ["batch"], ["count"], to=TensorProto.FLOAT),
            helper.make_node("Concat", ["batch", "three"], ["as_scores"], axis=0),
            helper.make_node("Expand", ["count", "as_scores"], ["scores"]),
        ],
        {"input": (TensorProto.UINT8, ["batch", side or "height", side or "width", 3])},
        {"scores": (TensorProto.FLOAT, ["batch", 3])},
        [helper.make_tensor(name, TensorProto.INT64, [1], [i]) for name, i in (("zero", 0), ("one", 1), ("three", 3))],
    )


def merging_graph() -> onnx.ModelProto:
    """The colour model, but with one row for all images of a run: the mean of them all."""
    return model_from_nodes(
        [
            helper.make_node("Cast", ["input"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[0, 1, 2], keepdims=0),
            helper.make_node("Div", ["mean", "white"], ["flat"]),
            helper.make_node("Reshape", ["flat", "one_row"], ["scores"]),
        ],
        {"input": (TensorProto.UINT8, ["batch", SIDE, SIDE, 3])},
        {"scores": (TensorProto.FLOAT, ["rows", 3])},
        [
            helper.make_tensor("white", TensorProto.FLOAT, [], [255.0]),
            helper.make_tensor("one_row", TensorProto.INT64, [2], [1, 3]),
        ],
    )
