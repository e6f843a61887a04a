"""Float16 inside, with inputs and outputs as they were: every conversion is a Cast in the graph.

Written here because the converters there are return to float16 between two neighbours that are to stay in float32, so
that what overflows overflows all the same: docs/decisions/0007-quantiser.md.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from builder.graphs import fold
from builder.graphs.graph import nodes
from builder.graphs.layers import after_last_layer, drop_unread, dtypes, has_subgraph, named_copy, read_by, weighted
from builder.graphs.observe import Feed
from builder.graphs.overflow import LARGEST, SMALLEST, spans
from vision.errors import BuildError

STEP = "precision"
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
STANDARD = ("", "ai.onnx")
FLOAT32_ONLY = frozenset(
    {
        "NonMaxSuppression",
        "QuantizeLinear",
        "DequantizeLinear",
        "Range",
        "ConstantOfShape",
        "EyeLike",
        "RandomNormal",
        "RandomUniform",
        "RandomNormalLike",
        "RandomUniformLike",
        "CumSum",
        "RoiAlign",
    }
)
"""Operators that take float32 only, or make it whatever they are given."""
DATA_ONLY = frozenset({"Resize", "Upsample"})
"""Only their first input is data; scales are float32 always."""


@dataclass(frozen=True, slots=True)
class Float16:
    """A converted model, and the nodes that stayed in float32 because of what was measured."""

    model: onnx.ModelProto
    kept: tuple[str, ...]
    layers: int
    """How many layers with weights compute in float16."""


def with_fp16(model: onnx.ModelProto, feeds: Iterable[Feed] = (), keep: Collection[str] = ()) -> Float16:
    """Weights and activations in float16, but for what needs float32.

    In float32 stay: what was folded in front (pixels of 0 to 255), what follows the last layer with weights (at 416 px
    a step of float16 is a quarter of a pixel), operators that know nothing else, nodes whose constants float16 cannot
    hold, nodes that left its range on `feeds`, and those that `keep` names.

    Raises:
        BuildError: no layer is left to convert, or the graph cannot be measured.
    """
    result = named_copy(model)
    known = dtypes(result)
    layers = {node.name for node in weighted(result.graph)}
    measured = [name for name, span in spans(result, feeds).items() if span.overflows or span.vanishes]
    settled = _settled(result.graph, known)
    kept = tuple(name for name in measured if name not in settled)
    float32 = settled | set(measured) | set(keep)
    if not layers - float32:
        raise BuildError(STEP, "no layer with weights could compute in float16; build with --precision fp32")
    _convert(result.graph, known, float32)
    _forget_shapes(result)
    return Float16(result, kept, len(layers - float32))


def _settled(graph: onnx.GraphProto, known: dict[str, int]) -> set[str]:
    """Nodes that stay in float32 whatever is measured."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    unheld = {name for name, tensor in constants.items() if not _holds(tensor)}
    made_of_unknown = {
        node.name
        for node in graph.node
        if any(name not in known for name in (*read_by(node), *filter(None, node.output)))
    }
    return after_last_layer(graph) | {
        node.name
        for node in graph.node
        if node.name.startswith(fold.PREFIX)
        or node.name in made_of_unknown
        or node.domain not in STANDARD
        or node.op_type in FLOAT32_ONLY
        or has_subgraph(node)
        or unheld.intersection(_data(node))
        or (node.op_type == "BatchNormalization" and _has_small_variance(constants.get(node.input[4])))
    }


def _holds(tensor: TensorProto) -> bool:
    """Whether float16 can hold every number of the constant, and the largest without losing digits."""
    if tensor.data_type != TensorProto.FLOAT:
        return True
    largest = float(np.abs(numpy_helper.to_array(tensor)).max(initial=0.0))
    return largest == 0 or SMALLEST <= largest <= LARGEST


def _has_small_variance(tensor: TensorProto | None) -> bool:
    return tensor is None or bool((numpy_helper.to_array(tensor) < SMALLEST).any())


def _data(node: onnx.NodeProto) -> list[str]:
    """The inputs that are converted with their node."""
    return [name for name in (node.input[:1] if node.op_type in DATA_ONLY else node.input) if name]


class _Casts:
    """One Cast a tensor and dtype, placed right after what makes it; of constants, another constant."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.taken = {name for node in nodes(graph) for name in (*node.input, *node.output)} | set(self.constants)
        self.made: dict[tuple[str, int], str] = {}
        self.nodes: dict[str, list[onnx.NodeProto]] = {}
        self.added: list[TensorProto] = []

    def of(self, name: str, dtype: int) -> str:
        """The name under which the tensor can be had in that dtype."""
        if (name, dtype) not in self.made:
            new = self.name_for(f"{name}/{'float16' if dtype == TensorProto.FLOAT16 else 'float32'}")
            self.made[name, dtype] = new
            if name in self.constants:
                values: NDArray[np.float32] = numpy_helper.to_array(self.constants[name])
                self.added.append(numpy_helper.from_array(values.astype(np.float16), new))
            else:
                self.nodes.setdefault(name, []).append(helper.make_node("Cast", [name], [new], name=new, to=dtype))
        return self.made[name, dtype]

    def name_for(self, stem: str) -> str:
        name = stem
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name


def _convert(graph: onnx.GraphProto, known: dict[str, int], float32: Collection[str]) -> None:
    """Every node outside `float32` reads and makes float16; where the two meet, a Cast."""
    fixed = {value.name for value in (*graph.input, *graph.output)}
    now = dict(known)  # the dtype of every tensor as it will be
    casts = _Casts(graph)
    for node in graph.node:
        if node.name in float32:
            continue
        if (to := _cast_to(node)) is not None and to.i == TensorProto.FLOAT and node.output[0] not in fixed:
            to.i = TensorProto.FLOAT16
        for name in node.output:
            if known.get(name) == TensorProto.FLOAT and name not in fixed:
                now[name] = TensorProto.FLOAT16
    for node in graph.node:
        wanted = TensorProto.FLOAT if node.name in float32 else TensorProto.FLOAT16
        data = set(_data(node))
        if _cast_to(node) is None:
            for name in dict.fromkeys(read_by(node)):
                is_other = now.get(name) in FLOATS and now[name] != (wanted if name in data else TensorProto.FLOAT)
                if is_other and (name in data or now[name] == TensorProto.FLOAT16):
                    _rename(node, name, casts.of(name, wanted if name in data else TensorProto.FLOAT))
        if wanted == TensorProto.FLOAT16:
            _keep_outputs(node, known, fixed, casts)
    _place(graph, casts)


def _cast_to(node: onnx.NodeProto) -> onnx.AttributeProto | None:
    return next((a for a in node.attribute if a.name == "to"), None) if node.op_type == "Cast" else None


def _keep_outputs(node: onnx.NodeProto, known: dict[str, int], fixed: Collection[str], casts: _Casts) -> None:
    """A float16 node that makes an output of the graph makes it under another name, and a Cast the output."""
    for position, name in enumerate(node.output):
        if name in fixed and known.get(name) == TensorProto.FLOAT and _cast_to(node) is None:
            node.output[position] = new = casts.name_for(f"{name}/float16")
            casts.nodes.setdefault(new, []).append(
                helper.make_node("Cast", [new], [name], name=f"{name}/cast", to=TensorProto.FLOAT)
            )


def _place(graph: onnx.GraphProto, casts: _Casts) -> None:
    """The nodes, each followed by the Casts of what it makes; constants that nobody reads any more leave."""
    placed: list[onnx.NodeProto] = []
    _follow([value.name for value in graph.input], placed, casts)
    for node in graph.node:
        placed.append(onnx.NodeProto.FromString(node.SerializeToString()))
        _follow(node.output, placed, casts)
    del graph.node[:]
    graph.node.extend(placed)
    graph.initializer.extend(casts.added)
    drop_unread(graph)


def _follow(names: Iterable[str], placed: list[onnx.NodeProto], casts: _Casts) -> None:
    for cast in [cast for name in names for cast in casts.nodes.get(name, [])]:
        placed.append(cast)
        _follow(cast.output, placed, casts)


def _rename(node: onnx.NodeProto, old: str, new: str) -> None:
    for position, name in enumerate(node.input):
        if name == old:
            node.input[position] = new
    for attribute in node.attribute:
        for subgraph in (attribute.g, *attribute.graphs):
            for inner in subgraph.node:
                _rename(inner, old, new)


def _forget_shapes(model: onnx.ModelProto) -> None:
    """Inner value infos speak of the dtypes before."""
    del model.graph.value_info[:]
