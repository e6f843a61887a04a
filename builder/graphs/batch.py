"""A graph that was exported for one image, made to take any number of them where its nodes allow it."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from builder.graphs.layers import drop_unread, inferred, named_copy

SYMBOL = "batch"


def with_dynamic_batch(model: onnx.ModelProto, input_name: str) -> onnx.ModelProto | None:
    """The graph with a symbolic first side, the same object where it has one already, or None where it cannot be.

    What fixes a batch of 1 and can be freed: the first side of inputs and outputs, a leading 1 in the constant shape of
    a Reshape, and the constant sizes of a Resize, which become scales. Whether two images at once are then answered as
    each alone is not known here: `builder.verify` runs them.
    """
    value = next((value for value in model.graph.input if value.name == input_name), None)
    if value is None or not value.type.tensor_type.shape.dim:
        return None
    first = value.type.tensor_type.shape.dim[0]
    if not first.HasField("dim_value") or first.dim_value < 1:
        return model
    if first.dim_value != 1:
        return None
    result = named_copy(model)
    shapes = _shapes(model)
    constants = {t.name: numpy_helper.to_array(t) for t in result.graph.initializer if t.data_type == TensorProto.INT64}
    for node in result.graph.node:
        if node.op_type == "Reshape" and (shape := constants.get(node.input[1])) is not None:
            _free_reshape(result.graph, node, shape)
        if node.op_type == "Resize" and len(node.input) > 3 and (sizes := constants.get(node.input[3])) is not None:
            if (scales := _scales(shapes.get(node.input[0]), sizes)) is None:
                return None
            _scale_resize(result.graph, node, scales)
    drop_unread(result.graph)
    _free_values(result, input_name)
    return result if _is_consistent(result) else None


def _shapes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """Of every tensor whose sides are all known."""
    graph = inferred(model)
    known = {}
    for value in (*graph.input, *graph.value_info):
        sides = [side.dim_value for side in value.type.tensor_type.shape.dim]
        if sides and all(sides):
            known[value.name] = sides
    return known


def _free_reshape(graph: onnx.GraphProto, node: onnx.NodeProto, shape: NDArray[np.int64]) -> None:
    """[1, …] becomes [-1, …], or [0, …], the input's own first side, where another side is -1 already."""
    if len(shape) == 0 or shape[0] != 1 or any(a.name == "allowzero" and a.i for a in node.attribute):
        return
    freed = shape.copy()
    freed[0] = 0 if (shape == -1).any() else -1
    _replace(graph, node, 1, freed)


def _scales(before: list[int] | None, sizes: NDArray[np.int64]) -> NDArray[np.float32] | None:
    """What turns the sides before into `sizes`, to the pixel; None where no float32 does."""
    if before is None or len(before) != len(sizes) or sizes[0] != before[0]:
        return None
    scales: NDArray[np.float32] = np.divide(sizes, before).astype(np.float32)
    made = np.floor(np.array(before, np.float32) * scales).astype(np.int64)
    return scales if np.array_equal(made, sizes) else None


def _scale_resize(graph: onnx.GraphProto, node: onnx.NodeProto, scales: NDArray[np.float32]) -> None:
    del node.input[3:]
    _replace(graph, node, 2, scales)


def _replace(
    graph: onnx.GraphProto, node: onnx.NodeProto, position: int, value: NDArray[np.int64] | NDArray[np.float32]
) -> None:
    """A constant of the node's own: others may read the one it had."""
    name = f"{node.name}/{SYMBOL}"
    graph.initializer.append(numpy_helper.from_array(value, name))
    node.input[position] = name


def _free_values(model: onnx.ModelProto, input_name: str) -> None:
    graph = model.graph
    del graph.value_info[:]  # they speak of a batch of 1
    for value in (*(v for v in graph.input if v.name == input_name), *graph.output):
        sides = value.type.tensor_type.shape.dim
        if len(sides) and sides[0].dim_value == 1:
            sides[0].CopyFrom(onnx.TensorShapeProto.Dimension(dim_param=SYMBOL))


def _is_consistent(model: onnx.ModelProto) -> bool:
    """Whether shapes still fit each other, and no output is left with a batch of its own."""
    try:
        graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    except (onnx.shape_inference.InferenceError, RuntimeError):
        return False
    return all(not _is_fixed(value) for value in graph.output)


def _is_fixed(value: onnx.ValueInfoProto) -> bool:
    sides = value.type.tensor_type.shape.dim
    return bool(len(sides)) and sides[0].dim_value > 0
