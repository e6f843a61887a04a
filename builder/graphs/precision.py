"""A network in another precision: float16 or int8 inside, its inputs and outputs as they were."""

from collections.abc import Callable, Iterable, Sequence

import onnx
import onnxruntime as ort

from builder.graphs import fp16, int8
from builder.graphs.observe import Feed, again
from builder.graphs.session import cpu_session
from vision.errors import BuildError

STEP = "precision"
SHOWN = 5


def with_fp16(
    model: onnx.ModelProto, feeds: Iterable[Feed] = (), *, on_note: Callable[[str], None] = lambda note: None
) -> onnx.ModelProto:
    """The model in float16, but for what needs float32, and for nodes that left float16's range on `feeds`.

    Those are told to `on_note` by name.

    Raises:
        BuildError: nothing is left to convert, or ONNX Runtime cannot run what came out.
    """
    made = fp16.with_fp16(model, again(feeds))
    if made.kept:
        on_note(f"{_counted(made.kept)} stayed in float32, beyond the range of float16: {_listed(made.kept)}")
    _check(made.model)
    return made.model


def with_int8(
    model: onnx.ModelProto,
    feeds: Iterable[Feed],
    *,
    on_feed: Callable[[], None] = lambda: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> onnx.ModelProto:
    """The model's layers with weights in int8 by Q/DQ nodes, scales from `feeds`; see `builder.graphs.int8`.

    `on_feed` is called as each feed of the first pass is through.

    Raises:
        BuildError: no feeds, nothing to quantise, or ONNX Runtime cannot run what came out.
    """
    made = int8.with_int8(model, feeds, on_feed=on_feed)
    if made.kept:
        on_note(f"{made.layers} layers compute in int8; {_counted(made.kept)} stayed float: {_listed(made.kept)}")
    _check(made.model)
    return made.model


def _check(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model)
        cpu_session(model.SerializeToString())
    except Exception as exc:
        raise BuildError(
            STEP, f"ONNX Runtime {ort.__version__} cannot load the converted graph ({exc}); build with --precision fp32"
        ) from exc


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} node{'' if len(names) == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
