"""Whether an engine can be built with the memory and disk there are: found out before the kernel kills somebody.

What TensorRT takes beyond its workspace is an estimate: it does not say, and nothing here has been measured on a
device yet. It errs to the side of refusing, and what a refusal says can be acted on.
"""

from dataclasses import dataclass
from pathlib import Path

from vision.errors import BuildError

STEP = "preflight"
MIB = 2**20
BASE_BYTES = 768 * MIB
"""TensorRT's own libraries, its CUDA context and the process that loads them."""
WEIGHTS = 4
"""Times the ONNX: as parsed, as converted, as tried by the tactics, and as written."""
RESERVE_BYTES = 128 * MIB
"""Left to everything else on the machine, the Triton that serves meanwhile among it."""
WANTED_WORKSPACE_BYTES = 1024 * MIB
LEAST_WORKSPACE_BYTES = 64 * MIB
ENGINE = 2
"""Times the ONNX: an engine at most, for the disk."""
DISK_SLACK_BYTES = 64 * MIB


class ShortageError(BuildError):
    """Memory or disk is short at this moment: worth another try later, the artefact being the same."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The workspace that a build may take, and what it is expected to take in all."""

    workspace_bytes: int
    needed_bytes: int
    available_bytes: int

    @property
    def told(self) -> str:
        return (
            f"workspace {_mib(self.workspace_bytes)}, about {_mib(self.needed_bytes)} in all of the "
            f"{_mib(self.available_bytes)} that are available"
        )


def memory_plan(onnx_bytes: int, available_bytes: int, wanted_bytes: int = WANTED_WORKSPACE_BYTES) -> MemoryPlan:
    """The largest workspace up to `wanted_bytes` that the available memory allows.

    Raises:
        ShortageError: not even the least one does.
    """
    fixed = BASE_BYTES + WEIGHTS * onnx_bytes
    workspace = min(wanted_bytes, available_bytes - fixed - RESERVE_BYTES)
    least = min(LEAST_WORKSPACE_BYTES, wanted_bytes)
    if workspace < least:
        needed = fixed + RESERVE_BYTES + least
        raise ShortageError(
            STEP,
            f"building it needs about {_mib(needed)} of memory, and {_mib(available_bytes)} are available: end other "
            "programs (a desktop takes 800 MiB: sudo systemctl isolate multi-user.target), unload models from Triton "
            "(python -m clients unload NAME), or add swap (docs/09-jetson.md)",
        )
    workspace -= workspace % MIB
    return MemoryPlan(workspace, fixed + workspace, available_bytes)


def check_disk(onnx_bytes: int, work: tuple[Path, int], repository: tuple[Path, int]) -> None:
    """Each folder with the bytes that are free on its file system; the engine is written to both, one after the other.

    Raises:
        ShortageError: an engine might not fit.
    """
    copies = 2 if work[0].stat().st_dev == repository[0].stat().st_dev else 1
    needed = copies * ENGINE * onnx_bytes + DISK_SLACK_BYTES
    for folder, free in (work, repository):
        if free < needed:
            raise ShortageError(
                STEP,
                f"the engine may take {_mib(needed)}, and {folder} has {_mib(free)} free: delete old versions there "
                "(those that `python -m builder list` does not call served), or give another folder",
            )


def halved(workspace_bytes: int) -> int | None:
    """What to try after memory ran out; None where there is less than the least."""
    half = workspace_bytes // 2
    return half if half >= LEAST_WORKSPACE_BYTES else None


def _mib(size_bytes: int) -> str:
    return f"{max(0, size_bytes) // MIB} MiB"
