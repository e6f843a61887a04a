"""What every kind of source comes down to before anything is built from it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vision.contract import Head, Interpolation, Library, Step
from vision.errors import BuildError

MAX_LABELS_BYTES = 4 * 2**20


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


def labels_from_text(text: str, where: str) -> tuple[str, ...]:
    """One label a line, in the order of the label ids.

    Raises:
        BuildError: an empty line, which would shift every id after it, or no labels at all.
    """
    lines = [line.strip() for line in text.removeprefix("\ufeff").rstrip().splitlines()]
    if not any(lines):
        raise BuildError("contract", f"{where} holds no labels; write one label a line, in the order of the label ids")
    if empty := [number for number, line in enumerate(lines, start=1) if not line]:
        raise BuildError("contract", f"{where} has an empty line {empty[0]}; every line is a label, the first is id 0")
    return tuple(lines)


def labels_from_file(path: Path) -> tuple[str, ...]:
    """The labels in a UTF-8 text file, one a line."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LABELS_BYTES + 1)
        if len(data) > MAX_LABELS_BYTES:
            raise BuildError("contract", f"{path} is over {MAX_LABELS_BYTES} bytes; that is no list of labels")
        return labels_from_text(data.decode(), str(path))
    except (OSError, UnicodeDecodeError) as exc:
        raise BuildError("contract", f"cannot read labels from {path}: {exc}; expected a UTF-8 text file") from exc
