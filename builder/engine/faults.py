"""Why a job failed, in the kinds that `builder/engines/jobs.py` lists."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from builder.engine.hearing import Hearing

CUDA_ERROR = re.compile(r"CUDA Error: (\d+)")
CUDA_OUT_OF_MEMORY = 2
CUDA_NO_DEVICE = (3, 35, 100, 999)
"""Not initialised, driver too old, no device, unknown: as a container without the GPU says it."""
LESS_MEMORY = (
    "stop what else uses memory (Triton, a desktop), lower the workspace limit, build with a smaller batch, or add swap"
)
NO_GPU = "expected an NVIDIA GPU and its driver; in a container, start it with `--runtime nvidia`"


class JobError(Exception):
    """What the person who builds must be told: what was expected, what came, what to do."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


def fault_of(exc: Exception, hearing: Hearing) -> JobError:
    """The fault that an exception is, from itself and from what TensorRT said before."""
    if isinstance(exc, JobError):
        return exc
    cuda = CUDA_ERROR.search(str(exc))
    code = int(cuda[1]) if cuda else None
    if isinstance(exc, MemoryError) or hearing.lacked_memory or code == CUDA_OUT_OF_MEMORY:
        return JobError("out_of_memory", f"memory ran out ({_reason(exc, hearing)}): {LESS_MEMORY}")
    if code in CUDA_NO_DEVICE:
        return JobError("no_gpu", f"{NO_GPU}; CUDA's error is {code}")
    if isinstance(exc, OSError):
        return _os_fault(exc)
    return JobError("internal", f"{type(exc).__name__}: {_first_line(exc)} ({hearing.last_words()})")


def _os_fault(exc: OSError) -> JobError:
    where = exc.filename or "no file named"
    if exc.errno == errno.ENOSPC:
        return JobError("disk_full", f"{where}: no space left; free some, and build again")
    return JobError("bad_input", f"{where}: {exc.strerror or exc}")


def _reason(exc: Exception, hearing: Hearing) -> str:
    return hearing.last_words() if hearing.errors else _first_line(exc)


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or ["no reason"])[0]
