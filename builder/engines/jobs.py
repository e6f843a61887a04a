"""What is asked of a device's TensorRT, and what it answers. Nothing here knows how it is done."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from numpy.typing import NDArray

from builder.recipes.parts import Precision
from vision.errors import BuildError

STEP = "engine"

Kind = Literal[
    "out_of_memory",
    "unsupported_operator",
    "version_mismatch",
    "bad_input",
    "no_tensorrt",
    "no_gpu",
    "timeout",
    "disk_full",
    "internal",
]
"""Why an engine step failed:

    out_of_memory           of the device, or the kernel ended the process
    unsupported_operator    TensorRT's parser refuses the ONNX; the detail names the nodes
    version_mismatch        the engine is of another TensorRT or another GPU: build it again
    bad_input               a file, shape, name or dtype that does not fit
    no_tensorrt             TensorRT, polygraphy or NumPy is not where the device's Python looks
    no_gpu                  no GPU, or no driver for it
    timeout                 it took longer than it may
    disk_full               no space for the engine
    internal                anything else; the log holds the traceback
"""
KINDS: tuple[Kind, ...] = get_args(Kind)

Feed = Mapping[str, NDArray[Any]]
"""One inference: an array for each input by name, batch first, in the dtype of the engine's input."""

OnProgress = Callable[[float | None, str], None]
"""Told how far a build is, from 0 to 1, or None where TensorRT does not say; and what is at hand."""


class EngineError(BuildError):
    """An engine could not be built, read or run; `kind` says why."""

    def __init__(self, kind: Kind, detail: str) -> None:
        super().__init__(STEP, detail)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Described:
    """A device as its TensorRT sees it. Versions are as they say themselves, such as 10.3.0.

    `free_bytes` and `total_bytes` are memory that the GPU can use: on a Jetson the machine's own.
    """

    tensorrt: str
    polygraphy: str
    numpy: str
    python: str
    cuda: str
    gpu: str
    compute_capability: str
    dla_cores: int
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class ShapeRange:
    """The shapes that an input may have, batch and all; TensorRT is fastest at `opt`."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BuildJob:
    """An engine to be built from `onnx` and written to exactly `engine`, whole or not at all.

    `profiles` has a range for each input with a free side. `explicit`: the graph itself says its precision (FP16 casts,
    or QuantizeLinear and DequantizeLinear), as every ONNX of this builder does. `workspace_bytes` None leaves the limit
    to TensorRT, which then takes what the device has. `timing_cache` is read if it is there, and replaced by what was
    learned; it belongs to one device and TensorRT. `dla_core` None is the GPU alone; a core takes what it can, the GPU
    the rest, and profiles are of one shape then.
    """

    onnx: Path
    engine: Path
    profiles: Mapping[str, ShapeRange]
    precision: Precision = "fp32"
    explicit: bool = True
    workspace_bytes: int | None = None
    timing_cache: Path | None = None
    dla_core: int | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of an engine; NumPy's name of the dtype; -1 for a side that a profile leaves free."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Built:
    """An engine as written. `layers` are those of the network, before fusing, `dla_layers` those that a DLA can take.

    `dla_layers` is None where no DLA was asked for. `notes` are for the person who builds: a timing cache that was of
    no use, a precision that TensorRT may take elsewhere.
    """

    engine_bytes: int
    seconds: float
    tensorrt: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layers: int
    dla_layers: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ran:
    """Outputs of each feed, in order; and of the first feed, run again, the milliseconds of each timed run."""

    outputs: tuple[dict[str, NDArray[Any]], ...]
    milliseconds: tuple[float, ...] = field(default=())


class Engines(Protocol):
    """Whoever describes the device, builds engines on it, and runs them. `EngineProgram` does; tests have others.

    Each raises EngineError, and KeyboardInterrupt when interrupted, with nothing left running.
    """

    def describe(self) -> Described:
        """The device and its TensorRT: seconds, and no memory is taken."""
        ...

    def build(self, job: BuildJob, on_progress: OnProgress) -> Built:
        """Build one engine: minutes. `job.engine` is there and whole when this returns, and untouched otherwise."""
        ...

    def run(self, engine: Path, feeds: Sequence[Feed], timed_runs: int = 0) -> Ran:
        """The outputs of an engine, loaded once for all feeds."""
        ...
