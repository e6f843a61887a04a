"""Signals that end a series of runs between two steps, never in the middle of putting something back."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):  # noqa: N818 - what happened
    """Somebody asked for the end; `status` is 128 and the signal's number, as shells have it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.status = 128 + number


class Interrupts:
    """In a `with`, such a signal sets `stop`, and nothing else happens until `check`. On the main thread only."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._number: int | None = None

    def check(self) -> None:
        """Nothing, unless there was one.

        Raises:
            Interrupted: there was.
        """
        if self._number is not None:
            raise Interrupted(self._number)

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in ENDING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: FrameType | None) -> None:
        self._number = number
        self.stop.set()
