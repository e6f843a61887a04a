"""What `ensure` keeps for itself, outside the models: one lock, scratch, logs, and what TensorRT learned of a device.

`lock` is held while an ensure is at work, and ends with its process. `scratch/` has the engines under way; what is left
there is swept. `timing/10.3.0-Orin-8.7.cache`: timing caches, by TensorRT, GPU and compute capability. `logs/`.
"""

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from builder.passport import Platform
from vision.errors import BuildError

STEP = "ensure"
LOCK, SCRATCH, TIMING, LOGS = "lock", "scratch", "timing", "logs"
KEPT_LOGS = 20
PATIENCE_S = 10.0
"""For another ensure to end: one that was killed a moment ago is still being taken down."""


class Workplace:
    """One folder, held."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take_over(self) -> None:
        """Say that this process holds it, for those who wait: the lock itself a child has from its parent."""
        with suppress(OSError):  # a full disk: it is held all the same
            (self.folder / LOCK).write_text(f"{os.getpid()}\n")

    def sweep(self) -> None:
        """Delete engines that were under way when whoever held it ended."""
        shutil.rmtree(self.folder / SCRATCH, ignore_errors=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder, gone when the block ends."""
        parent = self.folder / SCRATCH
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, ignore_cleanup_errors=True) as name:
            yield Path(name)

    def timing_cache(self, device: Platform) -> Path:
        """Where what was learned on such a device is kept."""
        name = "-".join(str(part) for part in (device.tensorrt, device.gpu, device.compute_capability))
        folder = self.folder / TIMING
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}.cache"

    def log(self) -> Path:
        """Where this run's log is to be; the oldest of those before are deleted, with the pages beside them."""
        folder = self.folder / LOGS
        for old in sorted(folder.glob("*.log"))[: -KEPT_LOGS + 1]:
            for path in folder.glob(f"{old.stem}.*"):
                path.unlink(missing_ok=True)
        return folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}.log"


@contextmanager
def workplace(folder: Path, patience_s: float | None = None) -> Iterator[Workplace]:
    """The folder, held by this process alone and swept.

    Raises:
        BuildError: it cannot be written, or another ensure holds it for longer than `patience_s` (None: `PATIENCE_S`).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as exc:
        raise BuildError(STEP, f"cannot write to {folder}: {exc.strerror or exc}; give another --work") from exc
    try:
        _lock(descriptor, folder, time.monotonic() + (PATIENCE_S if patience_s is None else patience_s))
        place = Workplace(folder)
        place.take_over()
        place.sweep()
        yield place
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path, until: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
                raise BuildError(
                    STEP,
                    f"another ensure (process {holder}) is at work in {folder}: wait for it; one with --watch takes "
                    "what is new by itself",
                ) from None
            time.sleep(0.1)
        else:
            return
