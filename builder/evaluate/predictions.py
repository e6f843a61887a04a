"""What one side answers, and a file that keeps it: an evaluation that was interrupted goes on where it stopped."""

import fcntl
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from builder.frameworks.job import Answer
from vision.heads import Classification, Detections

FLOOR = 0.001
"""Scores from here on count for AP; mmdet evaluates from here, too."""
MOST_BOXES = 300
MOST_CLASSES = 5


@dataclass(frozen=True, slots=True)
class Prediction:
    """One photo's answer, best first. `boxes` x1 y1 x2 y2 in photo pixels, None of a classifier.

    `ms` is what the server itself took, where one was asked.
    """

    scores: tuple[float, ...]
    label_ids: tuple[int, ...]
    boxes: tuple[tuple[float, ...], ...] | None = None
    ms: float | None = None

    @classmethod
    def from_result(cls, result: Detections | Classification) -> "Prediction":
        boxes = tuple(map(tuple, result.boxes_xyxy.tolist())) if isinstance(result, Detections) else None
        return cls(tuple(result.scores.tolist()), tuple(result.label_ids.tolist()), boxes)

    @classmethod
    def from_answer(cls, answer: Answer) -> "Prediction":
        """A framework's answer."""
        if answer.probabilities is not None:
            best = (-answer.probabilities).argsort(kind="stable")[:MOST_CLASSES]
            return cls(tuple(answer.probabilities[best].tolist()), tuple(best.tolist()))
        if answer.scores is None or answer.label_ids is None or answer.boxes_xyxy is None:
            raise ValueError("neither probabilities nor boxes")
        best = (-answer.scores).argsort(kind="stable")[:MOST_BOXES]
        found = Detections(answer.boxes_xyxy[best], answer.scores[best], answer.label_ids[best])
        return cls.from_result(found)


class Kept:
    """Predictions by the photo's name, one JSON line each; a line that was cut off is forgotten.

    A line holds for the photo with that content. One process asks at a time, others wait for it.
    """

    def __init__(
        self,
        path: Path,
        photos: Mapping[str, str],
        fresh: bool = False,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        """`photos` are those that count, by name, with their SHA-256; `fresh` forgets all there is."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.found: dict[str, Prediction] = {}
        self._photos = photos
        self._file: IO[bytes] = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(self._file, fcntl.LOCK_EX)
        self._file.seek(0)
        self._file.truncate(0 if fresh else self._read())

    def add(self, name: str, prediction: Prediction) -> None:
        self.found[name] = prediction
        line = {"name": name, "photo": self._photos[name], **asdict(prediction)}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _read(self) -> int:
        """Take what there is; so many bytes are whole lines."""
        whole = 0
        for line in self._file.readlines():
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            values = json.loads(line)
            name, boxes = values["name"], values["boxes"]
            if values.get("photo") == self._photos.get(name, ""):
                boxes = None if boxes is None else tuple(map(tuple, boxes))
                scores, label_ids = tuple(values["scores"]), tuple(values["label_ids"])
                self.found[name] = Prediction(scores, label_ids, boxes, values["ms"])
        return whole
