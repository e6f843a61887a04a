"""Int8 as QuantizeLinear and DequantizeLinear in the graph, as TensorRT's explicit quantisation wants them.

In front of every layer with weights stands Q → DQ on its activation, one scale a tensor; its weights are stored as int8
with one scale an output channel, behind a DQ. Both are symmetric: the zero point is 0. Biases and all else stay float.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

import numpy as np
import onnx
import onnx.version_converter
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from builder.graphs.graph import opset
from builder.graphs.layers import drop_unread, dtypes, named_copy, read_by, weighted
from builder.graphs.observe import Feed, again
from builder.graphs.quantisation import LEVELS, thresholds
from vision.errors import BuildError

STEP = "precision"
PREFIX = "int8/"
PER_CHANNEL_OPSET = 13
"""From here on Q and DQ have an axis."""


@dataclass(frozen=True, slots=True)
class Int8:
    """A quantised model; `layers` compute in int8, `kept` of the layers with weights stayed float."""

    model: onnx.ModelProto
    layers: int
    kept: tuple[str, ...]


def with_int8(
    model: onnx.ModelProto,
    feeds: Iterable[Feed],
    keep: Collection[str] = (),
    *,
    on_feed: Callable[[], None] = lambda: None,
) -> Int8:
    """The layers with weights in int8, scales from `feeds`.

    Float stay the first layer with what was folded in front of it, depthwise convolutions, the last convolution on each
    way to an output with all that follows it (it makes the scores and boxes themselves), and the layers that `keep`
    names. What each of these is worth: docs/decisions/0007-quantiser.md.

    Raises:
        BuildError: no feeds, no layer to quantise, or the network fails or is not finite on a feed.
    """
    feeds = again(feeds)
    if next(iter(feeds), None) is None:
        raise BuildError(STEP, "int8 takes its scales from photos, and there are none: give --calibration FOLDER")
    result = named_copy(_upgraded(model))
    known = dtypes(result)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    layers = weighted(result.graph)
    stay = _outermost(result.graph) | set(keep)
    chosen = [node for node in layers if node.name not in stay and _is_worth_it(node, constants[node.input[1]])]
    if not chosen:
        raise BuildError(STEP, "no layer with weights could be quantised; build with --precision fp16")
    activations = list(dict.fromkeys(node.input[0] for node in chosen if known.get(node.input[0]) == TensorProto.FLOAT))
    found = thresholds(result, activations, feeds, on_feed=on_feed)
    _insert(result.graph, chosen, found, constants)
    del result.graph.value_info[:]
    return Int8(result, len(chosen), tuple(node.name for node in layers if node not in chosen))


def _is_worth_it(node: onnx.NodeProto, weight: TensorProto) -> bool:
    """Whether the layer mixes channels. A depthwise one does little work, and loses most by one scale for all."""
    if weight.data_type != TensorProto.FLOAT:
        return False
    group = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return not (node.op_type == "Conv" and group == weight.dims[0])


def _upgraded(model: onnx.ModelProto) -> onnx.ModelProto:
    if opset(model) >= PER_CHANNEL_OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, PER_CHANNEL_OPSET)
    except Exception as exc:
        raise BuildError(
            STEP,
            f"int8 needs opset {PER_CHANNEL_OPSET}, this is {opset(model)} and cannot be converted ({exc}); "
            f"export it with opset {PER_CHANNEL_OPSET}",
        ) from exc


def _outermost(graph: onnx.GraphProto) -> set[str]:
    """The layers before which none stands, and the convolutions behind which none follows.

    A classifier ends in a product, and that may go: what is asked of its scores is their order.
    """
    layers = weighted(graph)
    makers = {name: node for node in graph.node for name in node.output}
    behind = {node.name: _before(node, makers) for node in layers}
    names = {node.name for node in layers}
    first = {node.name for node in layers if not behind[node.name] & names}
    inner = set().union(*behind.values())
    return first | {node.name for node in layers if node.name not in inner and node.op_type.startswith("Conv")}


def _before(node: onnx.NodeProto, makers: dict[str, onnx.NodeProto]) -> set[str]:
    """The names of the nodes that a node's data comes through."""
    found: set[str] = set()
    waiting = [makers[name] for name in read_by(node) if name in makers]
    while waiting:
        maker = waiting.pop()
        if maker.name not in found:
            found.add(maker.name)
            waiting += [makers[name] for name in read_by(maker) if name in makers]
    return found


def _insert(
    graph: onnx.GraphProto,
    chosen: list[onnx.NodeProto],
    found: dict[str, float],
    constants: dict[str, TensorProto],
) -> None:
    taken = {name for node in graph.node for name in node.output} | set(constants)
    pairs: dict[str, list[onnx.NodeProto]] = {}
    weights: list[onnx.NodeProto] = []
    made: dict[tuple[str, int], str] = {}
    graph.initializer.append(numpy_helper.from_array(np.zeros((), np.int8), _free(f"{PREFIX}zero", taken)))
    zero = graph.initializer[-1].name
    for node in chosen:
        activation = node.input[0]
        if activation in found:
            if activation not in pairs:
                pairs[activation] = _pair(graph, activation, found[activation], zero, taken)
            node.input[0] = pairs[activation][-1].output[0]
        key = (node.input[1], _axis(node, constants[node.input[1]]))
        if key not in made:
            weights.append(_weights(graph, constants[key[0]], key[1], taken))
            made[key] = weights[-1].output[0]
        node.input[1] = made[key]
    _place(graph, pairs, weights)


def _axis(node: onnx.NodeProto, weight: TensorProto) -> int:
    """Of the output channels; -1 where there is none of its own."""
    settings = {attribute.name: attribute.i for attribute in node.attribute}
    if node.op_type == "ConvTranspose":
        return 1 if settings.get("group", 1) == 1 else -1
    if node.op_type == "MatMul":
        return 1 if len(weight.dims) == 2 else -1
    if node.op_type == "Gemm":
        return 0 if settings.get("transB", 0) else 1
    return 0


def _pair(graph: onnx.GraphProto, name: str, threshold: float, zero: str, taken: set[str]) -> list[onnx.NodeProto]:
    scale, quantised, back = (_free(f"{name}/{part}", taken) for part in ("scale", "int8", "dequantised"))
    graph.initializer.append(numpy_helper.from_array(np.array(threshold / LEVELS, np.float32), scale))
    return [
        helper.make_node("QuantizeLinear", [name, scale, zero], [quantised], name=quantised),
        helper.make_node("DequantizeLinear", [quantised, scale, zero], [back], name=back),
    ]


def _weights(graph: onnx.GraphProto, weight: TensorProto, axis: int, taken: set[str]) -> onnx.NodeProto:
    values: NDArray[np.float32] = numpy_helper.to_array(weight)
    others = tuple(side for side in range(values.ndim) if side != axis)
    largest = np.abs(values).max(axis=others if axis >= 0 else None, keepdims=True)
    scales = np.where(largest > 0, np.maximum(largest / LEVELS, np.finfo(np.float32).tiny), 1.0).astype(np.float32)
    rounded = np.clip(np.rint(values / scales), -LEVELS, LEVELS).astype(np.int8)
    stored, scale, zero, back = (_free(f"{weight.name}/{part}", taken) for part in ("int8", "scale", "zero", "float"))
    flat = scales.reshape(-1) if axis >= 0 else scales.reshape(())
    for array, name in ((rounded, stored), (flat, scale), (np.zeros(flat.shape, np.int8), zero)):
        graph.initializer.append(numpy_helper.from_array(array, name))
    node = helper.make_node("DequantizeLinear", [stored, scale, zero], [back], name=back)
    if axis >= 0:
        node.attribute.append(helper.make_attribute("axis", axis))
    return node


def _place(graph: onnx.GraphProto, pairs: dict[str, list[onnx.NodeProto]], weights: list[onnx.NodeProto]) -> None:
    placed = [*weights, *(node for value in graph.input for node in pairs.get(value.name, []))]
    for node in graph.node:
        placed.append(onnx.NodeProto.FromString(node.SerializeToString()))
        placed += (added for name in node.output for added in pairs.get(name, []))
    del graph.node[:]
    graph.node.extend(placed)
    drop_unread(graph)


def _free(stem: str, taken: set[str]) -> str:
    name = stem
    while name in taken:
        name += "_"
    taken.add(name)
    return name
