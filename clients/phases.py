"""Where a request's time went."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Phases:
    """Wall-clock seconds of each phase, in the order the phases were first entered. Phases follow one another."""

    def __init__(self) -> None:
        self._started_s = time.perf_counter()
        self._spent_s: dict[str, float] = {}

    def add(self, phase: str, spent_s: float) -> None:
        self._spent_s[phase] = self._spent_s.get(phase, 0.0) + spent_s

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """Count the block's time, also when it fails."""
        started_s = time.perf_counter()
        try:
            yield
        finally:
            self.add(phase, time.perf_counter() - started_s)

    def total_s(self) -> float:
        """Seconds since the request began."""
        return time.perf_counter() - self._started_s

    def seconds(self) -> dict[str, float]:
        """Each phase so far, without the total."""
        return dict(self._spent_s)

    def milliseconds(self) -> dict[str, float]:
        """Each phase so far and `total`, to the microsecond."""
        return {name: round(spent_s * 1e3, 3) for name, spent_s in (self._spent_s | {"total": self.total_s()}).items()}
