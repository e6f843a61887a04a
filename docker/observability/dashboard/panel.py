"""A panel and a row, in the few words in which panels of this dashboard differ."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """PromQL, and how its series are called; `$…` are the dashboard's variables."""

    expression: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """`unit` is Grafana's name of it; `kind` the panel's type; `stacked` series are drawn upon each other."""

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    most: float | None = None
    """The end of the axis, where there is one by nature."""
    bad_from: float | None = None
    """From here on it is drawn in red."""


@dataclass(frozen=True)
class Row:
    """A heading, and the panels under it from left to right."""

    title: str
    height: int
    panels: tuple[Panel, ...]
