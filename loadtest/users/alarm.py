"""Waking up at a time, to some tens of microseconds.

gevent's own timers are late by up to a millisecond, as epoll's are, which in an open loop is in every latency.
"""

import contextlib
import ctypes
import os
import sys
import time
from typing import Self

import gevent
from gevent.hub import get_hub

CLOCK_MONOTONIC = 1
TFD_TIMER_ABSTIME = 1
READ = 1


class _Time(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Setting(ctypes.Structure):
    _fields_ = (("interval", _Time), ("at", _Time))


class Alarm:
    """A Linux timer (timerfd_create(2)) that gevent's loop waits for; gevent's own where there is none."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
        self._descriptor = -1
        if self._libc is not None:
            self._descriptor = self._libc.timerfd_create(CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor >= 0:
            self._watcher = get_hub().loop.io(self._descriptor, READ)

    def wait(self, until_s: float) -> None:
        """Let others run until then (`time.monotonic`)."""
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            gevent.sleep(0)
        elif self._descriptor < 0 or self._libc is None:
            gevent.sleep(left_s)
        else:
            at = _Time(int(until_s), int(until_s % 1 * 1e9))
            self._libc.timerfd_settime(self._descriptor, TFD_TIMER_ABSTIME, ctypes.byref(_Setting(_Time(), at)), None)
            get_hub().wait(self._watcher)
            with contextlib.suppress(BlockingIOError):
                os.read(self._descriptor, 8)

    def close(self) -> None:
        if self._descriptor >= 0:
            self._watcher.close()
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
