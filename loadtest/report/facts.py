"""The words and numbers of a report: verdict, key figures, stages, conditions."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.knee import knee_of
from loadtest.record import Record, Stage
from loadtest.report.figure import Table
from loadtest.report.scale import number
from loadtest.report.toml import toml_of
from loadtest.statistics import Errors, Interval, Percentile, Rate, Sample, interval_of

STAGE_COLUMNS = (
    "stage", "due, 1/s", "answered, 1/s", "p50 ms", "p90 ms", "p99 ms", "failed", "images/J", "counted by the server",
)  # fmt: skip


KEY_OF_CAPACITY = "capacity"
"""In a record's conditions: `loadtest.looks`."""
HELD, BROKEN = "✓", "✗"


@dataclass(frozen=True)
class Fact:
    """One figure with its unit, and where it would lie in 95 of 100 such runs."""

    name: str
    value: str
    range: str = ""


@dataclass(frozen=True)
class Facts:
    """What the page says of one record. `objective` is None where there is no SLO, else its text and its terms."""

    title: str
    name: str
    letter: str
    began: str
    seconds: str
    is_valid: bool
    reasons: Sequence[str]
    answer: str
    """Of a search for a capacity, what it found."""
    objective: str | None
    held: bool
    terms: Table
    """A stage a row, a term a column: held or broken, and what was measured."""
    figures: Sequence[Fact]
    stage: str
    """Whose figures those are."""
    stages: Table
    conditions: Sequence[tuple[str, str]]
    plan: str


def facts_of(record: Record, letter: str) -> Facts:
    """Of one record; figures are those of the rate that a capacity is, of the knee's stage, or of the busiest."""
    stage = _chosen(record)
    slo = record.slo or {}
    reasons = [*record.invalid, *(() if record.finished else ("it was not finished: the run ended before its end",))]
    return Facts(
        title_of(record),
        record.name,
        letter,
        record.began,
        number(record.seconds),
        record.is_valid,
        reasons,
        _answer(record),
        slo.get("objective"),
        bool(slo.get("held")),
        _terms(slo),
        [] if stage is None else list(_figures(stage)),
        "" if stage is None else stage.title,
        Table(STAGE_COLUMNS, [_row(each) for each in record.counted()]),
        list(_flat(record.conditions, "")),
        # `loads` is what `steps`, `spike` or nothing came to; a plan has them from those.
        toml_of({name: value for name, value in record.plan.items() if name != "loads"}),
    )


def title_of(record: Record) -> str:
    """Its plan's name, which is shorter than its own."""
    return str(record.plan.get("name") or record.name)


def _answer(record: Record) -> str:
    found = record.conditions.get(KEY_OF_CAPACITY) or {}
    return f"{found.get('objective')} holds up to {found['said']}" if found.get("said") else ""


def _chosen(record: Record) -> Stage | None:
    answer = (record.conditions.get(KEY_OF_CAPACITY) or {}).get("rate_per_s")
    looks = [stage for stage in record.counted() if answer is not None and stage.rate_per_s == answer]
    if looks:
        return looks[-1]
    knee = knee_of(record.counted())
    if knee is not None:
        return knee.stage
    whole = [stage for stage in record.counted() if not stage.cut] or record.counted()
    return max(whole, key=lambda stage: stage.summary.answered_per_s, default=None)


def _terms(slo: Mapping[str, Any]) -> Table:
    stages = slo.get("stages") or []
    columns = [str(term.get("term")) for term in stages[0].get("terms", ())] if stages else []
    rows = [
        [
            str(stage.get("stage")),
            *(f"{HELD if term.get('held') else BROKEN} {term.get('said')}" for term in stage["terms"]),
        ]
        for stage in stages
    ]
    return Table(["stage", *columns], rows)


def _figures(stage: Stage) -> Iterator[Fact]:
    found, sample = stage.summary, Sample.of(stage.windows)
    if stage.has_rates:
        yield Fact("answered", f"{number(found.answered_per_s)}/s", _range(interval_of(sample, Rate()), 1))
    if found.latency_ms is not None:
        for name, value in (("p50", found.latency_ms.p50), ("p99", found.latency_ms.p99)):
            yield Fact(name, f"{number(value)} ms", _range(interval_of(sample, Percentile(float(name[1:]))), 1e3))
    yield Fact("failed", f"{number(_failed(stage) * 100)} %", _range(interval_of(sample, Errors()), 100))
    if (per_joule := _per_joule(stage)) is not None:
        yield Fact("images per joule", number(per_joule))


def _row(stage: Stage) -> list[str]:
    found, sample = stage.summary, Sample.of(stage.windows)
    rates = number(found.due_per_s), _with(found.answered_per_s, interval_of(sample, Rate()), 1)
    row = [stage.title, *(rates if stage.has_rates else [number(None)] * 2)]
    for name in ("p50", "p90", "p99"):
        value = None if found.latency_ms is None else getattr(found.latency_ms, name)
        row.append(_with(value, interval_of(sample, Percentile(float(name[1:]))), 1e3))
    row.append(f"{number(_failed(stage) * 100)} %")
    row += [number(_per_joule(stage)), number(found.server_answered)]
    return row


def _failed(stage: Stage) -> float:
    failed = sum(stage.summary.failed.values())
    return failed / (failed + stage.summary.answered) if failed else 0.0


def _per_joule(stage: Stage) -> float | None:
    joules = stage.summary.joules
    return stage.summary.images / joules if joules else None


def _with(value: float | None, interval: Interval | None, scale: float) -> str:
    said = _range(interval, scale)
    return f"{number(value)} ({said})" if said else number(value)


def _range(interval: Interval | None, scale: float) -> str:
    """`19.2 to 20.4`; nothing where it is unknown, or no wider than the figure's own digits."""
    if interval is None:
        return ""
    low, high = number(interval.low * scale), number(interval.high * scale)
    return "" if low == high else f"{low} to {high}"


def _flat(found: Any, path: str) -> Iterator[tuple[str, str]]:
    """Nested names joined by spaces; lists as JSON."""
    if isinstance(found, Mapping):
        for name, value in found.items():
            yield from _flat(value, f"{path} {name}".strip())
    elif found is not None and found != "":
        yield path, found if isinstance(found, str) else json.dumps(found)
