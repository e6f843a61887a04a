"""A thread that looks at something again and again."""

import threading
import time
from collections.abc import Callable


class Ticking:
    """Calls `look` every `interval_s`, and once more at the end; `close` ends it."""

    def __init__(self, name: str, look: Callable[[], None], interval_s: float) -> None:
        self._look, self._interval_s = look, interval_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._closing.is_set():
            self._look()
            due_s = max(due_s + self._interval_s, time.monotonic())
            self._closing.wait(due_s - time.monotonic())
