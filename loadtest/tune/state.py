"""What a search has done so far, on disk: to go on after an interruption, and to put back what was served before it."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from loadtest.record import Stage, write_text
from loadtest.tune.candidate import Candidate
from vision.errors import InvalidArgument
from vision.serving import ServingSettings


class Turn(BaseModel):
    """One measurement; `stage` is None where there was none, and `problem` says why."""

    model_config = ConfigDict(extra="forbid")

    candidate: Candidate
    stage: Stage | None
    problem: str = ""
    cost_s: float = 0.0
    """What it took, with all that is around the measurement."""


class State(BaseModel):
    """Of one search. `before` is what was served; while `applied`, something else may be."""

    model_config = ConfigDict(extra="forbid")

    schema_: int = 1
    model: str
    triton: str
    version: str
    before: ServingSettings
    applied: bool = False
    asked: dict[str, Any]
    """What makes it this search: objective, load, seed, budget, space."""
    turn_s: float | None = None
    """What a turn was taken to take, when the search was planned."""
    turns: list[Turn] = []
    finished: bool = False


class StateFile:
    """At one path; written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> State | None:
        """What stands there; None of nothing.

        Raises:
            InvalidArgument: it is something else.
        """
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return None
        try:
            return State.model_validate_json(text)
        except ValidationError as exc:
            raise InvalidArgument(
                f"{self.path} is not the state of a search of this version: look whether the model is served as it"
                " should be (python -m clients load NAME puts it back to its folder), and delete the file"
            ) from exc

    def write(self, state: State) -> None:
        write_text(self.path, state.model_dump_json())

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else searches with this file meanwhile; the lock goes with the process, however it ends.

        Raises:
            InvalidArgument: somebody does.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                raise InvalidArgument(f"another search of this model goes on, with {self.path}") from exc
            yield
