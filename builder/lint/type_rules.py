"""Types: of operators' data, of what comes in and goes out, and of constants that a narrower type must hold."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from builder.graphs.layers import WEIGHTED
from builder.lint.finding import Finding
from builder.lint.network import STANDARD, Network, told
from builder.lint.operators import Support

INT64_SINCE, UINT8_SINCE = (9, 0), (8, 5)
NAMES: dict[int, str] = {
    TensorProto.FLOAT: "FP32",
    TensorProto.FLOAT16: "FP16",
    TensorProto.BFLOAT16: "BF16",
    TensorProto.DOUBLE: "DOUBLE",
    TensorProto.INT64: "INT64",
    TensorProto.INT32: "INT32",
    TensorProto.INT8: "INT8",
    TensorProto.UINT8: "UINT8",
    TensorProto.BOOL: "BOOL",
    TensorProto.FLOAT8E4M3FN: "FP8",
    TensorProto.INT4: "INT4",
    TensorProto.FLOAT4E2M1: "FP4",
}
"""In the words of `docs/operators.md`."""
WITH_SUBGRAPHS = frozenset({"If", "Loop", "Scan"})
DATA_INPUTS = {"Where": (1, 2), "OneHot": (2,)}
"""Which inputs hold the data that the types are about, where it is not the first and those of its type."""
MADE = frozenset({"Cast", "ConstantOfShape", "RandomNormal", "RandomUniform"})
"""Whose result has a type of its own."""
ENDS = frozenset({"Slice"})
"""Where a constant beyond INT32 means "to the end", and is cut to what means the same."""


def findings(network: Network, support: Support) -> Iterator[Finding]:
    for node in network.graph.node:
        if node.domain in STANDARD and node.op_type not in WITH_SUBGRAPHS and support.types(node.op_type):
            yield from _types(network, node, support)
    yield from _uint8(network, support)
    yield from _constants(network, support)
    yield from _outputs(network, support)


def _types(network: Network, node: onnx.NodeProto, support: Support) -> Iterator[Finding]:
    allowed = _allowed(support, node.op_type)
    names = [*_data(network, node), *(node.output[:1] if node.op_type in MADE else ())]
    found = dict.fromkeys(network.known[name] for name in names if name in network.known)
    for element in found:
        name = NAMES.get(element) or TensorProto.DataType.Name(TensorProto.DataType.ValueType(element))
        if element != TensorProto.UINT8 and name not in allowed:  # uint8 has rules of its own
            taken = ", ".join(sorted(support.types(node.op_type)))
            yield Finding(
                "fail",
                told(node),
                f"its data is {name}, and this TensorRT takes {taken} there",
                f"cast it before to one of these, or take a TensorRT with {name} there",
            )


def _allowed(support: Support, operator: str) -> set[str]:
    """DOUBLE is read as FP32, and INT64 before 9 as INT32 (`docs/operators.md`)."""
    allowed = set(support.types(operator))
    if "FP32" in allowed:
        allowed.add("DOUBLE")
    if "INT32" in allowed and support.version < INT64_SINCE:
        allowed.add("INT64")
    return allowed


def _data(network: Network, node: onnx.NodeProto) -> list[str]:
    """The inputs that hold data: the first and those of its type in the operator's schema; no shapes or indices."""
    if node.op_type in DATA_INPUTS:
        return [node.input[index] for index in DATA_INPUTS[node.op_type] if index < len(node.input)]
    if node.op_type in MADE - {"Cast"} or not node.input:
        return []
    try:
        schema = onnx.defs.get_schema(node.op_type, network.opset, "")
    except onnx.defs.SchemaError:
        return list(node.input[:1])
    kinds = [entry.type_str for entry in schema.inputs]
    if schema.inputs[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic:
        kinds += kinds[-1:] * len(node.input)
    return [name for name, kind in zip(node.input, kinds, strict=False) if name and kind == kinds[0]]


def _uint8(network: Network, support: Support) -> Iterator[Finding]:
    """From 8.5 on uint8 may come in and go out, and be cast; no other node may take or make it."""
    entries = {value.name for value in network.inputs() if network.known.get(value.name) == TensorProto.UINT8}
    for name in sorted(entries) if support.version < UINT8_SINCE else ():
        yield Finding(
            "fail", f"input {name!r}", "it is uint8, which TensorRT takes from 8.5 on", "build with --no-fold"
        )
    outputs = {value.name for value in network.graph.output}
    for node in network.graph.node:
        if entries.intersection(node.input) and node.op_type != "Cast":
            yield Finding(
                "fail", told(node), "takes the uint8 input, which may only be cast", "cast it to float32 first"
            )
        if any(network.known.get(name) == TensorProto.UINT8 and name not in outputs for name in node.output):
            yield Finding(
                "fail", told(node), "makes uint8 inside the graph; only inputs and outputs may be", "use int32 there"
            )


def _constants(network: Network, support: Support) -> Iterator[Finding]:
    """INT64 before 9 is cut to INT32, and DOUBLE to FP32, silently (`docs/operators.md`)."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in network.nodes():
        for name in node.input:
            readers.setdefault(name, []).append(node)
    bounds = np.iinfo(np.int32)
    for name, tensor in network.constants.items():
        if tensor.data_type == TensorProto.INT64 and support.version < INT64_SINCE:
            values = numpy_helper.to_array(tensor)
            outside = values[(values < bounds.min) | (values > bounds.max)]
            read = [node for node in readers.get(name, []) if node.op_type not in ENDS]
            if outside.size and read:
                yield Finding(
                    "fail",
                    f"constant {name!r} of {told(read[0])}",
                    f"it holds {int(outside.flat[0])} in INT64; TensorRT before 9 cuts that to INT32's {bounds.max}",
                    "export with values that INT32 holds",
                )
        elif tensor.data_type == TensorProto.DOUBLE and readers.get(name):
            yield Finding(
                "warn",
                f"constant {name!r} of {told(readers[name][0])}",
                "it is DOUBLE, which TensorRT reads as FP32",
                "make it float32 before the export, so that both compute the same",
            )


def _outputs(network: Network, support: Support) -> Iterator[Finding]:
    for value in network.graph.output:
        element = network.known.get(value.name)
        if element == TensorProto.INT64 and support.version < INT64_SINCE:
            yield Finding(
                "warn",
                f"output {value.name!r}",
                "it is INT64 here, and INT32 of an engine: TensorRT before 9 has no INT64",
                "build with --target jetson, which makes it INT32 in the graph and in the contract",
            )
    for value in network.inputs():
        if network.known.get(value.name) == TensorProto.INT64 and support.version < INT64_SINCE:
            yield Finding(
                "fail", f"input {value.name!r}", "it is INT64, and an engine's would be INT32", "export it as INT32"
            )


def precision_of(network: Network) -> set[str]:
    """The floating types that its weighted layers compute in, `INT8` where they are fed from DequantizeLinear."""
    found = set()
    for node in network.graph.node:
        if node.op_type in WEIGHTED:
            maker = network.made_by.get(node.input[0])
            quantised = maker is not None and maker.op_type == "DequantizeLinear"
            element = network.known.get(node.input[0], TensorProto.UNDEFINED)
            found.add("INT8" if quantised else NAMES.get(element, "unknown"))
    return found
