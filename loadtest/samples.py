"""What became of every request, as the generator writes it down: a file a process, rows of one size, and the words.

    samples-PID.bin     rows of `ROW`
    samples-PID.words   one a line, `model NAME`, `outcome KIND` or `phase NAME`; rows refer to them by their number;
                        and `said KIND DETAIL`, of the first failure of a kind
    images.json         what is sent, the same of all processes

A word is on the disk before any row that refers to it, and a row that was cut off is left out, so that the files of a
process that was killed can be read.
"""

import json
import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from loadtest.record import write_text

IMAGES = "images.json"
MAX_PHASES = 14
NOBODY = 0xFFFF
ROW = np.dtype(
    [
        ("due_s", "<f8"),  # time.monotonic, as the next two; NaN where it was not
        ("sent_s", "<f8"),
        ("ended_s", "<f8"),
        ("model", "<u2"),
        ("outcome", "<u2"),
        ("images", "<u4"),
        ("phases_ms", "<f4", (MAX_PHASES,)),  # NaN of those that the answer did not have
    ]
)
PACKED = struct.Struct(f"<3d2HI{MAX_PHASES}f")
"""A row, put together ten times as quickly as NumPy does."""
MISSING = (float("nan"),) * MAX_PHASES
FLUSH_S = 0.5
NOT_SENT = "not_sent"
OK = "ok"

Rows = NDArray[Any]
"""[n] of `ROW`."""


class SampleLog:
    """Writes those of one process; flushed by the first row after `FLUSH_S`, and by `flush`."""

    def __init__(self, folder: Path) -> None:
        stem = folder / f"samples-{os.getpid()}"
        self._rows: BinaryIO = stem.with_suffix(".bin").open("wb")
        self._words: TextIO = stem.with_suffix(".words").open("w")
        self._numbers: dict[tuple[str, str], int] = {}
        self._said: set[str] = set()
        self._flushed_s = time.monotonic()

    def add(
        self,
        due_s: float,
        sent_s: float,
        ended_s: float,
        model: str,
        outcome: str,
        images: int = 0,
        phases_ms: Mapping[str, float] | None = None,
        detail: str = "",
    ) -> None:
        """Write down one request; of failures of a kind, `detail` of the first."""
        if detail and outcome not in self._said:
            self._said.add(outcome)
            self._words.write(f"said {outcome} {' '.join(detail.split())}\n")
            self._words.flush()
        phases = MISSING
        if phases_ms:
            spent = list(MISSING)
            for phase, spent_ms in phases_ms.items():
                if (number := self._number("phase", phase)) < MAX_PHASES:
                    spent[number] = spent_ms
            phases = tuple(spent)
        numbers = self._number("model", model), self._number("outcome", outcome)
        self._rows.write(PACKED.pack(due_s, sent_s, ended_s, *numbers, images, *phases))
        if time.monotonic() - self._flushed_s > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        self._rows.flush()
        self._flushed_s = time.monotonic()

    def close(self) -> None:
        self.flush()
        self._rows.close()
        self._words.close()

    def _number(self, kind: str, word: str) -> int:
        """Counted for each kind."""
        number = self._numbers.get((kind, word))
        if number is None:
            number = sum(known == kind for known, _ in self._numbers)
            self._numbers[kind, word] = number
            self._words.write(f"{kind} {word}\n")
            self._words.flush()
        return number


def write_images(folder: Path, described: dict[str, object]) -> None:
    """What is sent (`loadtest.images.described`), told by who sends it."""
    write_text(folder / IMAGES, json.dumps(described))


@dataclass
class Samples:
    """Of all processes together, in the order they were read; `models`, `outcomes` and `phases` by number."""

    rows: Rows = field(default_factory=lambda: np.zeros(0, ROW))
    models: list[str] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)
    phases: list[str] = field(default_factory=list)

    def are(self, outcome: str) -> NDArray[np.bool_]:
        """[n], which ended so."""
        number = self.outcomes.index(outcome) if outcome in self.outcomes else NOBODY
        return np.asarray(self.rows["outcome"] == number)

    def of_model(self, model: str) -> NDArray[np.bool_]:
        return np.asarray(self.rows["model"] == self.models.index(model))

    def where(self, chosen: NDArray[np.bool_]) -> "Samples":
        return Samples(self.rows[chosen], self.models, self.outcomes, self.phases)

    def in_time(self, begin_s: float, end_s: float) -> "Samples":
        """Those due then, the end excluded."""
        return self.where((self.rows["due_s"] >= begin_s) & (self.rows["due_s"] < end_s))


class SampleReader:
    """Reads what was added to the files of a folder since the last time; of `news`, since this was made."""

    def __init__(self, folder: Path, *, news: bool = False) -> None:
        self._folder = folder
        self._read = {path: path.stat().st_size for path in self._files()} if news else {}
        self._chunks: list[Rows] = []
        self._together = Samples()
        self._ended_s = self._good_s = 0.0
        self._told: dict[str, str] = {}
        self._kinds: set[str] = set()

    @property
    def said(self) -> dict[str, str]:
        """What the first failure of each kind said, of those that were read."""
        return {kind: detail for kind, detail in self._told.items() if kind in self._kinds}

    @property
    def silence_s(self) -> float:
        """From the last good answer, or the first request, to the last failure."""
        return self._ended_s - self._good_s

    def read(self) -> Samples:
        """All there are so far; takes the longer the more there are."""
        self.look()
        if self._chunks:
            self._together.rows = np.concatenate([self._together.rows, *self._chunks])
            self._chunks = []
        return self._together

    def look(self) -> None:
        """Take in what is new."""
        for path in self._files():
            done = self._read.get(path, 0)
            with path.open("rb") as file:
                file.seek(done)
                content = file.read()
            whole = len(content) // ROW.itemsize * ROW.itemsize
            if whole:
                self._read[path] = done + whole
                rows = self._translated(np.frombuffer(content[:whole], ROW), path.with_suffix(".words"))
                self._chunks.append(rows)
                self._listen(Samples(rows, self._together.models, self._together.outcomes))

    def images(self) -> dict[str, object] | None:
        """What is sent; None while nobody has told."""
        path = self._folder / IMAGES
        return dict(json.loads(path.read_text())) if path.exists() else None

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("samples-*.bin"))

    def begun(self) -> int:
        """How many processes have written a request down."""
        return len(self._read)

    def pids(self) -> list[int]:
        """Of those that have begun to write."""
        return [int(path.stem.removeprefix("samples-")) for path in self._files()]

    def _listen(self, news: Samples) -> None:
        self._kinds |= {news.outcomes[number] for number in np.unique(news.rows["outcome"])}
        ended_s, good = news.rows["ended_s"], news.are(OK)
        self._good_s = max(self._good_s or float(news.rows["due_s"][0]), float(np.max(ended_s[good], initial=0)))
        self._ended_s = max(self._ended_s, float(np.max(ended_s[np.isfinite(ended_s)], initial=0)))

    def _translated(self, rows: Rows, words: Path) -> Rows:
        """With the numbers that words have here."""
        kinds: dict[str, list[str]] = {"model": [], "outcome": [], "phase": [], "said": []}
        for line in words.read_text().splitlines():
            kind, word = line.split(" ", 1)
            kinds[kind].append(word)
        self._told = dict(said.split(" ", 1) for said in kinds["said"]) | self._told
        translated = rows.copy()
        for kind, known in (("model", self._together.models), ("outcome", self._together.outcomes)):
            translated[kind] = np.array([_place(known, word) for word in kinds[kind]], np.uint16)[rows[kind]]
        for theirs, word in enumerate(kinds["phase"][:MAX_PHASES]):
            ours = _place(self._together.phases, word)
            if ours < MAX_PHASES:
                translated["phases_ms"][:, ours] = rows["phases_ms"][:, theirs]
        unused = [place for place in range(MAX_PHASES) if place not in self._places(kinds["phase"])]
        translated["phases_ms"][:, unused] = np.nan
        return translated

    def _places(self, words: list[str]) -> set[int]:
        return {self._together.phases.index(word) for word in words[:MAX_PHASES]}


def _place(known: list[str], word: str) -> int:
    if word not in known:
        known.append(word)
    return known.index(word)
