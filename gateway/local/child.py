"""One process under supervision."""

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

TETHER = Path(__file__).with_name("tether.py")


def manner(status: int) -> str:
    """How a process ended, from its exit status, which is below 0 for a signal."""
    return f"with status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"


class Child:
    """A process with its log file and its pid file. It dies with this process, whatever happens to it."""

    def __init__(self, name: str, folder: Path, grace_s: float, when_orphaned: signal.Signals) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._pid_file = folder / f"{name}.pid"
        self.grace_s = grace_s
        self._when_orphaned = when_orphaned
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._log_begins = 0
        """Of the process there is, or was last: where its part of the log does."""

    def start(self, command: Sequence[str | os.PathLike[str]], environment: Mapping[str, str]) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches only the supervisor.

        The log of the run before is kept aside; a process that takes another's place goes on in the same log, below a
        mark.
        """
        if not self._starts and self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        tether: list[str | os.PathLike[str]] = [sys.executable, TETHER, str(os.getpid()), str(int(self._when_orphaned))]
        with self.log.open("ab") as log:
            if self._starts:
                now = time.strftime("%Y-%m-%d %H:%M:%S")
                log.write(f"--- {self.name} is started again, {now} ---\n".encode())
                log.flush()
            self._log_begins = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 - our own commands, no shell
                [*tether, *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._starts += 1
        self._pid_file.write_text(f"{self._process.pid}\n")

    @property
    def started(self) -> bool:
        """Whether there is a process, be it one that has ended and that nobody has cleared away."""
        return self._process is not None

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative for the signal that ended it."""
        return self._process.poll() if self._process else None

    def stop(self, hurry: Callable[[], bool]) -> None:
        """SIGTERM; after the grace time, or as soon as `hurry` says so, SIGKILL to all that is left of it.

        Of one that has ended by itself it clears away what that left behind.
        """
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        deadline = time.monotonic() + self.grace_s
        while self._process.poll() is None:
            if hurry() or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        with suppress(ProcessLookupError):  # it leads a group of its own, with whatever it started
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        self._pid_file.unlink(missing_ok=True)

    def last_lines(self, count: int = 20) -> str:
        """The end of its log, of the process there is or was last."""
        with suppress(FileNotFoundError), self.log.open("rb") as log:
            log.seek(self._log_begins)
            return b"".join(deque(log, count)).decode(errors="replace").rstrip()
        return f"({self.log} has been removed)"
