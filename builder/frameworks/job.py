"""One job for the frameworks' environment, and how it reports: standard library and NumPy only.

A job is a JSON file. Its answers are files in `out`; its progress is JSON lines on standard output:

    {"progress": [3, 20], "text": "photo-3.jpg"}     done and total, and what is at hand
    {"note": "…"}                                    for the person who builds
    {"error": "…", "step": "export"}                 the last line of a job that failed; exit code 1

`export` writes `model.onnx`, and `source.json`: the fields of `builder.source.Source` but for the ONNX, the steps and
the head in the contract's own form. `infer` writes `00000.npz`, `00001.npz`, … in the order of the photos, each with

    tensor             float32 [3, h, w], as the network takes it: colour order, normalisation and all
    outputs/NAME       raw outputs by the ONNX's names, without the batch; none where the framework has none to compare
    boxes_xyxy, scores, label_ids     detections in photo pixels, best first, everything above `score_floor`
    probabilities      float32 [classes], for a classifier
"""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray


class JobError(Exception):
    """What the person who builds must be told: what was expected, what came, what to do. `step` names where."""

    def __init__(self, step: str, detail: str) -> None:
        super().__init__(detail)
        self.step = step
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Job:
    """As written by `builder/worker.py`. `source` is the recipe's `source`, every path in it absolute.

    `checkpoint` None is random weights from `seed`. `trust_checkpoint` allows a pickle that is more than tensors.
    """

    command: Literal["export", "infer"]
    kind: str
    source: dict[str, Any]
    out: Path
    checkpoint: Path | None
    seed: int = 0
    trust_checkpoint: bool = False
    photos: tuple[Path, ...] = ()
    score_floor: float = 0.0
    labels: tuple[str, ...] | None = None

    @classmethod
    def from_file(cls, path: Path) -> "Job":
        values = json.loads(path.read_text())
        paths = {
            "out": Path(values["out"]),
            "checkpoint": None if values.get("checkpoint") is None else Path(values["checkpoint"]),
            "photos": tuple(Path(photo) for photo in values.get("photos", ())),
            "labels": None if values.get("labels") is None else tuple(values["labels"]),
        }
        return cls(**{**values, **paths})


@dataclass(frozen=True, slots=True)
class Telling:
    """The lines of standard output, which libraries that print there must not reach."""

    stream: TextIO

    @classmethod
    def instead_of_stdout(cls) -> "Telling":
        """Keep standard output for this, and send what everybody else prints there to standard error."""
        own = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        return cls(own)

    def progress(self, done: int, total: int, text: str = "") -> None:
        self._line({"progress": [done, total], "text": text})

    def note(self, text: str) -> None:
        self._line({"note": text})

    def error(self, step: str, text: str) -> None:
        self._line({"error": text, "step": step})

    def _line(self, value: Mapping[str, Any]) -> None:
        self.stream.write(json.dumps(value) + "\n")
        self.stream.flush()


@dataclass(frozen=True, slots=True)
class Answer:
    """One photo through the framework's own inference, as the module's docstring lists it."""

    tensor: NDArray[np.float32]
    outputs: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    boxes_xyxy: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None
    label_ids: NDArray[np.int64] | None = None
    probabilities: NDArray[np.float32] | None = None

    def save(self, path: Path) -> None:
        """Written aside and renamed, so that a file that is there is whole."""
        named = ("tensor", "boxes_xyxy", "scores", "label_ids", "probabilities")
        arrays = {name: getattr(self, name) for name in named if getattr(self, name) is not None}
        arrays.update({f"outputs/{name}": value for name, value in self.outputs.items()})
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Answer":
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        outputs = {name.removeprefix("outputs/"): arrays.pop(name) for name in list(arrays) if "/" in name}
        return cls(outputs=outputs, **arrays)
