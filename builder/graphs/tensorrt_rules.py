"""What can be known of TensorRT's ONNX parser without TensorRT: what it refuses, by node, before a device does.

Source: `docs/operators.md`, `docs/Changelog.md` and `builtin_op_importers.cpp` of
https://github.com/onnx/onnx-tensorrt at its branches 8.4-GA, 8.5-GA, 8.6-GA and 10.1-GA.
"""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from builder.graphs.graph import nodes, opset
from builder.graphs.layers import dtypes, named_copy
from builder.graphs.tensorrt_operators import MAX_OPSET, OPERATORS, known_version
from vision.errors import BuildError

STEP = "check"
STANDARD = ("", "ai.onnx")
UINT8_SINCE, NMS_SINCE, INT64_SINCE = (8, 5), (8, 5), (9, 0)
RESIZE_MODES = frozenset({"nearest", "linear"})
COORDINATES = frozenset({"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"})
MAX_TOP_K = 3840


def check_for_tensorrt(model: onnx.ModelProto, version: str = "8.6") -> list[str]:
    """What the person who builds should know of the graph on TensorRT `version`; [] where there is nothing.

    Raises:
        BuildError: naming every node that this TensorRT refuses, and why; or a version older than 8.4.
    """
    rules = known_version(version)
    named = named_copy(model)
    graph = named.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    problems = [*_opset(named, rules)]
    for node in nodes(graph):
        problems += [f"{node.name} ({node.op_type}) {problem}" for problem in _node(node, rules, constants)]
    known = dtypes(named)
    problems += _uint8(graph, rules, known)
    if problems:
        raise BuildError(STEP, f"TensorRT {version} refuses the graph: {'; '.join(problems)}")
    return list(_notes(graph, rules))


def _opset(model: onnx.ModelProto, rules: tuple[int, int]) -> Iterator[str]:
    if (found := opset(model)) > MAX_OPSET[rules]:
        yield f"it is of opset {found}, expected {MAX_OPSET[rules]} at most; export it with that"


def _node(node: onnx.NodeProto, rules: tuple[int, int], constants: dict[str, TensorProto]) -> Iterator[str]:
    if node.domain not in STANDARD:
        yield f"is of {node.domain}, expected a standard operator; export it with standard operators"
    elif node.op_type not in OPERATORS[rules]:
        yield "is unknown to its parser; export it otherwise, or take a newer TensorRT"
    elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        yield from _quantisation(node, constants)
    elif node.op_type == "Resize":
        yield from _resize(node)
    elif node.op_type == "TopK":
        yield from _top_k(node, constants)
    elif node.op_type == "NonMaxSuppression" and rules < NMS_SINCE:
        fixed = all(name in constants for name in node.input[2:])
        if not fixed:
            yield "needs constant thresholds before TensorRT 8.5"


def _quantisation(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> Iterator[str]:
    """int8 and symmetric, with a zero point that says so (`QuantDequantLinearHelper` asks for three inputs)."""
    if len(node.input) < 3 or not node.input[2]:
        yield "has no zero point, expected one of 0 in int8"
    elif (zero := constants.get(node.input[2])) is not None:
        if zero.data_type != TensorProto.INT8:
            kind = TensorProto.DataType.Name(TensorProto.DataType.ValueType(zero.data_type))
            yield f"is {kind}, expected INT8; quantise symmetrically"
        elif np.any(numpy_helper.to_array(zero)):
            yield "has a zero point other than 0; quantise symmetrically"
    scale = constants.get(node.input[1])
    if scale is not None and not (numpy_helper.to_array(scale) > 0).all():
        yield "has a scale that is not positive"


def _resize(node: onnx.NodeProto) -> Iterator[str]:
    settings = {attribute.name: attribute.s.decode() for attribute in node.attribute if attribute.s}
    if (mode := settings.get("mode", "nearest")) not in RESIZE_MODES:
        yield f"has mode {mode}, expected nearest or linear"
    if (how := settings.get("coordinate_transformation_mode", "half_pixel")) not in COORDINATES:
        yield f"has coordinate_transformation_mode {how}, expected one of {', '.join(sorted(COORDINATES))}"


def _top_k(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> Iterator[str]:
    k = constants.get(node.input[1]) if len(node.input) > 1 else None
    if k is not None and (wanted := int(numpy_helper.to_array(k).max(initial=0))) > MAX_TOP_K:
        yield f"asks for {wanted}, expected {MAX_TOP_K} at most"


def _uint8(graph: onnx.GraphProto, rules: tuple[int, int], known: dict[str, int]) -> Iterator[str]:
    """From 8.5 on uint8 may come in and go out, and be cast; no other node may make it."""
    entries = {value.name for value in graph.input if known.get(value.name) == TensorProto.UINT8}
    if entries and rules < UINT8_SINCE:
        yield f"its input {min(entries)!r} is uint8, which came with 8.5; build with --no-fold"
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        if entries.intersection(node.input) and node.op_type != "Cast":
            yield f"{node.name} ({node.op_type}) takes the uint8 input, expected a Cast"
        if any(known.get(name) == TensorProto.UINT8 and name not in outputs for name in node.output):
            yield f"{node.name} ({node.op_type}) makes uint8 inside the graph; only inputs and outputs may be"


def _notes(graph: onnx.GraphProto, rules: tuple[int, int]) -> Iterator[str]:
    if rules < INT64_SINCE:
        for value in graph.output:
            if value.type.tensor_type.elem_type == TensorProto.INT64:
                yield f"output {value.name!r} is INT64: TensorRT before 9 gives it as INT32"
    if any(not value.type.tensor_type.shape.dim[0].dim_value for value in graph.input):
        yield "the batch is dynamic: the engine needs an optimisation profile, from 1 to the contract's max_batch"
    free = [
        value.name for value in graph.input if any(not side.dim_value for side in value.type.tensor_type.shape.dim[1:])
    ]
    if free:
        yield f"input {free[0]!r} takes any size: an engine is built for a range of them, and slower than for one"
