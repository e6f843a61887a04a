"""The moment by which a call must have ended."""

import time


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
