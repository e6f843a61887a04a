"""Precision that lies in the graph: int8 pairs as TensorRT reads them, and what 11 wants there.

Source: `QuantDequantLinearHelper` in `builtin_op_importers.cpp` of https://github.com/onnx/onnx-tensorrt, and NVIDIA's
developer guide, "Working with Quantized Types" and "Strongly Typed Networks".
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto

from builder.lint.finding import Finding
from builder.lint.network import STANDARD, Network, told
from builder.lint.operators import Support
from builder.lint.type_rules import NAMES, precision_of

STRONG_TYPING_ONLY = (11, 0)
PAIR = ("QuantizeLinear", "DequantizeLinear")
SIGNED = frozenset({TensorProto.INT8, TensorProto.FLOAT8E4M3FN, TensorProto.INT4, TensorProto.FLOAT4E2M1})
SYMMETRICALLY = "quantise symmetrically, in int8"


def findings(network: Network, support: Support, precision: str | None) -> Iterator[Finding]:
    """`precision` is what the model is said to be (`fp16`, `int8`), None where nobody says."""
    for node in network.nodes():
        if node.domain in STANDARD and node.op_type in PAIR:
            yield from _pair(network, node)
    if support.version >= STRONG_TYPING_ONLY:
        yield from _strong_typing(network, precision)


def _pair(network: Network, node: onnx.NodeProto) -> Iterator[Finding]:
    """Symmetric, with a zero point that says so and a scale that is known when the engine is built."""
    if len(node.input) < 3 or not node.input[2]:
        yield Finding("fail", told(node), "has no zero point, expected one of 0 in int8", SYMMETRICALLY)
    elif (zero := network.constants.get(node.input[2])) is None:
        yield Finding("fail", told(node), "its zero point is computed, expected a constant 0", SYMMETRICALLY)
    elif zero.data_type not in SIGNED:
        kind = NAMES.get(zero.data_type, str(zero.data_type))
        yield Finding("fail", told(node), f"its zero point is {kind}, expected INT8", SYMMETRICALLY)
    elif np.any(np.asarray(network.constant(node, 2)).astype(np.float32)):
        yield Finding("fail", told(node), "its zero point is other than 0", SYMMETRICALLY)
    scale = network.constant(node, 1)
    if scale is None:
        yield Finding("fail", told(node), "its scale is computed, expected a constant", "quantise with fixed scales")
    elif not (np.asarray(scale, np.float32) > 0).all():
        yield Finding("fail", told(node), "has a scale that is not positive", "calibrate again: a tensor was all zero")
    elif scale.size > 1 and network.is_fed(node, 0) and node.op_type == "QuantizeLinear":
        yield Finding(
            "fail",
            told(node),
            f"quantises an activation with {scale.size} scales, expected one for the whole tensor",
            "quantise activations per tensor and only weights per channel",
        )


def _strong_typing(network: Network, precision: str | None) -> Iterator[Finding]:
    found = precision_of(network)
    inside = ", ".join(sorted(found)) or "none"
    if precision is not None and precision != "fp32" and precision.upper() not in found:
        yield Finding(
            "fail",
            "precision",
            f"the model is said to be {precision}, and its layers compute in {inside}: TensorRT 11 takes each type "
            "from the graph and has no flag for another",
            f"build with --precision {precision}, which writes it into the graph",
        )
    elif found == {"FP32"}:
        yield Finding(
            "warn",
            "precision",
            "all layers are FP32, and TensorRT 11 computes in what the graph says: nothing will run in FP16 or INT8",
            "build with --precision fp16 or int8, which write it into the graph",
        )
