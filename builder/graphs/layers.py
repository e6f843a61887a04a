"""What the graph work asks of a network: names for its nodes, dtypes of its tensors, its layers with weights."""

import itertools
from collections.abc import Collection, Iterable, Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from builder.graphs.graph import nodes

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


def named_copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which every node has a name of its own, subgraphs included, and every constant is an initialiser."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    _constants_as_initializers(copy.graph)
    taken: set[str] = set()
    for node in nodes(copy.graph):
        stem = node.name or f"{node.op_type}/{node.output[0] if node.output else ''}"
        names = itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(1)))
        node.name = next(name for name in names if name not in taken)
        taken.add(node.name)
    return copy


def _constants_as_initializers(graph: onnx.GraphProto) -> None:
    """Only those that hold a tensor; of subgraphs they stay where they are."""
    kept = []
    for node in graph.node:
        tensor = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        if node.op_type == "Constant" and tensor is not None:
            moved = graph.initializer.add()
            moved.CopyFrom(tensor)
            moved.name = node.output[0]
        else:
            kept.append(node)
    if len(kept) < len(graph.node):
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)


def inferred(model: onnx.ModelProto) -> onnx.GraphProto:
    """The main graph with what ONNX's shape inference finds out; as it is where that stumbles over the graph."""
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        return model.graph


def dtypes(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every tensor of the main graph that ONNX's shape inference knows."""
    graph = inferred(model)
    known = {tensor.name: int(tensor.data_type) for tensor in graph.initializer}
    values: Iterable[onnx.ValueInfoProto] = (*graph.input, *graph.value_info, *graph.output)
    for value in values:
        if (found := value.type.tensor_type.elem_type) != TensorProto.UNDEFINED:
            known[value.name] = found
    return known


def read_by(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors of the main graph that a node reads, those that its subgraphs capture among them."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for subgraph in (attribute.g, *attribute.graphs):
            made = {name for inner in subgraph.node for name in inner.output}
            made |= {value.name for value in subgraph.input} | {tensor.name for tensor in subgraph.initializer}
            yield from (name for inner in subgraph.node for name in read_by(inner) if name not in made)


def drop_unread(graph: onnx.GraphProto) -> None:
    """Take out the constants that nothing reads any more."""
    read = {name for node in graph.node for name in read_by(node)} | {value.name for value in graph.output}
    kept = [TensorProto.FromString(t.SerializeToString()) for t in graph.initializer if t.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def has_subgraph(node: onnx.NodeProto) -> bool:
    return any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute)


def weighted(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The layers with weights: convolutions and products whose second factor is constant.

    Not among them is the product with 0, 1, 2, … by which some detectors take an expectation over bins (Generalized
    Focal Loss, https://arxiv.org/abs/2006.04388): nothing was trained there, and its result is a box's side.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return [
        node
        for node in graph.node
        if node.op_type in WEIGHTED
        and node.domain in ("", "ai.onnx")
        and len(node.input) > 1
        and node.input[1] in constants
        and not _is_expectation(constants[node.input[1]])
    ]


def after_last_layer(graph: onnx.GraphProto) -> set[str]:
    """The names of the nodes behind which no layer with weights follows: decoding, suppression, softmax."""
    before: set[str] = set()
    makers = {name: node for node in graph.node for name in node.output}
    waiting = weighted(graph)
    while waiting:
        node = waiting.pop()
        if node.name not in before:
            before.add(node.name)
            waiting += [makers[name] for name in read_by(node) if name in makers]
    return {node.name for node in graph.node} - before


def tensors_between(graph: onnx.GraphProto, known: dict[str, int], names: Collection[str]) -> list[str]:
    """The float32 outputs of the named nodes, in the graph's order."""
    return [
        name
        for node in graph.node
        if node.name in names
        for name in node.output
        if name and known.get(name) == TensorProto.FLOAT
    ]


def _is_expectation(tensor: TensorProto) -> bool:
    if np.prod(tensor.dims) > 64 or np.prod(tensor.dims) < 2:
        return False
    values = numpy_helper.to_array(tensor).ravel()
    return bool(np.array_equal(values, np.arange(len(values))))
