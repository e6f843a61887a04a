"""How long to go on trying when something in mid-stream went wrong."""

import logging
import sys
import time
from collections.abc import Callable

from clients.deadline import Deadline
from clients.retries import Retries

logger = logging.getLogger("clients.stream")

OnTrouble = Callable[[str], None]
MAX_ATTEMPT = 10
"""By then the pause has grown to its longest; what doubles for ever is no number any more."""


class Patience:
    """Counts from the first failure to the next success; says what happened once, however often it happens."""

    def __init__(self, allowed_s: float, on_trouble: OnTrouble, *, retries: int = sys.maxsize) -> None:
        self._allowed_s = allowed_s
        self._on_trouble = on_trouble
        self._retries = Retries(retries)
        self._deadline: Deadline | None = None
        self._since_s = 0.0
        self._attempt = 0
        self._told = ""
        self.failed: Exception | None = None
        """What went wrong last, since all was well."""

    def pause_s(self, error: Exception, asked_s: float = 0.0) -> float:
        """How long to wait before another attempt, with jitter; at least what the other side asked for.

        Raises:
            The error itself, when there is no more time or no more attempt.
        """
        if self._deadline is None:
            self._deadline, self._since_s = Deadline(self._allowed_s), time.monotonic()
        pause_s = self._retries.pause_s(min(self._attempt, MAX_ATTEMPT), asked_s, self._deadline.remaining_s())
        if pause_s is None:
            raise error
        self._attempt += 1
        self.failed = error
        if str(error) != self._told:
            self._told = str(error)
            self._on_trouble(f"{error}; trying again for up to {self._deadline.remaining_s():.0f} s")
        return pause_s

    def remaining_s(self) -> float:
        """What is left of the time, since something went wrong."""
        return self._allowed_s if self._deadline is None else self._deadline.remaining_s()

    def all_well(self) -> None:
        """It worked: the next failure is a first one."""
        if self._told:
            self._on_trouble(f"the stream goes on, {time.monotonic() - self._since_s:.1f} s after that")
        self._deadline, self._attempt, self._told, self.failed = None, 0, "", None


def logged(message: str) -> None:
    """What becomes of troubles where nobody asked to be told."""
    logger.warning("%s", message)
