"""Calls at their time to some tens of microseconds, in an event loop whose own timers are a millisecond late.

epoll, which asyncio waits with, counts whole milliseconds; a timerfd, which it waits for, has the kernel's own clock.
"""

import asyncio
import ctypes
import heapq
import os
import time
from collections.abc import Callable
from itertools import count

MONOTONIC, NONBLOCK, ABSOLUTE = 1, os.O_NONBLOCK, 1
LIBC = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Timer(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Calls:
    """Those that are to come, in the running event loop."""

    def __init__(self) -> None:
        self._timer: int = LIBC.timerfd_create(MONOTONIC, NONBLOCK)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        asyncio.get_running_loop().add_reader(self._timer, self._run)

    def at(self, time_s: float, call: Callable[[], None]) -> None:
        """Call it when `time.monotonic()` is that."""
        heapq.heappush(self._due, (time_s, next(self._numbers), call))
        if self._due[0][0] == time_s:
            self._arm()

    def _run(self) -> None:
        try:
            os.read(self._timer, 8)
        except BlockingIOError:
            return
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()
        self._arm()

    def _arm(self) -> None:
        """For the first of them; a time that has passed is now."""
        if not self._due:
            return
        seconds, fraction = divmod(max(self._due[0][0], 0.0), 1.0)
        when = _Timer(_Timespec(0, 0), _Timespec(int(seconds), max(1, int(fraction * 1e9))))
        LIBC.timerfd_settime(self._timer, ABSOLUTE, ctypes.byref(when), None)
