"""Small real convolution networks as ONNX, with weights from a seed: for the work on precision and batches."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIDE, CLASSES = 16, 5
FLOAT, UINT8 = TensorProto.FLOAT, TensorProto.UINT8


def build(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, list[int | str]]],
    outputs: dict[str, tuple[int, list[int | str]]],
    constants: dict[str, NDArray[Any]],
    opset: int = 13,
) -> onnx.ModelProto:
    takes, gives = (
        [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in tensors.items()]
        for tensors in (inputs, outputs)
    )
    made = helper.make_graph(
        nodes, "network", takes, gives, [numpy_helper.from_array(value, name) for name, value in constants.items()]
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


def classifier(
    *, batch: int | str = "batch", opset: int = 13, gain: float = 1.0, scale: float = 1.0, fixed_reshape: bool = False
) -> onnx.ModelProto:
    """uint8 NHWC in, probabilities out: convolution, depthwise, pointwise, product.

    `gain` multiplies what comes out of the middle and `scale` divides it again, so that nothing changes but the
    magnitude in between.
    """
    random = np.random.default_rng(0)
    nodes = [
        helper.make_node("Cast", ["input"], ["preprocess/0_cast"], name="preprocess/0_cast", to=FLOAT),
        helper.make_node("Transpose", ["preprocess/0_cast"], ["nchw"], name="preprocess/1", perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["nchw", "255"], ["unit"], name="preprocess/2"),
        helper.make_node("Conv", ["unit", "w1", "b1"], ["c1"], name="first", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="depthwise", kernel_shape=[3, 3], group=8),
        helper.make_node("Conv", ["c2", "w3", "b3"], ["c3"], name="pointwise"),
        helper.make_node("Mul", ["c3", "gain"], ["loud"], name="loud"),
        helper.make_node("Mul", ["loud", "scale"], ["quiet"], name="quiet"),
        helper.make_node("GlobalAveragePool", ["quiet"], ["pooled"], name="pool"),
        helper.make_node("Reshape", ["pooled", "flat"], ["vector"], name="flatten"),
        helper.make_node("Gemm", ["vector", "w4", "b4"], ["logits"], name="last", transB=1),
        helper.make_node("Softmax", ["logits"], ["scores"], name="softmax", axis=1),
    ]
    constants: dict[str, NDArray[Any]] = {
        "255": np.array(255, np.float32),
        "w1": random.normal(0, 0.4, (8, 3, 3, 3)).astype(np.float32),
        "b1": random.normal(0, 0.1, 8).astype(np.float32),
        "w2": random.normal(0, 0.4, (8, 1, 3, 3)).astype(np.float32),
        "w3": random.normal(0, 0.4, (16, 8, 1, 1)).astype(np.float32),
        "b3": random.normal(0, 0.1, 16).astype(np.float32),
        "gain": np.array(gain, np.float32),
        "scale": np.array(scale, np.float32),
        "flat": np.array([1, 16] if fixed_reshape else [-1, 16], np.int64),
        "w4": random.normal(0, 1, (CLASSES, 16)).astype(np.float32),
        "b4": random.normal(0, 0.1, CLASSES).astype(np.float32),
    }
    return build(
        nodes,
        {"input": (UINT8, [batch, SIDE, SIDE, 3])},
        {"scores": (FLOAT, [batch, CLASSES])},
        constants,
        opset,
    )


def photos(number: int, seed: int = 1) -> list[dict[str, NDArray[Any]]]:
    """Batches of one, each with another mean."""
    random = np.random.default_rng(seed)
    return [
        {"input": random.integers(0, random.integers(60, 256), (1, SIDE, SIDE, 3), np.uint8)} for _ in range(number)
    ]
