"""What happened second by second: latencies, rates, lateness, and what servers and machines said of themselves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from loadtest.histogram import merged, percentile_s
from loadtest.record import Record, Series, Stage, Window
from loadtest.report.figure import Figure, Section, Table, drawing
from loadtest.report.plot import Frame, Line, Mark, Point
from loadtest.report.scale import number

MOST_POINTS = 90
"""In a line; more windows than that are merged."""
LEAST_WINDOW = 0.3
"""Of the longest window of a record."""
MOST_LINES = 4
"""In a plot: as many as dashes tell apart."""
MOST_MARKS = 6

Lines = Mapping[str, Sequence[Point]]


@dataclass(frozen=True)
class Piece:
    """A few windows, merged."""

    middle_s: float
    seconds: float
    windows: Sequence[Window]

    def percentile_ms(self, of: str, percent: float) -> float | None:
        found = percentile_s(merged(getattr(window, of) for window in self.windows), percent)
        return None if found is None else found * 1e3

    def per_s(self, count: Callable[[Window], int]) -> float:
        return sum(map(count, self.windows)) / self.seconds


def pieces_of(record: Record) -> list[Piece]:
    """Of all its windows, warm-ups included, at most 90 of each stage's share; none reaches over two stages."""
    whole = max((window.seconds for stage in record.stages for window in stage.windows), default=0.0)
    every = max(1, -(-sum(len(stage.windows) for stage in record.stages) // MOST_POINTS))
    found = []
    for stage in record.stages:
        # A rest of a window, as where a stage was ended early, tells no rate: one request in 0.1 s is not ten a second.
        usable = [window for window in stage.windows if window.seconds > LEAST_WINDOW * whole]
        for first in range(0, len(usable), every):
            windows = usable[first : first + every]
            seconds = sum(window.seconds for window in windows)
            found.append(Piece(windows[0].begin_s + seconds / 2, seconds, windows))
    return found


def latency(records: Sequence[Record]) -> Section:
    """Three percentiles, in ms."""
    percents = {"p99": 99.0, "p90": 90.0, "p50": 50.0}
    found = [
        {
            name: [(each.middle_s, each.percentile_ms("latency", percent)) for each in pieces_of(record)]
            for name, percent in percents.items()
        }
        for record in records
    ]
    text = (
        "From when each request was due to its answer. A step at the beginning of a stage is its load, a slope a queue."
    )
    return _section("Latency over time", text, "ms", records, found, log=True)


def rate(records: Sequence[Record]) -> Section:
    """Due, answered and failed, a second."""
    counts: dict[str, Callable[[Window], int]] = {
        "answered": lambda window: window.answered,
        "failed": lambda window: sum(window.failed.values()),
        "due": lambda window: window.due,
    }
    found = [
        {name: [(each.middle_s, each.per_s(count)) for each in pieces_of(record)] for name, count in counts.items()}
        for record in records
    ]
    text = "Requests by the second in which they were due: where answered leaves due, the server no longer keeps up."
    return _section("Rate over time", text, "1/s", records, found)


def lateness(records: Sequence[Record]) -> Section:
    """Of the generator, in ms."""
    found = [
        {
            name: [(each.middle_s, each.percentile_ms("lateness", percent)) for each in pieces_of(record)]
            for name, percent in {"p99": 99.0, "p50": 50.0}.items()
        }
        for record in records
    ]
    text = "How long after they were due requests were sent: the generator's own doing, and part of every latency here."
    return _section("Lateness of the generator", text, "ms", records, found, log=True)


def devices(records: Sequence[Record]) -> list[Section]:
    """A section for each unit in which there are series: power, temperature, load."""
    units: dict[str, list[str]] = {}
    for record in records:
        for series in record.series:
            names = units.setdefault(series.unit, [])
            if series.name not in names:
                names.append(series.name)
    sections = []
    for unit, names in units.items():
        for first in range(0, len(names), MOST_LINES):
            some = names[first : first + MOST_LINES]
            found = [{one.name: _thinned(one) for one in record.series if one.name in some} for record in records]
            title = ", ".join(name.replace("_", " ") for name in some)
            sections.append(_section(title, "", unit, records, found, zero=unit not in ("°C", "C")))
    return sections


def _thinned(series: Series) -> list[Point]:
    """Means of neighbours."""
    every = max(1, -(-len(series.values) // MOST_POINTS))
    points: list[Point] = []
    for first in range(0, len(series.values), every):
        values = [value for value in series.values[first : first + every] if value is not None]
        times = series.times_s[first : first + every]
        points.append((sum(times) / len(times), sum(values) / len(values) if values else None))
    return points


def _section(
    title: str, text: str, unit: str, records: Sequence[Record], found: Sequence[Lines], *, log: bool = False,
    zero: bool = True,
) -> Section:  # fmt: skip
    """One figure a record, all on the same axes."""
    names = list(dict.fromkeys(name for lines in found for name in lines))
    drawn = [[Line(name, lines[name], names.index(name)) for name in names if name in lines] for lines in found]
    if not any(y is not None for lines in drawn for line in lines for _, y in line.points):
        return Section(title, text)
    frame = Frame.around([line for lines in drawn for line in lines], "seconds", unit or "state", log=log, zero=zero)
    figures = [
        Figure(
            title,
            drawing(title, _description(lines, unit), frame.drawn(lines, _marks(record.stages))),
            _table(lines, unit),
            [line.name for line in lines],
            record.name,
        )
        for record, lines in zip(records, drawn, strict=True)
    ]
    return Section(title, text, figures)


def _marks(stages: Sequence[Stage]) -> list[Mark]:
    """Where stages begin; without names where there are many."""
    few = len(stages) <= MOST_MARKS
    return [Mark(stage.begin_s, stage.name if few else "") for stage in stages] if len(stages) > 1 else []


def _description(lines: Sequence[Line], unit: str) -> str:
    said = []
    for line in lines:
        values = [y for _, y in line.points if y is not None]
        if values:
            said.append(f"{line.name} between {number(min(values))} and {number(max(values))} {unit}".strip())
    return "; ".join(said) or "nothing was measured"


def _table(lines: Sequence[Line], unit: str) -> Table:
    """At the first line's times, which are all lines'; else by line."""
    times = sorted({x for line in lines for x, _ in line.points})
    by_line = [dict(line.points) for line in lines]
    rows = [[number(x), *(number(points.get(x)) for points in by_line)] for x in times]
    return Table(["s", *(f"{line.name} {unit}".strip() for line in lines)], rows)
