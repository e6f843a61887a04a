"""At most one local run a run folder, and how to find it.

The running supervisor holds a lock on `supervisor.pid`. The kernel gives the lock back when the process ends, however
it ends, so a process id left by a dead one never misleads.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True)
class Running:
    """A live supervisor."""

    pid: int
    address: str
    ready: bool


class AlreadyRunning(Exception):  # noqa: N818 - a state, no error
    """Another supervisor holds the lock."""

    def __init__(self, running: Running) -> None:
        super().__init__(f"already running at {running.address} (process {running.pid}); end it with `make stop`")
        self.running = running


@contextmanager
def run_lock(folder: Path, address: str) -> Iterator[Callable[[bool], None]]:
    """Hold the lock; what comes back marks the run as ready, or as ready no more.

    Raises:
        AlreadyRunning
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _pid_file(folder).open("a+") as file:
        while not _locked(file, fcntl.LOCK_EX):
            if running := running_in(folder):
                raise AlreadyRunning(running)
        _ready_file(folder).unlink(missing_ok=True)
        file.truncate(0)
        file.write(f"{os.getpid()}\n{address}\n")
        file.flush()
        try:
            yield lambda ready: _ready_file(folder).touch() if ready else _ready_file(folder).unlink(missing_ok=True)
        finally:
            _ready_file(folder).unlink(missing_ok=True)


def running_in(folder: Path) -> Running | None:
    """The live supervisor of a run folder, or None."""
    with suppress(FileNotFoundError), _pid_file(folder).open() as file:
        while not _locked(file, fcntl.LOCK_SH):
            file.seek(0)
            pid, _, address = file.read().partition("\n")
            if address.endswith("\n"):
                return Running(int(pid), address.strip(), _ready_file(folder).exists())
            time.sleep(0.01)  # it is about to write
    return None


def _locked(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid_file(folder: Path) -> Path:
    return folder / "supervisor.pid"


def _ready_file(folder: Path) -> Path:
    return folder / "ready"
