"""Raw predictions that cannot be what their head takes them for: what shapes alone do not tell apart."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision.contract import ClassifierHead, Contract, SsdHead, YoloHead
from vision.errors import BuildError
from vision.heads import yolo

STEP = "verify"
SLACK = 1e-3  # of probabilities
LAST_ACTIVATION = "is the layout right, and the network exported with its last activation?"
FRACTIONS_END = 2.0  # px: no network has all its predictions within the first two pixels
AROUND = 0.5  # of the input's size: so far outside of it may most centres lie, in a network whose weights are random

Outputs = Mapping[str, NDArray[Any]]


def require_plausible(contract: Contract, outputs: Outputs) -> None:
    """Refuse logits for probabilities, fractions for pixels, and grids added twice or not at all.

    Raises:
        BuildError: naming the output, what was expected and what came.
    """
    match contract.postprocess:
        case ClassifierHead(activation="none") as head:
            hint = "import the ONNX with a recipe that says activation: softmax"
            _require_probabilities(head.scores, outputs[head.scores], hint)
        case SsdHead() as head:
            # Not their sum: TensorFlow's networks in this layout end in a sigmoid, which adds up to anything.
            _require_probabilities(head.scores, outputs[head.scores])
        case YoloHead() as head:
            predictions = outputs[head.predictions]
            rows = (predictions.transpose(0, 2, 1) if head.layout == "v8" else predictions).reshape(
                -1, predictions.shape[1 if head.layout == "v8" else 2]
            )
            _require_probabilities(head.predictions, rows[:, 4:5] if head.layout == "v10" else rows[:, 4:])
            _require_pixels(contract, head, rows[rows[:, 4] > 0] if head.layout == "v10" else rows)
        case _:
            pass


def _require_probabilities(name: str, scores: NDArray[Any], hint: str = LAST_ACTIVATION) -> None:
    least, most = scores.min(initial=0.0), scores.max(initial=0.0)
    if least < -SLACK or most > 1 + SLACK:
        raise BuildError(
            STEP,
            f"output {name!r} has scores from {least:.3g} to {most:.3g}, expected probabilities; {hint}",
        )


def _require_pixels(contract: Contract, head: YoloHead, rows: NDArray[Any]) -> None:
    """`rows` [k, 4 and more], of all photos."""
    if not len(rows):
        return
    if not head.strides and np.abs(rows[:, :4]).max() < FRACTIONS_END:
        raise BuildError(
            STEP,
            f"output {head.predictions!r}: every box lies within {FRACTIONS_END:g} pixels; expected network pixels."
            " Fractions are not served; YOLOX's grids may still have to be added, strides: [8, 16, 32]",
        )
    height, width = contract.input.size_hw
    if -1 in (height, width):
        return
    centres = rows[:, :2]
    if head.strides:
        cells, strides = yolo.grid((height, width), head.strides)
        if len(rows) % len(cells):
            return  # the head itself refuses it, in better words
        repeated = len(rows) // len(cells)
        centres = (centres + np.tile(cells, (repeated, 1))) * np.tile(strides, (repeated, 1))
    middle = np.median(centres, axis=0) / (width, height)
    if (middle < -AROUND).any() or (middle > 1 + AROUND).any():
        raise BuildError(
            STEP,
            f"output {head.predictions!r}: most boxes lie outside of the {width}x{height} input. Does the graph add"
            " YOLOX's grids already? Then give strides: []",
        )
