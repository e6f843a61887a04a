"""A detector of pytorch-ssd: an `mb1-ssd` checkpoint, or the ONNX that its `onnx_export.py` wrote.

kind: pytorch-ssd
checkpoint: {file: mb1-ssd_plate-01234567.pth}      # or  onnx: ssd-mobilenet.onnx
labels: labels.txt                                  # with a first line BACKGROUND, or without
"""

from pathlib import Path
from typing import Literal

import numpy as np
import onnxruntime as ort
from pydantic import TypeAdapter, model_validator

from builder.archive import file_from_path
from builder.frameworks.pytorch_ssd.labels import foreground_labels
from builder.frameworks.pytorch_ssd.layout import BOXES, SCORES, head, steps
from builder.graphs.graph import model_from_bytes
from builder.graphs.session import cpu_session
from builder.recipes.parts import Checkpoint, LabelSettings, Part, RecipePath
from builder.source import Source, labels_from_file
from vision.contract import SsdHead, Step
from vision.errors import BuildError

STEP = "contract"
STEPS: TypeAdapter[tuple[Step, ...]] = TypeAdapter(tuple[Step, ...])


class PytorchSsdSource(Part):
    """Either a checkpoint or an ONNX; how it is fed and read is pytorch-ssd's."""

    kind: Literal["pytorch-ssd"]
    checkpoint: Checkpoint | None = None
    onnx: RecipePath | None = None
    labels: LabelSettings

    @model_validator(mode="after")
    def _one_of_both(self) -> "PytorchSsdSource":
        if (self.checkpoint is None) == (self.onnx is None):
            raise ValueError("expected either checkpoint or onnx")
        return self


def source_from_settings(settings: PytorchSsdSource) -> Source:
    """Read the ONNX.

    Raises:
        BuildError: it is not in pytorch-ssd's layout, or the labels do not fit it.
    """
    if settings.onnx is None:
        raise BuildError(STEP, "this recipe has a checkpoint and no onnx; the frameworks' environment exports it")
    data = file_from_path(settings.onnx)
    input_name, size_hw, columns = _layout(data, settings.onnx.name)
    lines = labels_from_file(settings.labels) if isinstance(settings.labels, Path) else settings.labels
    try:
        labels = foreground_labels(lines, columns)
    except ValueError as exc:
        raise BuildError(STEP, str(exc)) from exc
    return Source(
        name=settings.onnx.name,
        onnx=data,
        task="detection",
        labels=labels,
        input_name=input_name,
        layout="NCHW",
        preprocess=STEPS.validate_python(steps(size_hw), strict=False),
        postprocess=SsdHead.model_validate(head()),
        precision="fp32",
    )


def _layout(data: bytes, name: str) -> tuple[str, tuple[int, int], int]:
    """The input's name, height and width, and the columns of `scores`.

    Outputs are measured on one blank picture: exports with a dynamic batch often lose their shapes.
    """
    model_from_bytes(data, name)
    try:
        session = cpu_session(data)
    except Exception as exc:
        raise BuildError(STEP, f"ONNX Runtime {ort.__version__} cannot load {name}: {exc}") from exc
    taken = {value.name: value.shape for value in session.get_inputs()}
    given = [value.name for value in session.get_outputs()]
    match list(taken.items()):
        case [(input_name, [_, 3, int(height), int(width)])] if {SCORES, BOXES} <= set(given):
            blank = np.zeros((1, 3, height, width), np.float32)
            scores, boxes = (np.asarray(value) for value in session.run([SCORES, BOXES], {input_name: blank}))
            if scores.ndim == boxes.ndim and scores.shape[:2] == boxes.shape[:2] and boxes.shape[2:] == (4,):
                return input_name, (height, width), scores.shape[2]
            given = [f"{SCORES} {list(scores.shape)}", f"{BOXES} {list(boxes.shape)}"]
    raise BuildError(
        STEP,
        f"{name} takes {taken} and gives {', '.join(given)}; expected pytorch-ssd's layout: one input [n, 3, h, w], "
        f"{SCORES!r} [n, priors, 1 + classes] and {BOXES!r} [n, priors, 4]",
    )
