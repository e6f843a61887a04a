"""What is to be done for an artefact on a device, and why. Nothing is changed here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.ensure.artefacts import Artefact
from builder.ensure.served import REFUSED, Engine, engine_of, serves
from builder.passport import FILE as PASSPORT
from builder.passport import Platform, compare
from builder.publishing.repository import served_version, versions
from vision.errors import BuildError
from vision.model_folders import holds_model

Action = Literal["keep", "switch", "publish", "build", "refused", "rolled_back"]
"""`keep`: it is served as wanted. `switch`: a version that lies there already is what is wanted. `publish`: an engine
that lies there fits, and what goes with it is new. `build`: no engine there fits. `refused`: one does, and Triton
could not load it. `rolled_back`: one does, and somebody on the device went back from it.
"""


@dataclass(frozen=True, slots=True)
class Decision:
    """One artefact's. `version` is to be kept or switched to, `engine` is the one that fits."""

    artefact: Artefact
    action: Action
    reasons: tuple[str, ...]
    version: int | None = None
    engine: Engine | None = None


def decision(artefact: Artefact, repository: Path, device: Platform, dla_core: int | None = None) -> Decision:
    """What is to be done for one model.

    Raises:
        BuildError: the repository holds a model of that name that this project did not publish.
    """
    model = repository / artefact.name
    served = served_version(model)
    if served is None and not versions(model):
        return Decision(artefact, "build", ("there is no engine yet",))
    found: Engine | None = None
    told: list[str] = []
    for number in _in_turn(served, versions(model)):
        engine = engine_of(model / str(number))
        problems = [engine] if isinstance(engine, str) else compare(engine.passport, device, artefact, dla_core)
        if number == served or (served is None and not told):
            told = [f"version {number} does not fit: {'; '.join(problems)}"]
        if isinstance(engine, str) or problems:
            continue
        if serves(engine, artefact):
            if (said := engine.refusal) is not None:
                instead = "there was none before it" if number == served else f"{served} is served"
                reason = f"Triton refuses version {number}: {said}; {instead}. To try it again: delete"
                return Decision(artefact, "refused", (f"{reason} {engine.folder / REFUSED}",), number, engine)
            if number != served and engine.is_rolled_back and not misfit(model / str(served), device):
                reason = f"version {number} was rolled back, and {served} is served, until a newer artefact arrives"
                return Decision(artefact, "rolled_back", (f"{reason} or `rollback --to {number}`",), number, engine)
            if number == served:
                return Decision(artefact, "keep", (), number, engine)
            return Decision(artefact, "switch", (f"version {number} fits, and {served} is served",), number, engine)
        found = found or engine
    if found is not None:
        reason = f"the engine of version {found.folder.name} fits; its contract, settings or golden outputs are new"
        return Decision(artefact, "publish", (reason,), engine=found)
    return Decision(artefact, "build", tuple(told) or ("there is no engine yet",))


def strays(repository: Path, names: Sequence[str], device: Platform) -> list[tuple[str, list[str]]]:
    """Models that are served and have no artefact, each with why its engine does not fit the device; [] where it does.

    Models that are no engines are not among them.
    """
    found = []
    for model in sorted(path for path in repository.glob("*") if holds_model(path.name) and path.is_dir()):
        if model.name in names:
            continue
        try:
            served = served_version(model)
            if served is None or not (model / str(served) / PASSPORT).exists():
                continue
        except (BuildError, OSError):  # of other making, or not to be read
            continue
        found.append((model.name, misfit(model / str(served), device)))
    return found


def misfit(version: Path, device: Platform) -> list[str]:
    """Why a version's engine would not run on the device; [] where it would."""
    engine = engine_of(version)
    return [engine] if isinstance(engine, str) else compare(engine.passport, device, None)


def _in_turn(served: int | None, numbers: Sequence[int]) -> list[int]:
    """The served version, then the others, the newest first."""
    others = sorted((number for number in numbers if number != served), reverse=True)
    return [served, *others] if served is not None and served in numbers else others
