"""A comparison, drawn: each quantity's ratio with its interval, about the line of no change."""

from collections.abc import Sequence
from itertools import groupby

from markupsafe import Markup

from loadtest.comparison import Comparison, Row, Verdict
from loadtest.report.bars import NAME, ROW, shortened
from loadtest.report.figure import WIDTH, Figure, Section, Table, drawing
from loadtest.report.scale import Scale, number
from loadtest.report.svg import element, joined, text

SIGNS = {Verdict.BETTER: "▲", Verdict.WORSE: "▼", Verdict.ALIKE: "="}
FROM = {Verdict.BETTER: "than", Verdict.WORSE: "than", Verdict.ALIKE: "from"}
CLASSES = {Verdict.BETTER: "good", Verdict.WORSE: "bad", Verdict.ALIKE: "alike"}
MINUS = "\u2212"
WIDEST = 0.5
"""A half to a double of the ratio is drawn, at most."""


def compared(found: Comparison) -> Section:
    """One figure a stage, with all ratios in it; differences of errors are in the table."""
    figures = []
    for stage, rows in groupby(found.rows, key=lambda row: row.stage):
        these = list(rows)
        title = f"B by A, {stage}"
        said = "; ".join(f"{row.name} {change_of(row)}, {row.verdict}" for row in these)
        table = Table(
            ["", "A", "B", "B by A", "interval", "verdict"],
            [[row.name, *values_of(row), change_of(row), interval_of_row(row), str(row.verdict)] for row in these],
        )
        drawn = _forest(title, said, [row for row in these if row.quantity.is_ratio])
        figures.append(Figure(title, drawn, table, (), "", "Phases, below the line, explain; they do not decide."))
    runs = f"{found.runs[0]} run{'s' if found.runs[0] > 1 else ''} of A and {found.runs[1]} of B"
    turns = ", each with its neighbour in time" if found.paired else ""
    words = (
        f"B is {found.verdict} {FROM[found.verdict]} A, by {runs}{turns}. Intervals hold in"
        f" {number(found.level * 100)} of 100 cases each, so that all together do in 95. ▲ better,"
        " ▼ worse, = not told apart: the interval has the line in it, or the difference is too small to act on."
    )
    return Section("Comparison", words, figures)


def values_of(row: Row) -> tuple[str, str]:
    """In the quantity's unit."""
    scale = 1e3 if row.quantity.unit == "ms" and row.counts else 100 if row.quantity.unit == "%" else 1
    return tuple(f"{number(value * scale)} {row.quantity.unit}" for value in (row.a, row.b))  # type: ignore[return-value]


def change_of(row: Row) -> str:
    """`+3.2 %`, of errors in points of a hundred."""
    return f"{_percent(row, row.ratio)} {'%' if row.quantity.is_ratio else 'points'}"


def interval_of_row(row: Row) -> str:
    return f"{_percent(row, row.low)} to {_percent(row, row.high)}"


def _percent(row: Row, value: float) -> str:
    change = (value - 1) * 100 if row.quantity.is_ratio else value * 100
    return f"{'+' if change >= 0 else MINUS}{number(abs(change))}"


def _forest(title: str, said: str, rows: Sequence[Row]) -> Markup:
    widest = min(max((abs(end - 1) for row in rows for end in (row.low, row.high)), default=0.1), WIDEST)
    scale = Scale(1 - widest * 1.1, 1 + widest * 1.1, NAME + 6, WIDTH - 78)
    height = len(rows) * ROW
    ticks = [1 - widest, 1.0, 1 + widest]
    decide = sum(row.counts for row in rows) * ROW
    parts = [
        element("line", x1=scale.at(1), x2=scale.at(1), y1=0, y2=height + 2, class_="axis"),
        *([] if decide in (0, height) else [element("line", x1=0, x2=WIDTH, y1=decide, y2=decide, class_="grid")]),
        *(_interval(row, place * ROW, scale) for place, row in enumerate(rows)),
        *(
            text(scale.at(tick), height + 14, _tick(tick), class_="tick", text_anchor="middle")
            for tick in ticks
        ),
    ]  # fmt: skip
    return drawing(title, said, *parts, height=height + 20)


def _tick(ratio: float) -> str:
    return "0" if ratio == 1 else f"{(ratio - 1) * 100:+.3g} %"


def _interval(row: Row, top: float, scale: Scale) -> Markup:
    middle = top + ROW / 2
    low, ratio, high = (scale.at(value) for value in (row.low, row.ratio, row.high))
    kind = CLASSES[row.verdict]
    return joined([
        text(NAME, top + 13.5, shortened(row.name.rpartition(": ")[2]), class_="label", text_anchor="end"),
        element("line", element("title", f"{row.name}: {change_of(row)}, {row.verdict}"),
                x1=low, x2=high, y1=middle, y2=middle, class_=f"interval {kind}"),
        element("circle", cx=ratio, cy=middle, r=4, class_=f"estimate {kind}"),
        text(WIDTH - 4, top + 13.5, f"{change_of(row)} {SIGNS[row.verdict]}",
             class_=f"value {kind}", text_anchor="end"),
    ])  # fmt: skip
