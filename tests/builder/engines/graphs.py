"""Graphs for engines: what a precision looks like in an ONNX, in as few nodes as show it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

SIDE = 4
ENTRY = "input"


def _model(
    nodes: Sequence[NodeProto],
    constants: Sequence[TensorProto],
    batch: int | str = "batch",
    dtype: int = TensorProto.FLOAT,
) -> bytes:
    entry = helper.make_tensor_value_info(ENTRY, dtype, [batch, 3, SIDE, SIDE])
    answer = helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, 2, SIDE, SIDE])
    graph = helper.make_graph(list(nodes), "engine", [entry], [answer], list(constants))
    domains = [helper.make_opsetid("", 13), helper.make_opsetid("mmdeploy", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8).SerializeToString()


def _weights(dtype: type = np.float32) -> TensorProto:
    values: NDArray[Any] = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3, 1, 1).astype(dtype)
    return numpy_helper.from_array(values, "weights")


def plain(batch: int | str = "batch") -> bytes:
    """FP32: one convolution."""
    return _model([helper.make_node("Conv", [ENTRY, "weights"], ["output"], name="conv")], [_weights()], batch)


def half(batch: int | str = "batch") -> bytes:
    """The convolution in FP16 between casts."""
    nodes = [
        helper.make_node("Cast", [ENTRY], ["half"], name="down", to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["half", "weights"], ["made"], name="conv"),
        helper.make_node("Cast", ["made"], ["output"], name="up", to=TensorProto.FLOAT),
    ]
    return _model(nodes, [_weights(np.float16)], batch)


def quantised(batch: int | str = "batch") -> bytes:
    """The convolution's input rounded to INT8."""
    scale, zero = (
        numpy_helper.from_array(np.array(0.05, np.float32), "scale"),
        numpy_helper.from_array(np.array(0, np.int8), "zero"),
    )
    nodes = [
        helper.make_node("QuantizeLinear", [ENTRY, "scale", "zero"], ["rounded"], name="quantise"),
        helper.make_node("DequantizeLinear", ["rounded", "scale", "zero"], ["real"], name="dequantise"),
        helper.make_node("Conv", ["real", "weights"], ["output"], name="conv"),
    ]
    return _model(nodes, [_weights(), scale, zero], batch)


def custom() -> bytes:
    """With an operator of mmdeploy's own, which needs a plugin."""
    node = helper.make_node("TRTBatchedNMS", [ENTRY], ["output"], name="suppress", domain="mmdeploy")
    return _model([node], [])


def bytes_in() -> bytes:
    """Takes uint8, as folded graphs do."""
    nodes = [
        helper.make_node("Cast", [ENTRY], ["real"], name="cast", to=TensorProto.FLOAT),
        helper.make_node("Conv", ["real", "weights"], ["output"], name="conv"),
    ]
    return _model(nodes, [_weights()], "batch", onnx.TensorProto.UINT8)
