"""A network as the rules look at it: nodes with names, constants apart, types and readers at hand."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from builder.graphs.graph import nodes, opset
from builder.graphs.layers import dtypes, named_copy

STANDARD = ("", "ai.onnx")


@dataclass(frozen=True, slots=True)
class Network:
    """`known` are element types by tensor, `constants` those of the main graph, `made_by` a tensor's node."""

    model: onnx.ModelProto
    constants: Mapping[str, TensorProto]
    known: Mapping[str, int]
    made_by: Mapping[str, onnx.NodeProto]

    @property
    def graph(self) -> onnx.GraphProto:
        return self.model.graph

    @property
    def opset(self) -> int:
        return opset(self.model)

    def nodes(self) -> Iterator[onnx.NodeProto]:
        """Every node, those of subgraphs included."""
        return nodes(self.graph)

    def inputs(self) -> list[onnx.ValueInfoProto]:
        """What the graph is fed."""
        return [value for value in self.graph.input if value.name not in self.constants]

    def constant(self, node: onnx.NodeProto, index: int) -> NDArray[np.generic] | None:
        """What a node's input holds, if it is there and constant."""
        name = node.input[index] if index < len(node.input) else ""
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def is_fed(self, node: onnx.NodeProto, index: int) -> bool:
        """Whether the input is there and comes from another node, not from a constant."""
        return index < len(node.input) and bool(node.input[index]) and node.input[index] not in self.constants


def network_from_model(model: onnx.ModelProto) -> Network:
    named = named_copy(model)
    return Network(
        named,
        {tensor.name: tensor for tensor in named.graph.initializer},
        dtypes(named),
        {name: node for node in named.graph.node for name in node.output if name},
    )


def told(node: onnx.NodeProto) -> str:
    """A node, as findings name it."""
    return f"{node.name} ({node.op_type})"


def settings(node: onnx.NodeProto) -> dict[str, object]:
    """Its attributes that are numbers or text, by name."""
    simple = (onnx.AttributeProto.INT, onnx.AttributeProto.STRING, onnx.AttributeProto.FLOAT, onnx.AttributeProto.INTS)
    values = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute if a.type in simple}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}
