"""Throughput and latency of each stage, with the knee."""

from collections.abc import Sequence

from loadtest.knee import Knee, knee_of, load_of
from loadtest.record import Percentiles, Record, Stage
from loadtest.report.figure import HEIGHT, Figure, Section, Table, drawing
from loadtest.report.plot import BOTTOM, LEFT, TOP, Frame, Line
from loadtest.report.scale import number
from loadtest.report.svg import element, text

TEXT = (
    "Each point is a stage. The knee is the last one, from the least load up, whose p99 is below twice that of the"
    " least load and which was answered at least 95 % of what was due."
)


def throughput_latency(records: Sequence[Record]) -> Section:
    """p50 and p99 over answers a second, of all records in one plot (of many only p99); nothing of single stages."""
    lines: list[Line] = []
    legend, knees, rows = [], [], []
    for record in records:
        stages = _measured(record)
        if len(stages) < 2:
            continue
        knee = knee_of(record.counted())
        knees.append((record, knee))
        whose = f"{record.name}: " if len(records) > 1 else ""
        for percentile in ("p99", "p50") if len(records) <= MOST_WITH_P50 else ("p99",):
            name = f"{whose}{percentile}"
            legend.append(name)
            lines.append(Line(name, _points(stages, percentile), len(lines) % 4, marked=True))
        rows += [_row(record, *each, knee) for each in stages]
    if not lines:
        return Section("Throughput and latency", TEXT)
    frame = Frame.around(lines, "answered, 1/s", "ms", log=True)
    marked = [_ring(frame, knee) for _, knee in knees if knee is not None]
    said = [_said(record, knee, len(records) > 1) for record, knee in knees]
    svg = drawing("Throughput and latency", " ".join(said), frame.drawn(lines), *marked)
    table = Table(["record", "stage", "due, 1/s", "answered, 1/s", "p50 ms", "p99 ms", ""], rows)
    return Section(
        "Throughput and latency",
        TEXT,
        [Figure("Throughput and latency", svg, table, legend, "", " ".join(said), marked=True)],
    )


MOST_WITH_P50 = 2
ROOM = LEFT + 70
"""For a word to the left of a point."""
Measured = tuple[Stage, Percentiles]


def _measured(record: Record) -> list[Measured]:
    return [
        (stage, stage.summary.latency_ms)
        for stage in record.counted()
        if stage.summary.latency_ms is not None and stage.has_rates
    ]


def _points(stages: Sequence[Measured], percentile: str) -> list[tuple[float, float | None]]:
    """In the order of load: beyond what a server can do, the line turns back."""
    rising = sorted(stages, key=lambda each: load_of(each[0]))
    return [(stage.summary.answered_per_s, getattr(found, percentile)) for stage, found in rising]


def _ring(frame: Frame, knee: Knee) -> str:
    """Round the knee's p99, with a line down to its rate."""
    rate = knee.stage.summary.answered_per_s
    x, y = frame.point(rate, 0.0 if (found := knee.stage.summary.latency_ms) is None else found.p99)
    parts = [
        element("line", x1=x, x2=x, y1=y, y2=HEIGHT - BOTTOM, class_="knee"),
        element("circle", cx=x, cy=y, r=8, class_="knee"),
        text(x - 4, max(TOP + 8, y - 13), f"knee {number(rate)}/s", class_="value",
             text_anchor="end" if x > ROOM else "start"),
    ]  # fmt: skip
    return element("g", *parts)


def _said(record: Record, knee: Knee | None, named: bool) -> str:
    whose = f"{record.name}: " if named else ""
    if knee is None:
        return f"{whose}No knee: it takes three loads, the least of them answered."
    rate = f"{number(knee.stage.summary.answered_per_s)}/s"
    if knee.is_end:
        return f"{whose}The knee was not reached, the busiest stage ({knee.stage.name}, {rate}) still keeps up."
    return f"{whose}The knee is at {rate} ({knee.stage.name})."


def _row(record: Record, stage: Stage, found: Percentiles, knee: Knee | None) -> list[str]:
    figures = (stage.summary.due_per_s, stage.summary.answered_per_s, found.p50, found.p99)
    return [record.name, stage.name, *map(number, figures), "knee" if knee is not None and knee.stage is stage else ""]
