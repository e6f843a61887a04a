"""Scratch folders in `$TMPDIR`, and what killed builders left of theirs: a lock says whose process is still there."""

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

Purpose = Literal["build", "job", "parity", "evaluate", "lint"]
LEFT = re.compile(rf"jetserve-(?:{'|'.join(get_args(Purpose))})-p\d+-\w+")
YOUNG_SECONDS = 60
"""Between its making and its lock lies a moment; a folder so young is left."""


@contextmanager
def scratch_folder(purpose: Purpose) -> Iterator[Path]:
    """An empty folder, gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix=f"jetserve-{purpose}-p{os.getpid()}-") as name, _held(Path(name)):
        yield Path(name)


def sweep() -> None:
    """Delete the folders whose process is gone; never one that is held, of another user, or of other making."""
    for folder in Path(tempfile.gettempdir()).glob("jetserve-*"):
        try:
            found = folder.lstat()
            is_old = time.time() - found.st_mtime > YOUNG_SECONDS
            if not LEFT.fullmatch(folder.name) or found.st_uid != os.getuid() or not is_old or folder.is_symlink():
                continue
            with _held(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # held, or gone already
            continue


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """The lock, which ends with the process; BlockingIOError where another has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
