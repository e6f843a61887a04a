"""What a search found, for files and people."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest.conditions import conditions_of
from loadtest.record import write_text
from loadtest.tune.frontier import Point, points_of
from loadtest.tune.page import html_of
from loadtest.tune.search import Found
from loadtest.tune.state import State
from loadtest.tune.tuning import Task
from loadtest.tune.verdict import Outcome


def points(task: Task, found: Found) -> list[Point]:
    """Everybody who was measured."""
    return points_of(found.turns, {each: task.objective.holds(turns) for each, turns in found.turns.items()})


def commands(task: Task, outcome: Outcome) -> list[str]:
    """What to run to have the winner served."""
    if outcome.winner is None:
        return []
    options = outcome.winner.options
    gateway = " ".join(f"{name}={value}" for name, value in outcome.winner.environment.items())
    return [
        f"python -m clients load {task.model} {options}    # until it is loaded again",
        f"python -m builder configure {task.model} {options}    # for good; then: python -m clients load {task.model}",
        *([f"{gateway} python -m gateway"] if gateway else []),
    ]


def written(task: Task, state: State, found: Found, outcome: Outcome, folder: Path) -> list[Path]:
    """A JSON record of the search and its page; their paths."""
    stem = folder / f"tune_{task.model}_{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    conditions = _conditions(task, state)
    measured = points(task, found)
    document = {
        "schema": 1,
        "kind": "tuning",
        "conditions": conditions,
        "asked": state.asked,
        "current": found.current.model_dump(mode="json"),
        "challenger": None if found.challenger is None else found.challenger.model_dump(mode="json"),
        "winner": None if outcome.winner is None else outcome.winner.model_dump(mode="json"),
        "why": outcome.why,
        "ratios": {name: [ratio.low, ratio.value, ratio.high] for name, ratio in outcome.ratios.items()},
        "pairs": len(found.pairs),
        "turns": len(state.turns),
        "candidates": [_plain(point) for point in measured],
        "failed": {str(turn.candidate): turn.problem for turn in state.turns if turn.stage is None},
    }
    paths = [Path(f"{stem}.json"), Path(f"{stem}.html")]
    write_text(paths[0], json.dumps(document, indent=1) + "\n")
    shown = {
        "objective": state.asked["slo"], "preferred": state.asked["prefer"], "load": task.plan.loads()[0].label,
        "seconds of a turn": task.plan.loads()[0].seconds, "turns": len(state.turns), "seed": task.seed,
        "model": f"{task.model}, version {state.version}", "commit": conditions["commit"],
        "machine": f"{conditions['generator']['cpu']}, {task.cores} cores",
    }  # fmt: skip
    write_text(paths[1], html_of(task.model, found, outcome, measured, commands(task, outcome), shown))
    return paths


def _conditions(task: Task, state: State) -> Mapping[str, Any]:
    server = {"addresses": [task.triton], "serving": {task.model: state.before.model_dump(mode="json")}}
    return conditions_of(task.plan, {task.model: {"version": state.version}}, server, None)


def _plain(point: Point) -> dict[str, Any]:
    return {
        "settings": point.candidate.model_dump(mode="json", exclude_none=True),
        "answers_per_s": round(point.rate_per_s, 3),
        "p99_ms": round(point.p99_ms, 3),
        "images_per_joule": point.images_per_joule,
        "turns": point.turns,
        "holds": point.holds,
        "is_best": point.is_best,
    }
