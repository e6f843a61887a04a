"""Ctrl-C and SIGTERM: the same to everything below, and put off where half a change must not stay."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
Check = Callable[[], None]


def end_like_ctrl_c() -> None:
    """From here on SIGTERM raises KeyboardInterrupt too, so that every `finally` is run."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@contextmanager
def deferred_interrupts(done: str) -> Iterator[Check]:
    """Inside, signals wait for a call of what this yields, which raises KeyboardInterrupt if one has come.

    One that came after the last such call raises it when the block has ended, and with `done` to tell: what it would
    have stopped is there, and what would come next is not begun.
    """
    if threading.current_thread() is not threading.main_thread():  # signals only ever reach the main thread
        yield lambda: None
        return
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        came.append(number)

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in SIGNALS}
    is_done = False
    try:
        for number in SIGNALS:
            signal.signal(number, remember)
        yield check
        is_done = True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt(*([done] if is_done else []))
