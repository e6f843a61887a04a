"""Where a request's time went."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

NOBODYS = ""
"""The phase of time that is in no phase and not in the total either."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Some of a phase, in seconds of `time.perf_counter`."""

    phase: str
    began_s: float
    ended_s: float


class Traced(Protocol):
    """The trace that a request is part of."""

    def call(self, began_s: float, address: str) -> Sequence[tuple[str, str]]:
        """Metadata for a call to the server at that address, whose spans come under one of this call."""


class Phases:
    """Wall-clock time in phases that follow one another: each begins where the one before it ended.

    So nothing is counted twice, and what is left of the total is only what came after the last mark. A mark costs a
    look at the clock and an entry in a list.
    """

    __slots__ = ("_ends", "_skipped_s", "began_s", "exact", "traced")

    def __init__(self, *, traced: Traced | None = None) -> None:
        self.traced = traced
        self.exact: bool | None = None
        """Whether Triton could tell what it took for this very request; None where it is not asked."""
        self.began_s = time.perf_counter()
        self._ends: list[tuple[str, float]] = []
        self._skipped_s = 0.0

    @property
    def marked_s(self) -> float:
        """When the last phase ended, or the request began."""
        return self._ends[-1][1] if self._ends else self.began_s

    def mark(self, phase: str) -> None:
        """`phase` ends now: all since the phase before it is its time. A phase may come again."""
        self._ends.append((phase, time.perf_counter()))

    def mark_at(self, phase: str, ended_s: float) -> None:
        """The same for a time that has passed, which must not be before the last mark."""
        self._ends.append((phase, ended_s))

    def skip(self) -> None:
        """All since the last mark was not the request's: it counts for no phase, and not for the total."""
        now_s = time.perf_counter()
        self._skipped_s += now_s - self.marked_s
        self._ends.append((NOBODYS, now_s))

    def divide(self, phase: str, parts: Sequence[tuple[str, float]]) -> None:
        """Give `parts`, names and seconds, of the last `phase` there was to others; never more than it took."""
        last = next(index for index in reversed(range(len(self._ends))) if self._ends[index][0] == phase)
        began_s = self._ends[last - 1][1] if last else self.began_s
        wanted_s, had_s = sum(seconds for _, seconds in parts), self._ends[last][1] - began_s
        scale = had_s / wanted_s if wanted_s > had_s else 1.0
        ends = []
        for part, seconds in parts:
            began_s += seconds * scale
            ends.append((part, began_s))
        self._ends[last:last] = ends

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """`phase` ends with the block, also when that fails."""
        try:
            yield
        finally:
            self.mark(phase)

    def total_s(self) -> float:
        """Seconds since the request began, without those that were skipped."""
        return time.perf_counter() - self.began_s - self._skipped_s

    def seconds(self) -> dict[str, float]:
        """Each phase so far, without the total, in the order they first came."""
        spent_s: dict[str, float] = {}
        began_s = self.began_s
        for phase, ended_s in self._ends:
            spent_s[phase] = spent_s.get(phase, 0.0) + ended_s - began_s
            began_s = ended_s
        spent_s.pop(NOBODYS, None)
        return spent_s

    def milliseconds(self) -> dict[str, float]:
        """Each phase so far and `total`, to the microsecond."""
        total_s = self.total_s()
        spent_ms = {phase: round(spent_s * 1e3, 3) for phase, spent_s in self.seconds().items()}
        spent_ms["total"] = round(total_s * 1e3, 3)
        return spent_ms

    def intervals(self) -> list[Interval]:
        """All phases as they came, without what was skipped."""
        intervals, began_s = [], self.began_s
        for phase, ended_s in self._ends:
            if phase != NOBODYS:
                intervals.append(Interval(phase, began_s, ended_s))
            began_s = ended_s
        return intervals
