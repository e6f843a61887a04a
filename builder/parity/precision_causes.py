"""Where a network of low precision gives way, found by running it with its inner values looked at."""

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from builder.graphs.overflow import first_overflow
from builder.graphs.session import cpu_session
from builder.verify import Side

CUT = 1.5
"""Values this many times beyond a scale's range are cut so hard that its calibration never saw them."""
IDLE = 0.02
"""A scale of whose range so little is used leaves a handful of its 256 steps."""
MAX_QUANTISED = 400
MOST_EXCESS_DB = 3.0
"""Of rounding errors above those of the best scales for the photos, in the mean of all: docs/06-parity.md."""
MOST_CUT = 0.03
"""Of one activation's values. Calibrated on photos like those served it is below 0.01."""
MANY_VALUES = 1_000
"""Of one image: of fewer (squeeze-and-excitation has 8) a share says nothing, one value is past any limit."""
STRETCHES = 2.0 ** (np.arange(-16, 17) / 2)
"""A scale is held against itself so many times as wide."""
OWN = 16
"""The place of 1 in them."""
MAX_VALUES = 20_000
"""Of one activation of one photo, evenly taken."""
CALIBRATE = "calibrate on photos like those that will be served"

Range = tuple[float, float]
"""The least and the largest value that a scale keeps."""


def overflowing_node(side: Side, batches: Sequence[NDArray[Any]]) -> str | None:
    """The first node of a float16 network that makes something infinite of `batches`, each [1, ...]; None if none."""
    model = onnx.load_model_from_string(side.model)
    return first_overflow(model, [{side.contract.input.name: batch} for batch in batches])


def unfit_calibration(side: Side, batches: Sequence[NDArray[Any]]) -> str | None:
    """That an INT8 network's scales were not made for such photos, in words, with the worst by name; None if they fit.

    A scale is held against the best one for these same values, so that what is hard to quantise is not blamed on it.
    """
    session, scales = _with_activations(side)
    errors = {name: np.zeros(len(STRETCHES)) for name in scales}
    largest, cut = dict.fromkeys(scales, 0.0), dict.fromkeys(scales, 0.0)
    for batch in batches:
        for name, value in zip(scales, session.run(list(scales), {side.contract.input.name: batch}), strict=True):
            values = np.asarray(value, np.float32).ravel()
            largest[name] = max(largest[name], float(np.abs(values).max(initial=0.0)))
            least, most = scales[name]
            if values.size >= MANY_VALUES:
                cut[name] += float(((values < least) | (values > most)).mean()) / len(batches)
            errors[name] += _squared_errors(values[:: len(values) // MAX_VALUES | 1], scales[name])
    if not scales:
        return None
    excess = {name: _excess(error) for name, error in errors.items()}
    mean, most_cut = statistics.fmean(excess.values()), max(cut, key=lambda name: cut[name])
    if cut[most_cut] > MOST_CUT:
        return (
            f"the INT8 scale of {most_cut!r} keeps {_told(scales[most_cut])} and cuts off {cut[most_cut]:.1%} of its "
            f"values, tolerance {MOST_CUT:.0%}"
        )
    if mean <= MOST_EXCESS_DB:
        return None
    worst = max(excess, key=lambda name: excess[name])
    return (
        f"the INT8 scale of {worst!r} keeps {_told(scales[worst])} of values up to {largest[worst]:.4g}, and all "
        f"scales round with {mean:.1f} dB more error in the mean than fitting ones, tolerance {MOST_EXCESS_DB:g}"
    )


def _excess(errors: NDArray[np.float64]) -> float:
    """By how many dB the squared error of a scale as it is lies above the least of those it was held against."""
    least = max(float(errors.min()), np.finfo(np.float64).tiny)
    return 10 * math.log10(max(float(errors[OWN]), least) / least)


def _squared_errors(values: NDArray[np.float32], kept: Range) -> NDArray[np.float64]:
    """[len(STRETCHES)]; of rounding to 256 steps between the two ends, stretched about 0."""
    least, most = kept
    step = (most - least) / 255
    found = []
    for stretch in STRETCHES:
        rounded = np.clip(np.rint(values / (step * stretch)) * (step * stretch), least * stretch, most * stretch)
        found.append(np.square(values - rounded, dtype=np.float64).sum())
    return np.array(found)


def unfit_scale(side: Side, batch: NDArray[Any]) -> str | None:
    """The INT8 scale that fits the photo worst, in words; None if all fit. `batch` is what the graph takes, [1, ...].

    The graph is run with every activation that is quantised as a further output.
    """
    session, scales = _with_activations(side)
    worst, told = CUT, None
    idle = []
    for name, value in zip(scales, session.run(list(scales), {side.contract.input.name: batch}), strict=True):
        largest, reach = float(np.abs(np.asarray(value)).max(initial=0.0)), max(map(abs, scales[name]))
        if largest > worst * reach:
            worst = largest / reach
            told = f"{name!r} reaches {largest:.4g} here, and its INT8 scale keeps {_told(scales[name])}"
        elif largest < IDLE * reach:
            idle.append(f"{name!r} reaches {largest:.4g} here, and its INT8 scale is made for up to {reach:.4g}")
    if told is None and len(idle) * 2 > len(scales):
        told = idle[0]
    return None if told is None else f"{told}: {CALIBRATE}"


def _told(kept: Range) -> str:
    return f"{kept[0]:.4g} to {kept[1]:.4g}"


def _with_activations(side: Side) -> tuple[ort.InferenceSession, dict[str, Range]]:
    """The graph with every quantised activation as a further output, and the range that each one's scale keeps."""
    model = onnx.load_model_from_string(side.model)
    scales = dict(_activation_scales(model))
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in scales if name not in known)
    return cpu_session(model.SerializeToString(), as_written=True), scales


def _activation_scales(model: onnx.ModelProto) -> Iterator[tuple[str, Range]]:
    """Each quantised activation with the least and largest value that its scale can hold."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    quantisers = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    for node in quantisers[:MAX_QUANTISED]:
        scale = constants.get(node.input[1])
        if node.input[0] in constants or scale is None or scale.size != 1:
            continue
        zero = constants.get(node.input[2], np.uint8(0)) if len(node.input) > 2 else np.uint8(0)
        kind = np.iinfo(np.asarray(zero).dtype)
        offset = float(np.asarray(zero).item())
        yield node.input[0], (float(scale.item()) * (kind.min - offset), float(scale.item()) * (kind.max - offset))
