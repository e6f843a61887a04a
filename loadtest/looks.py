"""Looks at a server at one rate after another, each a run of its own, in one record that can be gone on with."""

import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtest import record as records
from loadtest.capacity import Judged
from loadtest.headers import of_origin, with_secrets
from loadtest.interrupts import Interrupts
from loadtest.load import Load
from loadtest.plan import Plan, WarmUp
from loadtest.record import Record, RecordError, Series, Stage
from loadtest.run import Progress, run
from loadtest.sampling.gateway import GatewayMetrics
from loadtest.slo import LATENCIES, Slo, TermVerdict
from loadtest.statistics import LEAST_WINDOWS, Percentile, Sample, interval_of
from vision.errors import InvalidArgument, JetserveError

BEHIND = 0.85
"""Of what was due: a server that answered less in the time of a look has fallen behind."""
FAILS = 0.5
DRAINED_S, POLL_S = 30.0, 0.1
TRIES = 3
"""A run that is invalid for reasons that have nothing to do with the rate is done again."""
FIRST_WARM_UP, WARM_UP = WarmUp(at_most_s=15.0), WarmUp(at_least_s=1.0, at_most_s=2.0)
KEY = "capacity"


class NotMeasured(JetserveError):  # noqa: N818 - what happened
    """A run without a stage that counts; the message has the reason."""


@dataclass(frozen=True)
class Look:
    """A stage at one rate; `limited` where the generator did not do what it should."""

    stage: Stage
    limited: bool = False


def judged(look: Look, slo: Slo, sent: float = 0.95) -> Judged:
    """A look in the light of an objective; what was not sent, or not answered in time, does not hold."""
    stage, summary = look.stage, look.stage.summary
    due = (stage.rate_per_s or summary.due_per_s) * stage.seconds
    failed = sum(summary.failed.values())
    behind = summary.answered_per_s + failed / max(stage.seconds, 1e-9) < BEHIND * summary.sent / max(
        stage.seconds, 1e-9
    )
    terms = slo.judge(stage).terms
    was_sent = summary.sent >= sent * min(due, summary.due or due)
    if was_sent and not behind and all(term.held for term in terms):
        return Judged(held=True, clear=all(_is_clear(term, stage) for term in terms))
    fails = failed - summary.failed.get("not_sent", 0) > FAILS * max(1, summary.due)
    if (look.limited or not was_sent) and not behind and not fails:
        return Judged(held=False, limited=True)
    return Judged(held=False, clear=behind or fails)


def _is_clear(verdict: TermVerdict, stage: Stage) -> bool:
    """Whether the whole interval of a term that holds does."""
    quantity, bound = verdict.term.quantity, verdict.term.bound
    if quantity == "errors":
        return not stage.summary.failed
    if quantity == "rate":
        return True
    if quantity in ("mean", "max") or quantity not in LATENCIES or len(stage.windows) < LEAST_WINDOWS:
        return False
    interval = interval_of(Sample.of(stage.windows), Percentile(float(quantity.removeprefix("p"))))
    return interval is not None and interval.high * 1e3 < bound


class Looks:
    """Makes them. The record at `path` has all that there are, after each."""

    def __init__(self, plan: Plan, seconds: float, path: Path, interrupts: Interrupts, told: Progress) -> None:
        self._plan, self._seconds, self._path = plan, seconds, path
        self._interrupts, self._told = interrupts, told
        self._record: Record | None = None
        self._again: list[Look] = []
        self._done: list[Look] = []
        self._settings: dict[str, Any] = {}

    def remember(self, **settings: Any) -> None:
        """Beside the plan, what it takes to go on; in the record."""
        self._settings = settings | {"seconds": self._seconds}

    def go_on(self, record: Record) -> None:
        """From an unfinished one: its looks are taken as they are, in their order, before any is made."""
        self._record = record
        limited = record.conditions[KEY]["limited"]
        self._again = [Look(stage, flag) for stage, flag in zip(record.stages, limited, strict=True)]

    def __call__(self, rate_per_s: float) -> Look:
        """One more.

        Raises:
            Interrupted: between two looks, or in one, which is then not counted.
            JetserveError: of `loadtest.run`.
        """
        if self._again and self._again[0].stage.rate_per_s == rate_per_s:
            look = self._again.pop(0)
        else:
            self._again.clear()
            look = self._made(rate_per_s)
        self._done.append(look)
        return look

    def _made(self, rate_per_s: float) -> Look:
        number = len(self._done) + 1
        load = Load(rate_per_s=rate_per_s, seconds=self._seconds, name=f"look {number}: {rate_per_s:.4g}/s")
        warm_up = FIRST_WARM_UP if number == 1 else WARM_UP
        plan = self._plan.model_copy(update={"stages": (load,), "warm_up": warm_up})
        for _ in range(TRIES):
            self._interrupts.check()
            drained(self._plan)
            with tempfile.TemporaryDirectory() as folder:
                record = run(plan, Path(folder), stop=self._interrupts.stop, on_progress=self._told)
            self._interrupts.check()
            of_stage, others = _parted(record, load.name)
            if not others:
                break
        stage = next(iter(record.counted()), None)
        if stage is None:
            raise NotMeasured(f"nothing was measured at {rate_per_s:.4g}/s: {'; '.join(record.invalid)}")
        look = Look(stage, bool(of_stage))
        self._add(record, look, others)
        return look

    def _add(self, record: Record, look: Look, invalid: list[str]) -> None:
        """Write it down, as a stage of the one record."""
        told = dict(self._record.conditions[KEY]) if self._record else {"limited": []}
        told = told | self._settings | {"limited": [*told["limited"], look.limited]}
        self._record = joined(self._record, record, look.stage, invalid, self._path.stem)
        conditions = self._record.conditions | {KEY: told}
        plan = self._plan.model_dump(mode="json", exclude_none=True, exclude={"stages", "warm_up"})
        self._record = self._record.model_copy(update={"conditions": conditions, "plan": plan})
        records.write(self._path, self._record)

    def finish(self, result: dict[str, Any], slo: Slo) -> Record:
        """The record, with what came of it."""
        assert self._record is not None  # noqa: S101 - a search looks at least once
        judged = slo.judged(self._record) | {"held": result["rate_per_s"] is not None}
        told = self._record.conditions[KEY] | result
        self._record = self._record.model_copy(
            update={"finished": True, "slo": judged, "conditions": self._record.conditions | {KEY: told}}
        )
        records.write(self._path, self._record)
        return self._record


def _parted(record: Record, stage: str) -> tuple[list[str], list[str]]:
    """Why the generator did not do what it should at this rate, and what else is wrong with the run."""
    of_stage = [reason for reason in record.invalid if reason.startswith(f"{stage}: ")]
    others = [reason for reason in record.invalid if reason not in of_stage]
    return [reason for reason in of_stage if " requests failed: " not in reason], others


def joined(before: Record | None, new: Record, stage: Stage, invalid: list[str], name: str) -> Record:
    """`new` with only this stage, behind those of `before`, in the time of the first."""
    first = before or new
    shift_s = (datetime.fromisoformat(new.began) - datetime.fromisoformat(first.began)).total_seconds()
    windows = [window.model_copy(update={"begin_s": window.begin_s + shift_s}) for window in stage.windows]
    moved = stage.model_copy(update={"begin_s": stage.begin_s + shift_s, "windows": windows})
    return first.model_copy(
        update={
            "name": name,
            "finished": False,
            "invalid": [*(before.invalid if before else ()), *(f"{stage.name}: {reason}" for reason in invalid)],
            "stages": [*(before.stages if before else ()), moved],
            "series": _joined_series(before.series if before else [], new.series, shift_s),
            "seconds": shift_s + new.seconds,
        }
    )


def _joined_series(before: list[Series], new: list[Series], shift_s: float) -> list[Series]:
    found = {series.name: series for series in before}
    for series in new:
        old = found.get(series.name) or Series(name=series.name, unit=series.unit, times_s=[], values=[])
        times = [*old.times_s, *(time_s + shift_s for time_s in series.times_s)]
        found[series.name] = old.model_copy(update={"times_s": times, "values": [*old.values, *series.values]})
    return list(found.values())


def drained(plan: Plan, within_s: float = DRAINED_S) -> bool:
    """Wait until a gateway has nothing in work; a server that cannot be asked is given a moment."""
    url = plan.gateway or (plan.host if plan.transport == "http" else None)
    metrics = GatewayMetrics(url, of_origin(with_secrets(plan.told_headers()), url, plan.host)) if url else None
    try:
        end_s = time.monotonic() + within_s
        while metrics is not None and time.monotonic() < end_s:
            counts = metrics.counts()
            busy = None if counts is None else counts.gauges.get("gateway_requests_in_flight")
            if not busy:
                return busy is not None
            time.sleep(POLL_S)
        return False
    finally:
        if metrics is not None:
            metrics.close()


def unfinished(path: Path) -> Record:
    """A record to go on with.

    Raises:
        InvalidArgument: there is none, it is another, or has ended.
    """
    try:
        record = records.read(path)
    except RecordError as exc:
        raise InvalidArgument(str(exc)) from exc
    if KEY not in record.conditions or record.finished:
        what = "ended already" if KEY in record.conditions else "is not of `python -m loadtest capacity`"
        raise InvalidArgument(f"{path} {what}: there is nothing to go on with")
    return record


def path_for(folder: Path, plan: Plan) -> Path:
    """Of a new record."""
    return folder / f"capacity_{plan.name}_{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
