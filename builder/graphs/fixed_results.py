"""Results of a fixed size and INT32 labels, for engines: how many rows come out no longer depends on the photo.

mmdeploy writes `k = min(limit, rows)` in front of TopK. TensorRT before 8.6 takes no computed K, and none takes one
above 3840 (https://github.com/onnx/onnx-tensorrt, docs/operators.md). Where the rows follow from the network's own
size, K is what comes of it; where they are what suppression left, as many empty rows (of score 0) are added as
K asks for. Then no engine has outputs whose size only the photo decides.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from builder.graphs.layers import drop_unread, named_copy, read_by
from builder.graphs.observe import Feed, observe

STEP = "fit"
MOST = 3840
"""K's limit in every TensorRT (`docs/operators.md`, TopK)."""
DATA_DECIDES = frozenset({"NonMaxSuppression", "NonZero", "Unique", "Compress"})
"""Operators whose results are as long as the data makes them."""
SIZES = frozenset({"Shape", "Size"})
PASSING = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Cast", "Identity"})


@dataclass(frozen=True, slots=True)
class Fitted:
    """The graph, the same object where nothing was to be done; `notes` say what was, one line each."""

    model: onnx.ModelProto
    notes: tuple[str, ...] = ()


def with_fixed_results(model: onnx.ModelProto, feeds: list[Feed]) -> Fitted:
    """Constant K wherever it can be known, and INT32 in place of INT64 outputs.

    `feeds` are any images in the graph's own sizes, of several batches where it takes several: what K comes to is read
    from runs with them, and taken only where all agree.

    Raises:
        BuildError: the graph cannot be run.
    """
    result = named_copy(model)
    notes = [*_constant_k(result, feeds), *_int32_outputs(result)]
    if not notes:
        return Fitted(model)
    drop_unread(result.graph)
    _tell_sizes(result, feeds)
    return Fitted(result, tuple(notes))


def _constant_k(model: onnx.ModelProto, feeds: list[Feed]) -> Iterator[str]:
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    found = [node for node in graph.node if node.op_type == "TopK" and len(node.input) > 1]
    computed = [node for node in found if node.input[1] not in constants]
    fed = {value.name for value in graph.input} - constants.keys()
    seen = _values(model, [node.input[1] for node in computed], feeds)
    for node in found:
        name = node.input[1]
        if name in constants:
            wanted = int(numpy_helper.to_array(constants[name]).max())
            if wanted > MOST:
                _set_k(graph, node, MOST)
                yield f"{node.name} takes the best {MOST} of {wanted}: no TensorRT sorts more"
        elif _follows_from_sizes(name, makers, fed):
            if len(seen[name]) == 1:
                (k,) = seen[name]
                _set_k(graph, node, min(k, MOST))
                more = "" if k <= MOST else f", the best of {k}: no TensorRT sorts more"
                yield f"{node.name} takes {min(k, MOST)} always{more}"
        elif (limit := limit_of(name, makers, constants)) is not None and limit <= MOST:
            rows = _pads(graph, makers, constants)
            if rows:
                for shape in rows:
                    _set_input(graph, shape, 1, np.array([limit], np.int64))
                _set_k(graph, node, limit)
                yield f"{node.name} takes {limit} always, of {limit} empty rows more than there are boxes"


def _int32_outputs(model: onnx.ModelProto) -> Iterator[str]:
    graph = model.graph
    for value in graph.output:
        if value.type.tensor_type.elem_type != TensorProto.INT64:
            continue
        inner = f"{value.name}/int64"
        for node in graph.node:
            for names in (node.output, node.input):
                for index, name in enumerate(names):
                    if name == value.name:
                        names[index] = inner
        cast = helper.make_node("Cast", [inner], [value.name], name=f"{value.name}/int32", to=TensorProto.INT32)
        graph.node.append(cast)
        value.type.tensor_type.elem_type = TensorProto.INT32
        yield f"output {value.name!r} is INT32: TensorRT before 9 has no INT64"


def _follows_from_sizes(name: str, makers: dict[str, onnx.NodeProto], fed: set[str]) -> bool:
    """Whether a number is made of the sizes of tensors that the data does not size, and of nothing that is fed."""
    waiting, seen = [name], {name}
    while waiting:
        tensor = waiting.pop()
        if tensor in fed:
            return False
        node = makers.get(tensor)
        if node is None:
            continue
        if node.op_type in SIZES:
            if _depends_on_data(node.input[0], makers):
                return False
            continue
        waiting += [other for other in read_by(node) if other not in seen]
        seen.update(waiting)
    return True


def _depends_on_data(name: str, makers: dict[str, onnx.NodeProto]) -> bool:
    """Whether a node whose result is as long as the data makes it lies before the tensor."""
    waiting, seen = [name], set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in seen:
            continue
        if node.op_type in DATA_DECIDES:
            return True
        seen.add(node.name)
        waiting += read_by(node)
    return False


def limit_of(name: str, makers: Mapping[str, onnx.NodeProto], constants: Mapping[str, TensorProto]) -> int | None:
    """The constant of `min(constant, rows)`, as Where(Less(constant, rows), constant, rows) or as Min."""
    node = makers.get(name)
    while node is not None and node.op_type in PASSING:
        node = makers.get(node.input[0])
    if node is None or node.op_type not in ("Where", "Min"):
        return None
    sides = node.input[1:] if node.op_type == "Where" else node.input
    known = [numpy_helper.to_array(constants[side]) for side in sides if side in constants]
    return int(known[0].max()) if len(known) == 1 and known[0].size == 1 else None


def _pads(
    graph: onnx.GraphProto, makers: dict[str, onnx.NodeProto], constants: dict[str, TensorProto]
) -> list[onnx.NodeProto]:
    """The shapes [n, 1, …] of the row that mmdeploy adds behind the boxes, and behind their labels: both, or none."""
    found = []
    for node in graph.node:
        if node.op_type != "Concat" or len(node.input) != 2 or not _depends_on_data(node.input[0], makers):
            continue
        pad = makers.get(node.input[1])
        shape = makers.get(pad.input[0]) if pad is not None and pad.op_type == "ConstantOfShape" else None
        if shape is None or shape.op_type != "Concat" or len(shape.input) < 2 or shape.input[1] not in constants:
            continue
        if _axis(node) == 1 and numpy_helper.to_array(constants[shape.input[1]]).tolist() == [1]:
            readers = [other for other in graph.node if shape.output[0] in other.input]
            if all(other.op_type == "ConstantOfShape" for other in readers):
                found.append(shape)
    return found if len(found) == 2 else []


def _axis(node: onnx.NodeProto) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == "axis"), 0)


def _values(model: onnx.ModelProto, names: list[str], feeds: list[Feed]) -> dict[str, set[int]]:
    """What each K came to."""
    seen: dict[str, set[int]] = {name: set() for name in names}
    if names:
        observe(model, names, feeds, lambda name, value: seen[name].add(int(value.max())), step=STEP)
    return seen


def _set_k(graph: onnx.GraphProto, node: onnx.NodeProto, k: int) -> None:
    _set_input(graph, node, 1, np.array([k], np.int64))


def _set_input(graph: onnx.GraphProto, node: onnx.NodeProto, index: int, value: NDArray[np.int64]) -> None:
    """A constant of the node's own: others may read the one it had."""
    name = f"{node.name}/fixed"
    graph.initializer.append(numpy_helper.from_array(value, name))
    node.input[index] = name


def _tell_sizes(model: onnx.ModelProto, feeds: list[Feed]) -> None:
    """Drop what nothing leads to any more, and write the outputs' sizes, but for the batch, where all runs agree."""
    _drop_idle(model.graph)
    sizes: dict[str, set[tuple[int, ...]]] = {value.name: set() for value in model.graph.output}
    observe(model, list(sizes), feeds, lambda name, value: sizes[name].add(value.shape[1:]), step=STEP)
    for value in model.graph.output:
        sides = value.type.tensor_type.shape.dim
        if len(sizes[value.name]) == 1 and len(sides) == 1 + len(shape := next(iter(sizes[value.name]))):
            for side, size in zip(sides[1:], shape, strict=True):
                side.Clear()
                side.dim_value = size


def _drop_idle(graph: onnx.GraphProto) -> None:
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
            needed.update(read_by(node))
    del graph.node[:]
    graph.node.extend(reversed(kept))
    drop_unread(graph)
