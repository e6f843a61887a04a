"""Folders for the samples of runs that go on; those of runs that were killed are swept away by the next one."""

import fcntl
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".samples-"
LOCK = "lock"
YOUNG_S = 60.0
"""Since it was made: a folder without a lock is one whose run takes it just now."""


@contextmanager
def scratch(beside: Path) -> Iterator[Path]:
    """A folder in `beside`, locked by this process while it lives; removed at the end."""
    sweep(beside)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=beside))
    try:
        with (folder / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(beside: Path) -> None:
    """Remove the folders that nobody holds any more."""
    for folder in beside.glob(f"{PREFIX}*"):
        if _is_left(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    try:
        with (folder / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return folder.exists() and time.time() - folder.stat().st_mtime > YOUNG_S
    except OSError:  # BlockingIOError: its run goes on
        return False
    return True
