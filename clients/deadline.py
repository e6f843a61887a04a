"""The moment by which a call must have ended."""

import time

TIMER_S = 0.005
"""Closer to the deadline than that, whatever ends for want of time ends by it. uvloop's timers are whole milliseconds:
of one set a little later than another, for the same moment, it cannot be told which of them is first."""


class Deadline:
    """One moment for a whole call, its retries and the pauses between them included."""

    def __init__(self, allowed_s: float) -> None:
        self.allowed_s = allowed_s
        self._at_s = time.monotonic() + allowed_s

    def shorten(self, allowed_s: float) -> None:
        """Have it end within `allowed_s` from now, where that is sooner."""
        if allowed_s < self.remaining_s():
            self.allowed_s, self._at_s = allowed_s, time.monotonic() + allowed_s

    def remaining_s(self) -> float:
        """Never negative."""
        return max(0.0, self._at_s - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether it has passed, as far as timers can tell."""
        return self.remaining_s() < TIMER_S
