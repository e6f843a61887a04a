"""What a search found, as a page: one file that needs nothing else."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template

from loadtest.report.figure import Figure, Table, drawing
from loadtest.report.plot import Frame, Line, sample_of
from loadtest.report.plot import Point as Place
from loadtest.report.scale import number
from loadtest.tune.candidate import Candidate
from loadtest.tune.frontier import Point
from loadtest.tune.pooled import pooled
from loadtest.tune.score import VALUE, Quantity
from loadtest.tune.search import Found
from loadtest.tune.verdict import Outcome, told_ratio, told_value

LEGEND = ("nothing beats it in all", "served now", "winner", "others")


def html_of(
    model: str, found: Found, outcome: Outcome, points: Sequence[Point], commands: Sequence[str],
    conditions: Mapping[str, object],
) -> str:  # fmt: skip
    """The page."""
    figures = [_figure(points, found, outcome, "rate, answers/s", "p99, ms", lambda point: point.rate_per_s)]
    if all(point.images_per_joule for point in points):
        figures.append(
            _figure(points, found, outcome, "images per joule", "p99, ms", lambda point: point.images_per_joule or 0.0)
        )
    return _template().render(
        model=model,
        why=outcome.why[:1].upper() + outcome.why[1:],
        winner=outcome.winner is not None,
        duel=duel_of(found, outcome),
        figures=figures,
        candidates=table_of(points, found.current, outcome.winner),
        commands=commands,
        conditions=[(name, str(value)) for name, value in conditions.items()],
    )


def duel_of(found: Found, outcome: Outcome) -> Table:
    """What was served beside the best of the others, over their turns in the duel."""
    columns = ("", "served now", "best of the others", "95 of 100 such duels")
    if not found.pairs:
        return Table(columns, [])
    now = pooled([pair.current for pair in found.pairs])
    then = pooled([pair.challenger for pair in found.pairs])
    rows = [["settings", str(found.current), str(found.challenger), f"{len(found.pairs)} turns each"]]
    quantities: list[Quantity] = [quantity for quantity in VALUE if quantity in outcome.ratios]
    rows += [
        [quantity, told_value(quantity, VALUE[quantity](now)), told_value(quantity, VALUE[quantity](then)),
         told_ratio(quantity, outcome.ratios[quantity])]
        for quantity in quantities
    ]  # fmt: skip
    return Table(columns, rows)


def table_of(points: Sequence[Point], current: Candidate, winner: Candidate | None) -> Table:
    """Every candidate, the most answers first."""
    power = any(point.images_per_joule for point in points)
    columns = ["", "answers/s", "p99 ms", *(["images/J"] if power else []), "turns", "objective", "settings"]
    rows = []
    for point in reversed(points):
        is_who = {current: "served now", winner: "winner"}.get(point.candidate)
        joules = [number(point.images_per_joule)] if power else []
        rows.append([
            is_who or ("frontier" if point.is_best else ""), number(point.rate_per_s), number(point.p99_ms), *joules,
            str(point.turns), "held" if point.holds else "broken", str(point.candidate),
        ])  # fmt: skip
    return Table(columns, rows)


def _figure(
    points: Sequence[Point], found: Found, outcome: Outcome, x_name: str, y_name: str, x_of: Callable[[Point], float]
) -> Figure:
    best = sorted((x_of(point), point.p99_ms) for point in points if point.is_best)
    lines = [
        Line(LEGEND[2], _of(points, outcome.winner, x_of), 2, marked=True),
        Line(LEGEND[1], _of(points, found.current, x_of), 1, marked=True),
        Line(LEGEND[0], best, 0, marked=True),
        Line(LEGEND[3], _apart([(x_of(point), point.p99_ms) for point in points if not point.is_best]), 3, marked=True),
    ]
    frame = Frame.around(lines, x_name, y_name, zero=False, x_zero=False)
    title = f"{y_name} by {x_name}"
    svg = drawing(title, f"{len(points)} ways to serve; {outcome.why}", frame.drawn(lines))
    return Figure(title, svg, Table((), ()), LEGEND, marked=True)


def _of(points: Sequence[Point], candidate: Candidate | None, x_of: Callable[[Point], float]) -> list[Place]:
    return [(x_of(point), point.p99_ms) for point in points if point.candidate == candidate]


def _apart(places: Sequence[Place]) -> list[Place]:
    """With breaks between, so that no line connects them."""
    return [each for place in places for each in (place, (place[0], None))]


@cache
def _template() -> Template:
    loader = ChoiceLoader([PackageLoader("loadtest.tune"), PackageLoader("loadtest.report")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["sample_of"] = sample_of
    return environment.get_template("page.html")
