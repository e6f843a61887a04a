"""A network run with its inner tensors in view, a few at a time so that memory stays bounded."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto

from builder.graphs.layers import inferred
from builder.graphs.session import cpu_session
from vision.errors import BuildError

Feed = dict[str, NDArray[Any]]
Visit = Callable[[str, NDArray[Any]], None]

BUDGET_BYTES = 512 * 2**20
UNKNOWN_BYTES = 8 * 2**20
"""Taken for a tensor whose shape is not known beforehand."""


def again(feeds: Iterable[Feed]) -> Iterable[Feed]:
    """The feeds as something that can be gone through more than once."""
    return list(feeds) if isinstance(feeds, Iterator) else feeds


def observe(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    feeds: Iterable[Feed],
    visit: Visit,
    *,
    step: str,
    on_feed: Callable[[], None] = lambda: None,
) -> None:
    """Run the model on every feed and `visit(name, value)` each of `tensors`, in the order of the feeds.

    At most `BUDGET_BYTES` of tensors are held at once: where all do not fit, the feeds are run more than once.

    Raises:
        BuildError: naming `step`; ONNX Runtime cannot run the graph on a feed.
    """
    feeds = again(feeds)
    for number, chunk in enumerate(_chunks(model, tensors)):
        session = _session(model, chunk, step)
        for feed in feeds:
            try:
                values = session.run(chunk, feed)
            except Exception as exc:
                raise BuildError(step, f"the graph fails while it is measured: {str(exc).splitlines()[0]}") from exc
            for name, value in zip(chunk, values, strict=True):
                visit(name, np.asarray(value))
            if number == 0:
                on_feed()


def _session(model: onnx.ModelProto, tensors: Sequence[str], step: str) -> ort.InferenceSession:
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    given = {value.name for value in seen.graph.output}
    seen.graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors if name not in given)
    try:
        return cpu_session(seen.SerializeToString(), as_written=True)
    except Exception as exc:
        raise BuildError(step, f"ONNX Runtime {ort.__version__} cannot load the graph to be measured: {exc}") from exc


def _chunks(model: onnx.ModelProto, tensors: Sequence[str]) -> Iterator[list[str]]:
    sizes = _sizes(model)
    chunk: list[str] = []
    held = 0
    for name in tensors:
        size = sizes.get(name, UNKNOWN_BYTES)
        if chunk and held + size > BUDGET_BYTES:
            yield chunk
            chunk, held = [], 0
        chunk.append(name)
        held += size
    if chunk:
        yield chunk


def _sizes(model: onnx.ModelProto) -> dict[str, int]:
    """Bytes of each tensor for a batch of one, where every other side is known."""
    sizes = {}
    for value in inferred(model).value_info:
        shape = value.type.tensor_type.shape
        sides = [side.dim_value for side in shape.dim[1:]]
        if value.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.FLOAT16) and all(sides):
            sizes[value.name] = 4 * int(np.prod(sides, dtype=np.int64))
    return sizes
