"""A plot with its words and its table."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from loadtest.report.svg import element, joined

WIDTH, HEIGHT = 360.0, 230.0
"""Of a plot on a phone at its own size; on a desk it is hardly scaled."""


@dataclass(frozen=True)
class Table:
    """The numbers behind a plot, as they are written."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Figure:
    """What stands in a card: `of` says whose it is, `legend` names lines by their number."""

    title: str
    svg: Markup
    table: Table
    legend: Sequence[str] = ()
    of: str = ""
    note: str = ""
    marked: bool = False
    """Its lines have points, whose shapes are in the legend, too."""


@dataclass(frozen=True)
class Section:
    """Figures of one topic, one a record or one for all, and what they say."""

    title: str
    text: str
    figures: Sequence[Figure] = field(default_factory=tuple)


def drawing(title: str, description: str, *parts: str, height: float = HEIGHT) -> Markup:
    """An SVG that fills its card's width, and is read aloud by its title and description."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        joined(parts),
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_label=f"{title}. {description}",
    )
