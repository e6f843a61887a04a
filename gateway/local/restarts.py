"""When a process that ended by itself is started again, and when no more."""

import time
from collections import Counter
from collections.abc import Callable

CALM_S = 60.0
"""Who has been ready for as long before it ends has come back for good."""
MOST_ENDS = 3
"""In a row, each sooner than that, or before it was ready.

What passes by itself, a machine that stood still, say, hardly comes three times in a row; what stays, a model that
crashes its server or memory that is too small, comes each time.
"""


class Ends:
    """How often each process has ended soon, in a row."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._soon: Counter[str] = Counter()
        self._ready_s: dict[str, float] = {}

    def note_ready(self, name: str) -> None:
        """It answers; nothing changes for one that did already."""
        self._ready_s.setdefault(name, self._clock_s())

    def note_end(self, name: str) -> bool:
        """Whether it may be started again."""
        ready_s = self._ready_s.pop(name, None)
        calm = ready_s is not None and self._clock_s() - ready_s >= CALM_S
        self._soon[name] = 0 if calm else self._soon[name] + 1
        return self._soon[name] < MOST_ENDS
