"""Where a network leaves the range of float16: measured, and named by node."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from builder.graphs.layers import dtypes, named_copy, tensors_between
from builder.graphs.observe import Feed, observe

STEP = "precision"
LARGEST = float(np.finfo(np.float16).max)  # 65504
SMALLEST = float(np.finfo(np.float16).tiny)  # 6.1e-5; below it float16 loses digits
MEASURED = 16
"""Photos at most: magnitudes are settled by a few, and every inner tensor is computed."""
HEADROOM = 2.0
"""Another photo may go this much further than those that were measured."""


@dataclass(frozen=True, slots=True)
class Span:
    """The magnitudes that a node's float outputs reached. `largest` is inf where one was not finite."""

    largest: float
    is_finite: bool

    @property
    def overflows(self) -> bool:
        """Whether float16 could not hold it, with some room to spare."""
        return not self.is_finite or self.largest * HEADROOM > LARGEST

    @property
    def vanishes(self) -> bool:
        """Whether all of it lies where float16 loses digits or rounds to 0."""
        return 0 < self.largest < SMALLEST


def first_overflow(model: onnx.ModelProto, feeds: Iterable[Feed]) -> str | None:
    """The first node, in the order of computation, that makes inf or nan out of finite numbers; None without one.

    Raises:
        BuildError: ONNX Runtime cannot run the graph.
    """
    named = named_copy(model)
    known = dtypes(named)
    outputs = [
        name
        for node in named.graph.node
        for name in node.output
        if known.get(name) in (TensorProto.FLOAT, TensorProto.FLOAT16)
    ]
    broken: set[str] = set()

    def look(name: str, value: NDArray[np.floating]) -> None:
        if not np.isfinite(value).all():
            broken.add(name)

    observe(named, outputs, _some(feeds), look, step=STEP)
    first = next((node for node in named.graph.node if broken.intersection(node.output)), None)
    if first is not None and first.op_type == "Cast":  # what it was given is beyond the range it casts to
        return next((node.name for node in named.graph.node if first.input[0] in node.output), first.name)
    return None if first is None else first.name


def spans(named: onnx.ModelProto, feeds: Iterable[Feed]) -> dict[str, Span]:
    """The magnitudes of every node's float32 outputs, by node name, in the graph's order.

    Args:
        named: a `builder.graphs.layers.named_copy`.
        feeds: of which the first `MEASURED` count.

    Raises:
        BuildError: ONNX Runtime cannot run the graph.
    """
    known = dtypes(named)
    makers = {name: node.name for node in named.graph.node for name in node.output}
    outputs = tensors_between(named.graph, known, set(makers.values()))
    largest: dict[str, float] = {}

    def look(name: str, value: NDArray[np.floating]) -> None:
        reached = float(np.abs(value).max(initial=0.0)) if np.isfinite(value).all() else np.inf
        largest[makers[name]] = max(largest.get(makers[name], 0.0), reached)

    observe(named, outputs, _some(feeds), look, step=STEP)
    return {
        node.name: Span(largest[node.name], bool(np.isfinite(largest[node.name])))
        for node in named.graph.node
        if node.name in largest
    }


def _some(feeds: Iterable[Feed]) -> list[Feed]:
    return list(islice(feeds, MEASURED))
