"""What `ensure` is asked for, and what it does that with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.device import Device
from builder.engines.jobs import Engines
from builder.ensure.preflight import WANTED_WORKSPACE_BYTES


@dataclass(frozen=True, slots=True)
class Order:
    """Where from and where to, and how engines are to be built."""

    artefacts: Path
    repository: Path
    workspace_bytes: int = WANTED_WORKSPACE_BYTES
    """At most; less where memory is short."""
    dla_core: int | None = None


class Control(Protocol):
    """A Triton that is told what to load."""

    address: str

    def load(self, name: str) -> None:
        """Have it load what the repository serves under that name.

        Raises:
            BackendUnavailable: it does not answer.
            BackendFailure: it cannot load it, and goes on with what it has.
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
    `is_waiting`: Triton is to load it, and does not answer.
    """

    name: str
    text: str
    is_served: bool
    is_passing: bool = False
    is_waiting: bool = False
