"""One line at the bottom of a terminal that says how it goes."""

import shutil
import sys
import time

UPDATE_S = 0.1
CLEARED = "\r\x1b[2K"


class StatusLine:
    """On the standard error output, and only where that is a terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._there = False
        self._written_s = 0.0

    def update(self, text: str) -> None:
        """Show another text, not too often; what does not fit is cut off."""
        now_s = time.monotonic()
        if self._shown and (not self._there or now_s - self._written_s >= UPDATE_S):
            width = shutil.get_terminal_size().columns - 1
            sys.stderr.write(CLEARED + (text if len(text) <= width else f"{text[: width - 1]}…"))
            sys.stderr.flush()
            self._there, self._written_s = True, now_s

    def clear(self) -> None:
        """Take it away, before anything else is written."""
        if self._there:
            sys.stderr.write(CLEARED)
            sys.stderr.flush()
            self._there = False
