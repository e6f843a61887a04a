"""What each way to serve gave, and which of them nothing beats in everything at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.record import Stage
from loadtest.tune.candidate import Candidate
from loadtest.tune.pooled import pooled

Cell = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Point:
    """Of one candidate, over all of its turns."""

    candidate: Candidate
    rate_per_s: float
    p99_ms: float
    images_per_joule: float | None
    turns: int
    holds: bool
    """The objective."""
    is_best: bool = False
    """No other answers as many, with as low a p99, for as little power, and is better in one of them."""


def points_of(turns: Mapping[Candidate, Sequence[Stage]], held: Mapping[Candidate, bool]) -> list[Point]:
    """Those that answered, in the order of their rates."""
    points = []
    for candidate, stages in turns.items():
        if not stages:
            continue
        summary = pooled(stages).summary
        if summary.latency_ms is not None:
            joules = summary.images / summary.joules if summary.joules else None
            rate, p99 = summary.answered_per_s, summary.latency_ms.p99
            points.append(Point(candidate, rate, p99, joules, len(stages), held.get(candidate, False)))
    marked = [_marked(point, points) for point in points]
    return sorted(marked, key=lambda point: point.rate_per_s)


def _marked(point: Point, points: Sequence[Point]) -> Point:
    is_best = not any(_beats(other, point) for other in points)
    return Point(
        point.candidate, point.rate_per_s, point.p99_ms, point.images_per_joule, point.turns, point.holds, is_best
    )


def _beats(one: Point, other: Point) -> bool:
    mine, theirs = _goods(one), _goods(other)
    return all(a >= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs


def _goods(point: Point) -> tuple[float, float, float]:
    """More of each is better."""
    return point.rate_per_s, -point.p99_ms, point.images_per_joule or 0.0


def drawn(points: Sequence[Point], current: Candidate, winner: Candidate | None, size: Cell = (60, 14)) -> list[str]:
    """For a terminal: p99 up, rate to the right; `o` is what was served, `*` the winner, `+` the frontier."""
    if not points:
        return []
    width, height = size
    rates, p99s = [point.rate_per_s for point in points], [point.p99_ms for point in points]
    grid = [[" "] * width for _ in range(height)]
    for point in sorted(points, key=lambda point: (point.candidate in (current, winner), point.is_best)):
        column = _place(point.rate_per_s, min(rates), max(rates), width)
        row = height - 1 - _place(point.p99_ms, min(p99s), max(p99s), height)
        grid[row][column] = _sign(point, current, winner)
    labels = [f"{max(p99s):.4g} ms", *[""] * (height - 2), f"{min(p99s):.4g} ms"]
    margin = max(map(len, labels))
    lines = [f"{label:>{margin}} │{''.join(row)}" for label, row in zip(labels, grid, strict=True)]
    low, high = f"{min(rates):.4g}/s", f"{max(rates):.4g}/s"
    lines.append(f"{'p99':>{margin}} └{'─' * width}")
    lines.append(f"{'':>{margin}}  {low}{high:>{width - len(low)}}")
    lines.append(f"{'':>{margin}}  o served now   * winner   + nothing beats it in all   · others")
    return lines


def _sign(point: Point, current: Candidate, winner: Candidate | None) -> str:
    if point.candidate == winner:
        return "*"
    if point.candidate == current:
        return "o"
    return "+" if point.is_best else "·"


def _place(value: float, low: float, high: float, cells: int) -> int:
    return round((value - low) / (high - low) * (cells - 1)) if high > low else 0
