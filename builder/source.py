"""What every kind of source comes down to before anything is built from it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from builder.recipes import labels
from vision.contract import Decode, Head, Interpolation, Library, Step
from vision.errors import BuildError


@dataclass(frozen=True, slots=True)
class Source:
    """A network as ONNX, with what its makers said about it. Nothing in here has been checked against the graph."""

    name: str
    onnx: bytes
    task: Literal["detection", "classification"]
    labels: tuple[str, ...]
    input_name: str
    layout: Literal["NHWC", "NCHW"]
    preprocess: tuple[Step, ...]
    postprocess: Head
    precision: Literal["fp32", "fp16", "int8"]
    decode: Decode = "exact"
    tools: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What the source leaves unsaid and what was therefore taken; for the person who imports."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the person who imports wants otherwise than the source says; None leaves it to the source."""

    labels: Path | None = None
    score_threshold: float | None = None
    max_detections: int | None = None
    top_k: int | None = None
    resize_library: Library | None = None
    resize_interpolation: Interpolation | None = None
    decode: Decode | None = None


def check_wishes(wishes: Wishes, task: str, is_bundle: bool) -> None:
    """Refuse options that would change nothing.

    Raises:
        BuildError: naming the option and what it is for.
    """
    detection = {"--score-threshold": wishes.score_threshold, "--max-detections": wishes.max_detections}
    lost = {"--resize-library": wishes.resize_library, "--resize-interpolation": wishes.resize_interpolation}
    idle = {"--top-k": wishes.top_k} if task == "detection" else detection
    for option, value in (idle if is_bundle else {**idle, **lost}).items():
        if value is not None:
            what = "a bundle; a recipe says it itself" if option in lost else "another task"
            raise BuildError("contract", f"{option} is for {what}, and this is {task}: leave it out")


def check_labels(source: Source) -> None:
    """Wherever they came from: a list, a file, or the network's own metadata.

    Raises:
        BuildError: one is empty, or not printable.
    """
    for number, label in enumerate(source.labels):
        if (problem := labels.problem_of_label(label)) is not None:
            raise BuildError("contract", f"{source.name}: label id {number}: a label {problem}")


def labels_from_text(text: str, where: str) -> tuple[str, ...]:
    """As `builder.recipes.labels` reads them.

    Raises:
        BuildError: an empty line, which would shift every id after it, or no labels at all.
    """
    try:
        return labels.labels_from_text(text, where)
    except labels.LabelsError as exc:
        raise BuildError("contract", str(exc)) from exc


def labels_from_file(path: Path) -> tuple[str, ...]:
    """As `builder.recipes.labels` reads them.

    Raises:
        BuildError: what that finds wrong.
    """
    try:
        return labels.labels_from_file(path)
    except labels.LabelsError as exc:
        raise BuildError("contract", str(exc)) from exc
