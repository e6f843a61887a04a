"""Turns of candidates: applied, measured, seen to be what was measured, and remembered."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from loadtest.interrupts import Interrupts
from loadtest.kept import KeptGenerator
from loadtest.plan import Plan
from loadtest.record import Stage
from loadtest.run import Progress, run
from loadtest.tune.applying import OtherVersion, Trial
from loadtest.tune.candidate import Candidate
from loadtest.tune.gateway_process import OwnGateway
from loadtest.tune.state import State, StateFile, Turn
from vision.errors import JetserveError

TRIES = 2
"""A turn that came to nothing by accident is taken once more."""


class Turns:
    """Measures candidates, with the load that `plan` says. What the state remembers is not measured again."""

    def __init__(
        self, plan: Plan, trial: Trial, file: StateFile, interrupts: Interrupts, gateway: OwnGateway | None,
        told: Progress, done: Callable[[Turn], None], kept: KeptGenerator, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._plan, self._trial, self._file = plan, trial, file
        self._interrupts, self._gateway = interrupts, gateway
        self._told, self._done, self._clock, self._kept = told, done, clock, kept
        self._again = list(trial.state.turns)

    @property
    def state(self) -> State:
        return self._trial.state

    def __call__(self, candidate: Candidate) -> Stage | None:
        """One turn; None where the candidate cannot be served, or not be measured.

        Raises:
            Interrupted: before the next one, or in this one, which is then not counted.
        """
        if self._again and self._again[0].candidate == candidate:
            turn = self._again.pop(0)
        else:
            if self._again:  # another search than the one that was interrupted
                self.state.turns = self.state.turns[: -len(self._again)]
                self._again.clear()
            turn = self._taken(candidate)
            self.state.turns.append(turn)
            self._file.write(self.state)
        self._done(turn)
        return turn.stage

    def _taken(self, candidate: Candidate) -> Turn:
        began_s, problem = self._clock(), ""
        for _ in range(TRIES):
            self._interrupts.check()
            try:
                stage, problem = self._tried(candidate)
            except OtherVersion:
                raise
            except JetserveError as exc:
                stage, problem = None, str(exc)
            if stage is not None:
                return Turn(candidate=candidate, stage=stage, cost_s=self._clock() - began_s)
        return Turn(candidate=candidate, stage=None, problem=problem, cost_s=self._clock() - began_s)

    def _tried(self, candidate: Candidate) -> tuple[Stage | None, str]:
        """A stage, or why there is none."""
        served = self._trial.apply(candidate.serving)
        plan = self._plan
        if self._gateway is not None:
            if self._gateway.serve(candidate):
                self._kept.drop()  # its connections were to the one before
            plan = plan.model_copy(update={"host": self._gateway.url})
        with tempfile.TemporaryDirectory() as folder:
            record = run(plan, Path(folder), stop=self._interrupts.stop, on_progress=self._told, kept=self._kept)
        self._interrupts.check()
        if lost := self._trial.lost(served):
            return None, lost
        stage = next(iter(record.counted()), None)
        if reasons := [reason for reason in record.invalid if not _is_the_servers(reason)]:
            return None, "; ".join(reasons)
        return stage, "nothing was measured"


def _is_the_servers(reason: str) -> bool:
    """A server that fails or is late has been measured as well as any other."""
    return " requests failed: " in reason
