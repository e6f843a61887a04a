"""Files in `/dev/shm`: POSIX shared memory whose owner can be told from one that has died.

`multiprocessing.shared_memory` would bring a process that tracks, and warns of, what is kept here on purpose.
"""

import errno
import fcntl
import itertools
import mmap
import os
import re
import secrets
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

SHM = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies
PREFIX = "jetserve_gateway_"
STEM = rf"{PREFIX}\d+_[0-9a-f]{{16}}"
MODE = 0o600
KEPT_FREE_BYTES = 32 << 20
"""What Triton's Python backend needs there for itself (docker/triton-cpu/preflight.py). A gateway leaves it; two that
grow at the same moment may each see the same room, and together leave less."""


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Memory with a name. It lives as long as `memory` does; the name, until it is removed."""

    path: Path
    memory: NDArray[np.uint8]
    """Every byte of it, uint8 [n]."""

    @property
    def name(self) -> str:
        return self.path.name

    def remove(self) -> None:
        """Take the name away: who has mapped it keeps the memory, nobody else can."""
        self.path.unlink(missing_ok=True)


class Owner:
    """Makes the segments of one gateway: their names tell its process, and a lock that ends with it that it lives.

    A process id alone would not do: containers that share `/dev/shm` count processes each for themselves.
    """

    def __init__(self, folder: Path, stem: str, lock: int) -> None:
        self._folder, self._stem, self._lock = folder, stem, lock
        self._numbers = itertools.count()
        self._growing = threading.Lock()

    @classmethod
    def here(cls, folder: Path = SHM) -> Self:
        """A new one for this process.

        Raises:
            OSError: `folder` is missing, full, or not ours to write.
        """
        while True:
            stem = f"{PREFIX}{os.getpid()}_{secrets.token_hex(8)}"
            path = folder / f"{stem}.lock"
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # someone who sweeps was quicker, and removes it
                os.close(lock)
                continue
            if os.fstat(lock).st_nlink:
                return cls(folder, stem, lock)
            os.close(lock)

    def segment(self, nbytes: int) -> Segment:
        """A new one of `nbytes`, all of them there: a write can never fail for want of memory.

        Raises:
            OSError: ENOSPC where the folder would have too little left for Triton, EMFILE, …
        """
        path = self._folder / f"{self._stem}_{next(self._numbers)}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        try:
            with self._growing:
                self._check_room(nbytes)
                os.posix_fallocate(file, 0, nbytes)
            return Segment(path, np.frombuffer(mmap.mmap(file, nbytes), np.uint8))
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(file)

    def _check_room(self, nbytes: int) -> None:
        free = os.statvfs(self._folder)
        if free.f_bavail * free.f_frsize < nbytes + KEPT_FREE_BYTES:
            raise OSError(
                errno.ENOSPC,
                f"{self._folder} has {free.f_bavail * free.f_frsize >> 20} MiB free, of which {KEPT_FREE_BYTES >> 20}"
                " are left to Triton; in a container start it with --shm-size=256m",
            )

    def close(self) -> None:
        """Remove what is left of it, and its lock."""
        for path in self._folder.glob(f"{self._stem}_*"):
            path.unlink(missing_ok=True)
        (self._folder / f"{self._stem}.lock").unlink(missing_ok=True)
        os.close(self._lock)


def swept(folder: Path = SHM) -> list[str]:
    """Remove the segments of gateways that have died, and say which; those of a living one, or another user, stay."""
    removed = []
    for path in list(folder.iterdir()):
        if re.fullmatch(rf"{STEM}\.lock", path.name):
            with suppress(OSError):  # another user's, a link, or gone meanwhile
                removed += _swept_with(path)
    return removed


def abandoned(names: Iterable[str], folder: Path = SHM) -> list[str]:
    """Of these those that only a gateway gives, and under which there is no segment any more."""
    return [name for name in names if re.fullmatch(rf"{STEM}_\d+", name) and not (folder / name).exists()]


def _swept_with(path: Path) -> list[str]:
    """What the owner of the lock at `path` has left, removed; OSError where it lives, or is not ours to judge."""
    lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if os.fstat(lock).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, f"{path} belongs to another user")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left = [other for other in path.parent.iterdir() if re.fullmatch(rf"{path.stem}_\d+", other.name)]
        for segment in left:
            segment.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        return [segment.name for segment in left]
    finally:
        os.close(lock)
