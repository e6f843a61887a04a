"""The ONNX parser: everything of the standard's own domain is taken, every other operator needs a plugin."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto

from tests.tensorrt_api.behaviour.objects import dims, log, made, release

DTYPES: Mapping[int, str] = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.INT8: "INT8",
    TensorProto.INT32: "INT32",
    TensorProto.BOOL: "BOOL",
    TensorProto.UINT8: "UINT8",
    TensorProto.INT64: "INT64",
}
LAYERS = {"QuantizeLinear": "QUANTIZE", "DequantizeLinear": "DEQUANTIZE", "Conv": "CONVOLUTION", "Shape": "SHAPE"}


class ParserError:
    def code(self: Any) -> Any:
        return self.state.code

    def desc(self: Any) -> str:
        return str(self.state.desc)

    def node(self: Any) -> int:
        return int(self.state.node)

    def node_name(self: Any) -> str:
        return str(self.state.name)

    def node_operator(self: Any) -> str:
        return str(self.state.operator)


class OnnxParser:
    num_errors = property(lambda self: len(self.state.errors))

    def __init__(self: Any, network: Any, logger: Any) -> None:
        self.state.network, self.state.logger, self.state.errors = network, logger, []

    def get_error(self: Any, index: int) -> Any:
        return self.state.errors[index]

    def parse_from_file(self: Any, model: str) -> bool:
        return _parsed(self, Path(model).read_bytes())

    def parse(self: Any, model: Any, path: str | None = None) -> bool:
        return _parsed(self, bytes(model))


def _parsed(parser: Any, data: bytes) -> bool:
    module, network = parser.surface, parser.state.network
    if release(module) < (10, 0) and not network.state.flags & 1:
        return _wrong(parser, "INVALID_GRAPH", "this version of the ONNX parser only supports explicit batch", -1)
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(data))
    except Exception:  # noqa: BLE001 - whatever is no ONNX
        return _wrong(parser, "MODEL_DESERIALIZE_FAILED", "Failed to parse ONNX model from file", -1)
    for index, node in enumerate(model.graph.node):
        if node.domain:
            log(
                parser.state.logger,
                "ERROR",
                f'While parsing node number {index} [{node.op_type} -> "{node.output[0]}"]:',
            )
            return _wrong(parser, "UNSUPPORTED_NODE", "Plugin not found", index, node.name, node.op_type)
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    network.state.model = data
    constants = {tensor.name for tensor in model.graph.initializer}
    entries = [value for value in model.graph.input if value.name not in constants]
    for values, tensors in ((entries, network.state.inputs), (model.graph.output, network.state.outputs)):
        for value in values:
            tensor = tensor_of(module, value)
            if tensor is None:
                return _wrong(parser, "UNSUPPORTED_GRAPH", f"Unsupported type of {value.name}", -1)
            tensors.append(tensor)
    for node in model.graph.node:
        outputs = [tensor_of(module, known[name]) if name in known else None for name in node.output]
        kind = LAYERS.get(node.op_type, "IDENTITY" if node.op_type == "Cast" else "ELEMENTWISE")
        layer_type = module.LayerType.__members__[kind]
        network.state.layers.append(made(module, "ILayer", name=node.name, type=layer_type, outputs=outputs))
    return True


def tensor_of(module: Any, value: onnx.ValueInfoProto) -> Any:
    kind = DTYPES.get(value.type.tensor_type.elem_type, "none")
    if kind == "INT64" and "INT64" not in module.DataType.__members__:
        kind = "INT32"
    if kind not in module.DataType.__members__:
        return None
    sides = [side.dim_value or -1 for side in value.type.tensor_type.shape.dim]
    return made(module, "ITensor", name=value.name, dtype=module.DataType.__members__[kind], shape=dims(module, sides))


def _wrong(parser: Any, code: str, desc: str, node: int, name: str = "", operator: str = "") -> bool:
    codes = parser.surface.ErrorCode.__members__
    error = made(parser.surface, "ParserError", code=codes[code], desc=desc, node=node, name=name, operator=operator)
    parser.state.errors.append(error)
    return False
