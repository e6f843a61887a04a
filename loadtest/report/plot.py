"""A frame with axes, and lines in it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from loadtest.report.figure import HEIGHT, WIDTH
from loadtest.report.scale import Scale, number, scale_for
from loadtest.report.svg import element, joined, path, text

LEFT, RIGHT, TOP, BOTTOM = 44.0, 10.0, 22.0, 34.0
LETTER = 5.4
"""Width of one of a mark's name, about."""
SHAPES = ("circle", "square", "diamond", "triangle")
"""Of points, by the number of the line: colour is never all that tells them apart."""

Point = tuple[float, float | None]


@dataclass(frozen=True)
class Line:
    """`number` gives colour, dashes and shape; None breaks it."""

    name: str
    points: Sequence[Point]
    number: int
    marked: bool = False


@dataclass(frozen=True)
class Mark:
    """A vertical line with a word, as where a stage begins."""

    x: float
    name: str


@dataclass(frozen=True)
class Frame:
    """The axes, which figures to be compared share."""

    x: Scale
    y: Scale
    x_name: str
    y_name: str

    @classmethod
    def around(
        cls, lines: Iterable[Line], x_name: str, y_name: str, *, log: bool = False, zero: bool = True,
        x_zero: bool = True,
    ) -> "Frame":  # fmt: skip
        """With room for all of `lines`; by logarithms where `log` and it helps; from nought where `zero`, `x_zero`."""
        points = [(x, y) for line in lines for x, y in line.points if y is not None]
        return cls(
            scale_for([x for x, _ in points], LEFT, WIDTH - RIGHT, zero=x_zero, tight=x_zero),
            scale_for([y for _, y in points], HEIGHT - BOTTOM, TOP, log=log, zero=zero),
            x_name,
            y_name,
        )

    def drawn(self, lines: Sequence[Line], marks: Sequence[Mark] = ()) -> Markup:
        """Axes below, lines above, the first line on top."""
        ends = [*(self.x.at(mark.x) for mark in marks[1:]), WIDTH]
        return joined([
            *self._grid(), *(self._mark(mark, end) for mark, end in zip(marks, ends, strict=False)),
            *(self._line(line) for line in reversed(lines)),
        ])  # fmt: skip

    def point(self, x: float, y: float) -> tuple[float, float]:
        return self.x.at(x), self.y.at(y)

    def _grid(self) -> Iterable[Markup]:
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        for value in self.y.ticks():
            y = self.y.at(value)
            yield element("line", x1=LEFT, x2=right, y1=y, y2=y, class_="grid")
            yield text(LEFT - 5, y + 3.5, number(value), class_="tick", text_anchor="end")
        for value in self.x.ticks():
            x = self.x.at(value)
            yield element("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="axis")
            yield text(x, bottom + 15, number(value), class_="tick", text_anchor="middle")
        yield element("line", x1=LEFT, x2=right, y1=bottom, y2=bottom, class_="axis")
        yield text(right, HEIGHT - 5, self.x_name, class_="name", text_anchor="end")
        yield text(4, 12, self.y_name, class_="name")

    def _mark(self, mark: Mark, end: float) -> Markup:
        """As much of its name as there is room for up to `end`; nothing of it rather than a letter."""
        x = self.x.at(mark.x)
        letters = int((end - x - 4) / LETTER)
        name = mark.name if len(mark.name) <= letters else f"{mark.name[: letters - 1]}…" if letters > 3 else ""
        return joined([
            element("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="stage"),
            text(x + 3, TOP + 8, name, class_="stage-name"),
        ])  # fmt: skip

    def _line(self, line: Line) -> Markup:
        places = [None if y is None else self.point(x, y) for x, y in line.points]
        parts = [path(places, class_=f"line s{line.number}")]
        if line.marked:
            parts += [
                element("g", _shape(place, line.number), element("title", _said(line.name, point)))
                for place, point in zip(places, line.points, strict=True)
                if place is not None
            ]
        return joined(parts)


def sample_of(number: int, *, marked: bool = False) -> Markup:
    """How a line looks, for a legend."""
    parts = [element("path", class_=f"line s{number % 4}", d="M1 5H27")]
    parts += [_shape((14.0, 5.0), number % 4)] if marked else []
    return element("svg", *parts, viewBox="0 0 28 10", width="28", height="10")


def _said(name: str, point: Point) -> str:
    return f"{name}: {number(point[1])} at {number(point[0])}"


def _shape(place: tuple[float, float], of: int) -> Markup:
    x, y = place
    kind, name = SHAPES[of % len(SHAPES)], f"dot s{of}"
    if kind == "circle":
        return element("circle", cx=x, cy=y, r=3.5, class_=name)
    if kind == "square":
        return element("rect", x=x - 3.2, y=y - 3.2, width=6.4, height=6.4, class_=name)
    corners = [(0, -4.5), (4.5, 0), (0, 4.5), (-4.5, 0)] if kind == "diamond" else [(0, -4.5), (4.2, 3.4), (-4.2, 3.4)]
    return element("polygon", points=" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners), class_=name)
