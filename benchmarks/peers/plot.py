"""One picture of a run: requests a second at eight users beside the median at one, a row a side."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

OURS, PEER, CEILING = "#1f77b4", "#9aa5b1", "#d9c27e"
CEILINGS = ("bare", "triton")
NOT_DRAWN = ("load-alone",)
"""A hundred times as quick as the others."""
ROW_IN, WIDTH_IN, DPI = 0.36, 11.0, 110


def write_plot(path: Path, sides: dict[str, Any], title: str) -> None:
    """A PNG or SVG of `sides`, as the record has them."""
    names = [name for name in reversed(sides) if name not in NOT_DRAWN]
    figure = Figure(figsize=(WIDTH_IN, 1.6 + ROW_IN * len(names)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    at_eight = [sides[name]["8 users"]["requests_per_s"] for name in names]
    alone = [sides[name]["1 users"]["ms"] for name in names]
    bars(left, names, at_eight, "requests/s, 8 users (more is better)", "{:.0f}")
    bars(right, names, [ms.get("p50", 0.0) for ms in alone], "p50, ms, 1 user (less is better); tick: p99", "{:.1f}")
    right.plot([ms.get("p99", 0.0) for ms in alone], names, "|", color="black", markersize=9)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    print(f"plot: {path}")


def bars(axes: Axes, names: list[str], values: list[float], label: str, form: str) -> None:
    drawn = axes.barh(names, values, color=[colour(name) for name in names])
    axes.bar_label(drawn, [form.format(value) for value in values], label_type="center", fontsize=8)
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)


def colour(name: str) -> str:
    """Ours, what it is compared with, and what bounds all."""
    if name == "jetserve":
        return OURS
    return CEILING if name.startswith(CEILINGS) else PEER
