"""Searches whose measurements are made up, by the settings that are really served."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from clients.triton.models import ServedModel as Model
from loadtest.interrupts import Interrupts
from loadtest.kept import KeptGenerator
from loadtest.load import Load
from loadtest.plan import Plan
from loadtest.record import Record
from loadtest.slo import Slo
from loadtest.tune import turns
from loadtest.tune.applying import ServedModel
from loadtest.tune.candidate import Candidate
from loadtest.tune.score import Objective
from loadtest.tune.search import Found
from loadtest.tune.state import StateFile, Turn
from loadtest.tune.tuning import Task, Telling, tuned
from tests.loadtest.simulated_serving import USERS, stage, true_rate
from tests.tiny_models import colour_contract
from vision.serving import ServingSettings

MODEL = "tuned"
Happens = Callable[[int], None]


@dataclass
class Made:
    """In place of `loadtest.run.run`: a record of a server that is as quick as its settings make it."""

    served: ServedModel
    happens: Happens = lambda number: None
    noise: float = 0.03
    seen: list[ServingSettings] = field(default_factory=list)
    noise_from: int = 0
    rate: Callable[[Candidate], float] = true_rate

    def __call__(
        self, plan: Plan, folder: Path, *, stop: threading.Event, on_progress: object, kept: KeptGenerator
    ) -> Record:
        self.seen.append(self.served.settings())
        random = np.random.default_rng(len(self.seen) + self.noise_from)
        rate = self.rate(Candidate(serving=self.seen[-1])) * float(np.exp(self.noise * random.standard_normal()))
        self.happens(len(self.seen))
        return Record(
            schema=1, name="made", began="2026-01-01T00:00:00+00:00", seconds=4, finished=True, invalid=[],
            plan={}, conditions={}, stages=[stage(rate, random)],
        )  # fmt: skip


def quick(candidate: Candidate) -> float:
    """Answers a second of a server that likes small batches."""
    return 100 + 40 / (candidate.serving.preferred_batch or (8,))[0]


class Enough(Exception):  # noqa: N818 - what happened
    """A fault, and the end of a test that has seen enough."""


def enough_after(turns: int) -> Happens:
    def end(number: int) -> None:
        if number == turns:
            raise Enough

    return end


class InMemory(ServedModel):
    """A model without a Triton."""

    def __init__(self) -> None:
        super().__init__("nowhere:8001", MODEL)
        self._now = ServingSettings(instances=2, threads=1, preferred_batch=(8,), queue_delay_us=0)

    def told(self) -> Model:
        return Model(MODEL, "1", ready=True, contract=colour_contract(), problem=None)

    def settings(self) -> ServingSettings:
        return self._now

    def serve(self, settings: ServingSettings) -> ServingSettings:
        self._now = settings
        return settings

    def put_back(self, before: ServingSettings) -> None:
        self._now = before


def task(served: ServedModel, budget_s: float) -> Task:
    plan = Plan(models={MODEL: 1.0}, stages=(Load(users=USERS, seconds=4),))
    return Task(MODEL, served.triton, plan, Objective(Slo.parse("errors<0.1%"), "rate"), budget_s, 1, cores=2)


def every_5_s() -> Callable[[], float]:
    return iter(np.arange(0, 1e6, 5.0).tolist()).__next__


def search(
    served: ServedModel,
    folder: Path,
    made: Made,
    monkeypatch: pytest.MonkeyPatch,
    told: list[Turn] | None = None,
    budget_s: float = 200,
    say: Callable[[str], None] = lambda _: None,
) -> Found:
    """One whose turns take 5 s each, as far as its plan goes."""
    monkeypatch.setattr(turns, "run", made)
    telling = Telling(lambda turn, *_: (told if told is not None else []).append(turn), say=say, clock=every_5_s())
    with Interrupts() as interrupts:
        return tuned(task(served, budget_s), StateFile(folder / "state.json"), interrupts, telling)
