"""Bars that lie: a name, the bar, its number. What they say does not need their colours."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from loadtest.report.figure import WIDTH, drawing
from loadtest.report.scale import Scale, number
from loadtest.report.svg import element, joined, text

ROW = 19.0
NAME = 104.0
"""Width of the names."""
LETTERS = 16


@dataclass(frozen=True)
class Bar:
    """From `begin` to `begin + length`, on a scale that all bars of a figure share."""

    name: str
    begin: float
    length: float
    said: str
    number: int = 0


def bars_drawn(title: str, description: str, bars: Sequence[Bar], highest: float | None = None) -> Markup:
    """One below the other; `highest` is where the scale ends, where several figures are to be compared."""
    end = highest or max((bar.begin + bar.length for bar in bars), default=1.0)
    room = max((_width(bar.said) for bar in bars if bar.begin < end / 2), default=0.0)
    scale = Scale(0.0, end or 1.0, NAME + 6, WIDTH - 8 - room)
    parts = [_row(bar, row * ROW, scale) for row, bar in enumerate(bars)]
    return drawing(title, description, *parts, height=max(1, len(bars)) * ROW + 6)


def _row(bar: Bar, top: float, scale: Scale) -> Markup:
    left, right = scale.at(bar.begin), scale.at(bar.begin + bar.length)
    width = max(1.5, right - left)
    if WIDTH - left - width > _width(bar.said):
        said = text(left + width + 5, top + 13.5, bar.said, class_="value")
    else:
        said = text(left - 5, top + 13.5, bar.said, class_="value", text_anchor="end")
    return joined([
        text(NAME, top + 13.5, shortened(bar.name), class_="label", text_anchor="end"),
        element(
            "rect", element("title", f"{bar.name}: {bar.said}"),
            x=left, y=top + 3.5, width=width, height=ROW - 6, rx=2, class_=f"bar s{bar.number}",
        ),
        said,
    ])  # fmt: skip


def _width(said: str) -> float:
    """About."""
    return 10 + 6.2 * len(said)


def shortened(name: str) -> str:
    """To what fits beside a bar; the table has it whole."""
    return name if len(name) <= LETTERS else name[: LETTERS - 1] + "…"


def ms(value: float) -> str:
    return f"{number(value)} ms"
