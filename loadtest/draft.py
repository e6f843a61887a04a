"""A record while it is made: what is known so far, put together whenever it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from loadtest.plan import Plan
from loadtest.record import Record, Stage
from loadtest.samples import OK, Samples
from loadtest.sampling.collected import Collected
from loadtest.sampling.device import joules
from loadtest.slo import Slo
from loadtest.stages import stage_from_samples
from loadtest.timetable import Entry, Timetable
from loadtest.validity import Events, problem_of_throttling, problems_of_stage
from loadtest.watching import Look, figures_of

UNFINISHED = "unfinished: the run had not ended when this was written"
WARM_UP = "warm-up"
MOMENT_S = 1e-3


@dataclass
class Draft:
    """Of one run. Times are `time.monotonic`."""

    name: str
    plan: Plan
    began: str
    began_s: float
    conditions: Mapping[str, Any]
    collected: Collected
    events: Events = field(default_factory=Events)
    timetable: Timetable = field(default_factory=Timetable)
    cut: set[str] = field(default_factory=set)
    """Stages that were ended before their time, and do not count."""
    looks: dict[str, Look] = field(default_factory=dict)
    """At the beginning of each entry of the timetable, and `end`."""
    throttled: Mapping[str, int] = field(default_factory=dict)
    server_answered: int | None = None
    """Well, in the whole run."""

    def __post_init__(self) -> None:
        self._planned_s = {load.label: load.seconds for load in self.plan.loads()}

    def record(self, samples: Samples, now_s: float, *, finished: bool) -> Record:
        """All that is known now."""
        stages = self._stages(samples, now_s, finished=finished)
        invalid = list(self.events.reasons) if finished else [UNFINISHED, *self.events.reasons]
        if finished:
            invalid += [problem for stage in stages if stage.counts for problem in self._problems(stage)]
            invalid += problem_of_throttling(self.throttled)
            if not any(stage.counts for stage in stages):
                invalid.append("no stage was measured to its end")
        record = Record(
            name=self.name,
            began=self.began,
            seconds=round(now_s - self.began_s, 3),
            finished=finished,
            invalid=invalid,
            plan=self.plan.model_dump(mode="json", exclude_none=True) | {"loads": _loads(self.plan)},
            conditions=dict(self.conditions),
            stages=stages,
            series=self.collected.series(),
        )
        if finished and self.plan.slo is not None:
            return record.model_copy(update={"slo": Slo.parse(self.plan.slo).judged(record)})
        return record

    def _stages(self, samples: Samples, now_s: float, *, finished: bool) -> list[Stage]:
        entries = [entry for entry in self.timetable.entries if entry.begin_s < now_s]
        stages = [self._stage(entry, samples, now_s) for entry in entries]
        counted = [number for number, stage in enumerate(stages) if stage.counts]
        if finished and len(counted) == 1 and self.server_answered is not None:
            # The servers count the run as a whole; what was answered in its other parts is not this stage's.
            others = int(samples.are(OK).sum()) - stages[counted[0]].summary.answered
            stages[counted[0]] = _with_summary(stages[counted[0]], server_answered=self.server_answered - others)
        return stages

    def _stage(self, entry: Entry, samples: Samples, now_s: float) -> Stage:
        counts = entry.name != WARM_UP and entry.name not in self.cut
        entry = entry if counts else self._sent(entry, samples)
        stage = stage_from_samples(entry, samples, self.began_s, now_s, self.plan.window_s, counts=counts)
        end_s = stage.begin_s + stage.seconds
        stage = _with_summary(
            stage.model_copy(update={"cut": stage.seconds < self._planned_s.get(entry.name, 0.0) - MOMENT_S}),
            joules=joules(self.collected, stage.begin_s, end_s),
            answered_per_s=ended_between(samples, entry.begin_s, entry.begin_s + stage.seconds)
            / max(1e-9, stage.seconds),
        )
        before, after = self.looks.get(entry.name), self.looks.get(self._next(entry))
        if before is None or after is None:
            return stage
        told = {name: model.model_copy(update=figures_of(before, after, name)) for name, model in stage.models.items()}
        return stage.model_copy(update={"models": told})

    def _sent(self, entry: Entry, samples: Samples) -> Entry:
        """Of a warm-up, from its first request on: before that the generator was starting."""
        due_s = samples.rows["due_s"]
        if entry.name != WARM_UP or not len(due_s):
            return entry
        return replace(entry, begin_s=max(entry.begin_s, float(due_s.min())))

    def _problems(self, stage: Stage) -> list[str]:
        busiest = self.collected.between("generator.busiest", stage.begin_s, stage.begin_s + stage.seconds)
        return problems_of_stage(stage, self.plan, busiest)

    def _next(self, entry: Entry) -> str:
        names = [each.name for each in self.timetable.entries]
        place = names.index(entry.name) + 1
        return names[place] if place < len(names) else "end"


def ended_between(samples: Samples, begin_s: float, end_s: float) -> int:
    """How many answers came in that time, whenever they had been asked for."""
    ended_s = samples.rows["ended_s"]
    return int(np.sum(samples.are(OK) & (ended_s >= begin_s) & (ended_s < end_s)))


def _with_summary(stage: Stage, **figures: Any) -> Stage:
    return stage.model_copy(update={"summary": stage.summary.model_copy(update=figures)})


def _loads(plan: Plan) -> Sequence[Mapping[str, Any]]:
    return [load.model_dump(exclude_none=True) for load in plan.loads()]
