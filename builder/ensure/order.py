"""What `ensure` is asked for, and what it does that with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.device import Device
from builder.engines.jobs import Engines
from builder.ensure.preflight import WANTED_WORKSPACE_BYTES
from vision.errors import BackendFailure


@dataclass(frozen=True, slots=True)
class Order:
    """Where from and where to, and how engines are to be built."""

    artefacts: Path
    repository: Path
    workspace_bytes: int = WANTED_WORKSPACE_BYTES
    """At most; less where memory is short."""
    dla_core: int | None = None


class EngineRefused(BackendFailure):
    """Triton has begun to load the engine, and cannot; what else it may say against a load says nothing of that."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a Triton has of one model."""

    version: int | None
    """That is ready; None where none is."""
    is_unloaded: bool = False
    """Somebody has unloaded it, to free memory perhaps."""


class Control(Protocol):
    """A Triton that is told what to load."""

    address: str

    def load(self, name: str) -> None:
        """Have it load what the repository serves under that name.

        Raises:
            BackendUnavailable: it does not answer.
            EngineRefused: the engine is not for this Triton, which goes on with what it has.
            BackendFailure: it does not load it for another reason, and goes on with what it has.
        """
        ...

    def loaded(self, name: str) -> Loaded:
        """What it has of a model.

        Raises:
            BackendUnavailable: it does not answer.
            BackendFailure: it answers something else.
        """
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The machine: asked anew for what changes."""

    device: Device
    engines: Engines
    available_bytes: Callable[[], int]
    """Memory, at this moment."""
    free_bytes: Callable[[Path], int]
    """Of the file system that a folder lies on."""
    control: Control | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One model's. `is_served`: as its artefact says. `is_passing`: what failed may work later, nothing being changed.
    `is_waiting`: Triton is to load it, and does not answer; `before` is the version that was served until then.
    """

    name: str
    text: str
    is_served: bool
    is_passing: bool = False
    is_waiting: bool = False
    before: int | None = None
