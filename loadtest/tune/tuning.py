"""A search for a model's settings from its beginning to what came of it, with what was served put back in the end."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loadtest.interrupts import Interrupts
from loadtest.kept import KeptGenerator
from loadtest.plan import Plan
from loadtest.run import Progress
from loadtest.tune.applying import ServedModel, Trial
from loadtest.tune.candidate import Candidate
from loadtest.tune.gateway_process import OwnGateway
from loadtest.tune.score import Objective
from loadtest.tune.search import FEWEST_PAIRS, CannotMeasure, Found, Schedule, schedule_of, search
from loadtest.tune.space import Space, space_of
from loadtest.tune.state import State, StateFile, Turn
from loadtest.tune.turns import Turns
from vision.errors import InvalidArgument

GATEWAY_DEFAULTS = {"workers": 1, "permits": 16}


@dataclass(frozen=True)
class Task:
    """What is to be searched, for which load; `plan` has one stage."""

    model: str
    triton: str
    plan: Plan
    objective: Objective
    budget_s: float
    seed: int
    cores: int
    gateway_command: str | None = None

    def asked(self) -> dict[str, Any]:
        """What makes it this search, and no other."""
        return {
            "slo": str(self.objective.slo),
            "prefer": self.objective.prefer,
            "budget_s": self.budget_s,
            "seed": self.seed,
            "cores": self.cores,
            "gateway_command": self.gateway_command,
            "plan": self.plan.model_dump(mode="json", exclude={"gateway", "name"}),
        }


@dataclass
class Telling:
    """What is said on the way."""

    turn: Callable[[Turn, int, int, float], None]
    """A turn that is done, its number, how many there are, and about how many seconds are left."""
    doing: Progress = lambda *_: None
    say: Callable[[str], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    """What turns are timed by, for the plan of the search."""


def put_back(file: StateFile) -> str | None:
    """What a search that was killed left behind, put back to what was; None where there was nothing."""
    state = file.read()
    if state is None or not state.applied:
        return None
    Trial(ServedModel(state.triton, state.model), file, state).restore()
    return f"{state.model} is served with what it was before a search that was killed: {state.before.to_json()}"


def tuned(task: Task, file: StateFile, interrupts: Interrupts, telling: Telling, *, anew: bool = False) -> Found:
    """Search; what was served before is served after, whatever happens in between.

    Raises:
        Interrupted: it can be gone on with.
        NotRestored: Triton went away, and did not come back.
        CannotMeasure, WireError
        InvalidArgument: the budget is too small.
    """
    served = ServedModel(task.triton, task.model)
    state = _state(task, served, file, telling, anew=anew)
    trial = Trial(served, file, state)
    current = Candidate(serving=state.before, **(GATEWAY_DEFAULTS if task.gateway_command else {}))
    gateway = None
    if task.gateway_command is not None:
        gateway = OwnGateway(task.gateway_command, task.triton, task.model)
    users = task.plan.loads()[0].users
    try:
        contract = served.told().contract
        max_batch = 1 if contract is None else contract.max_batch
        space = space_of(current, max_batch=max_batch, cores=task.cores, users=users, gateway=gateway is not None)
        with KeptGenerator(file.path.parent) as kept:
            return _searched(task, trial, file, current, space, gateway, interrupts, telling, kept)
    finally:
        if gateway is not None:
            gateway.end()
        trial.restore()


def _state(task: Task, served: ServedModel, file: StateFile, telling: Telling, *, anew: bool) -> State:
    version, before, old = served.told().version, served.settings(), file.read()
    if old is not None and not anew and not old.finished:
        others = {
            "another task": _without_empty_headers(old.asked) != _without_empty_headers(task.asked()),
            "another version of the model": old.version != version,
            "other settings served before": old.before != before,
            "another Triton": old.triton != task.triton,
        }
        if not any(others.values()):
            telling.say(
                f"goes on with the {len(old.turns)} turns of a search that was interrupted (--anew forgets them)"
            )
            return old
        if old.turns:
            why = ", ".join(what for what, is_other in others.items() if is_other)
            telling.say(f"begins anew: the {len(old.turns)} turns of a search that was interrupted were of {why}")
    state = State(model=task.model, triton=task.triton, version=version, before=before, asked=task.asked())
    file.write(state)
    return state


def _without_empty_headers(asked: dict[str, Any]) -> dict[str, Any]:
    """As it was written before a plan had headers."""
    plan = {name: value for name, value in asked.get("plan", {}).items() if name != "headers" or value}
    return asked | {"plan": plan}


def _searched(
    task: Task, trial: Trial, file: StateFile, current: Candidate, space: Space, gateway: OwnGateway | None,
    interrupts: Interrupts, telling: Telling, kept: KeptGenerator,
) -> Found:  # fmt: skip
    count = Counted(telling)
    turns = Turns(task.plan, trial, file, interrupts, gateway, telling.doing, count, kept, telling.clock)
    if turns(current) is None:  # which also tells how long turns take
        raise CannotMeasure(f"what is served now could not be measured: {trial.state.turns[-1].problem}")
    if trial.state.turn_s is None:
        trial.state.turn_s = trial.state.turns[0].cost_s
        file.write(trial.state)
    schedule = _schedule(task, trial.state.turn_s, space.size - 1)
    others = space.sample(schedule.candidates, task.seed, known=[current])
    schedule = Schedule(len(others), schedule.pairs, schedule.near)
    count.total = schedule.turns + 1
    telling.say(
        f"{len(others)} of about {space.size} ways to serve {task.model}, beside what is served now ({current}):"
        f" {schedule.turns} turns, about {schedule.turns * trial.state.turn_s / 60:.0f} min"
    )
    found = search(current, others, schedule, task.objective, turns, task.seed, space.near)
    trial.state.finished = True
    file.write(trial.state)
    return found


def _schedule(task: Task, turn_s: float, candidates: int) -> Schedule:
    schedule = schedule_of(task.budget_s - turn_s, turn_s, candidates)
    if schedule is None:
        least = math.ceil((Schedule(2, FEWEST_PAIRS).turns + 1) * turn_s / 60)
        raise InvalidArgument(
            f"a turn takes {turn_s:.0f} s: there is nothing to be found in less than --budget {least}m"
        )
    return schedule


@dataclass
class Counted:
    """Tells of turns, with the time that is left by those that were taken so far."""

    telling: Telling
    total: int = 1
    done: int = 0
    spent_s: float = 0.0

    def __call__(self, turn: Turn) -> None:
        self.done += 1
        self.spent_s += turn.cost_s
        self.telling.turn(turn, self.done, self.total, (self.total - self.done) * self.spent_s / self.done)


def processors() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))
