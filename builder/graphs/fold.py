"""Colour order, normalisation and layout moved into the graph: it then takes the resized image as uint8 NHWC."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from builder.graphs.graph import nodes
from vision.contract import Contract, Normalise, ToRgb

PREFIX = "preprocess/"
Constant = NDArray[np.float32] | NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Folded:
    """A model and its contract, and why nothing was folded if nothing was."""

    model: onnx.ModelProto
    contract: Contract
    hindrance: str | None


def folded(model: onnx.ModelProto, contract: Contract) -> Folded:
    """The trailing colour and normalisation steps as the graph's first nodes; the input keeps its name.

    Computes `(x - mean) / std` in float32, operation by operation as `vision.tensor` and mmengine's
    `ImgDataPreprocessor` do, so that folding changes no bit. Cast stands first, because TensorRT takes uint8 only
    into a Cast. The opset stays as it is: the nodes used here exist in every opset from 7 on.
    """
    if contract.input.dtype == "UINT8":
        return Folded(model, contract, "the graph takes UINT8 already")
    pixelwise = _trailing(contract)
    if not any(isinstance(step, Normalise) for step in pixelwise):
        after = contract.preprocess[-1].op
        return Folded(model, contract, f"{after} comes after normalise, so pixels stay FP32 on the wire")
    result = onnx.ModelProto()
    result.CopyFrom(model)
    _prepend(result, contract, pixelwise)
    height, width = contract.input.size_hw
    shape = {"dtype": "UINT8", "layout": "NHWC", "shape": (height, width, 3)}
    kept = contract.preprocess[: len(contract.preprocess) - len(pixelwise)]
    changed = {
        **contract.model_dump(),
        "input": {**contract.input.model_dump(), **shape},
        "preprocess": tuple(step.model_dump() for step in kept),
        "in_graph": tuple(step.model_dump() for step in pixelwise),
    }
    return Folded(result, Contract.model_validate(changed), None)


def _trailing(contract: Contract) -> tuple[ToRgb | Normalise, ...]:
    steps: list[ToRgb | Normalise] = []
    for step in reversed(contract.preprocess):
        if not isinstance(step, ToRgb | Normalise):
            break
        steps.insert(0, step)
    return tuple(steps)


def _prepend(model: onnx.ModelProto, contract: Contract, steps: tuple[ToRgb | Normalise, ...]) -> None:
    """[n, h, w, 3] uint8 in, what the network took before out."""
    name, is_nchw = contract.input.name, contract.input.layout == "NCHW"
    channel_axis, per_channel = (1, (1, 3, 1, 1)) if is_nchw else (3, (1, 1, 1, 3))
    graph = model.graph
    chain = _Chain(graph, name)
    chain.add("Cast", to=TensorProto.FLOAT)
    if is_nchw:
        chain.add("Transpose", perm=[0, 3, 1, 2])
    for step in steps:
        if isinstance(step, ToRgb):
            chain.add("Gather", np.array([2, 1, 0], np.int64), axis=channel_axis)
        else:
            chain.add("Sub", np.array(step.mean, np.float32).reshape(per_channel))
            chain.add("Div", np.array(step.std, np.float32).reshape(per_channel))
    _rename_uses(graph, name, chain.last)
    for position, node in enumerate(chain.nodes):
        graph.node.insert(position, node)
    _retype_input(graph, contract)


class _Chain:
    """Nodes one after the other, their constants stored as initialisers."""

    def __init__(self, graph: onnx.GraphProto, start: str) -> None:
        self.graph, self.last = graph, start
        self.nodes: list[onnx.NodeProto] = []

    def add(self, op: str, constant: Constant | None = None, **attributes: int | list[int]) -> None:
        inputs = [self.last]
        self.last = f"{PREFIX}{len(self.nodes)}_{op.lower()}"
        if constant is not None:
            inputs.append(f"{self.last}_constant")
            self.graph.initializer.append(numpy_helper.from_array(constant, inputs[1]))
        node = helper.make_node(op, inputs, [self.last], name=self.last)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
        self.nodes.append(node)


def _rename_uses(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in nodes(graph):
        for position, value in enumerate(node.input):
            if value == old:
                node.input[position] = new


def _retype_input(graph: onnx.GraphProto, contract: Contract) -> None:
    value = next(value for value in graph.input if value.name == contract.input.name)
    batch, *sides = value.type.tensor_type.shape.dim
    height, width = (sides[1], sides[2]) if contract.input.layout == "NCHW" else (sides[0], sides[1])
    shape = onnx.TensorShapeProto()
    shape.dim.extend([batch, height, width, onnx.TensorShapeProto.Dimension(dim_value=3)])
    value.type.tensor_type.elem_type = TensorProto.UINT8
    value.type.tensor_type.shape.CopyFrom(shape)
