"""Photos with what is on them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.recipes.photos import SUFFIXES

STEP = "data"


@dataclass(frozen=True, slots=True)
class Box:
    """One annotated object, corners in pixels.

    `area` in square pixels decides between small, medium and large; `ignored` ones count for neither hit nor miss
    (COCO's crowds, VOC's difficult ones).
    """

    label: str
    xyxy: tuple[float, float, float, float]
    area: float
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One photo: `boxes` of a detection set, `label` of a classification set. `name` is unique within its set."""

    name: str
    path: Path
    boxes: tuple[Box, ...] = ()
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """All photos, with labels as the model calls them."""

    kind: str
    task: Literal["detection", "classification"]
    samples: tuple[Sample, ...]
    fingerprint: str
    """SHA-256 of names and annotations."""

    def first(self, limit: int | None) -> "Dataset":
        """The first `limit` photos."""
        return self if limit is None else Dataset(self.kind, self.task, self.samples[:limit], self.fingerprint)


def photos_below(folder: Path) -> list[Path]:
    """Every photo in a folder and those below it, by name."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
