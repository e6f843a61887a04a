"""A recording of TensorRT's Python module: the names it has and what its functions take, and nothing that runs."""

import gzip
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

RECORDINGS = Path(__file__).parent / "recordings"
Overloads = list[str]
"""What a function takes, `self` included, as pybind11 says it: `self: Runtime, name: str, index: int = 0`."""


class ClassSurface(TypedDict):
    """Its own members; inherited ones stand with the base. A property is readable (`r`), writable (`w`) or both."""

    bases: list[str]
    methods: dict[str, Overloads]
    properties: dict[str, str]
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Surface:
    """One version. Names within a class are dotted: `ILogger.Severity`. Values name their enum's: `DataType.HALF`.

    `source` is the wheel, or the source, that was read.
    """

    source: str
    version: str
    classes: dict[str, ClassSurface]
    enums: dict[str, dict[str, int]]
    functions: dict[str, Overloads]
    values: dict[str, str]


def versions() -> list[str]:
    """What there are recordings of, oldest first."""
    names = [path.name.removesuffix(".json.gz") for path in RECORDINGS.glob("*.json.gz")]
    return sorted(names, key=lambda name: tuple(map(int, name.split("."))))


def surface_of(version: str) -> Surface:
    """The recording of a version."""
    return Surface(**json.loads(gzip.decompress((RECORDINGS / f"{version}.json.gz").read_bytes())))


def write(surface: Surface) -> Path:
    """Keep a recording; the same one is the same bytes."""
    path = RECORDINGS / f"{surface.version}.json.gz"
    text = json.dumps(asdict(surface), separators=(",", ":"), sort_keys=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return path
