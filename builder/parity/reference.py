"""What the published model is held against: photos, and the source's own answers to them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.frameworks.job import Answer

FLOOR = 0.001
"""Boxes from here on are asked for; which of them must agree, the gate decides."""
MOST_BOXES = 300


@dataclass(frozen=True, slots=True)
class Reference:
    """One photo as encoded bytes, and how its source answers it."""

    name: str
    data: bytes
    answer: Answer


def references_from_folder(photos: Iterable[Path], answers: Path) -> Iterator[Reference]:
    """The photos with the answers that `infer` wrote into `answers`: 00000.npz, 00001.npz, … in their order.

    An answer holds whole tensors: its file is deleted when the next one is asked for.
    """
    for number, photo in enumerate(photos):
        path = answers / f"{number:05}.npz"
        yield Reference(photo.name, photo.read_bytes(), Answer.load(path))
        path.unlink()
