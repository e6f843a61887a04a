"""Results for people: tables on a terminal, tab-separated lines in a pipe."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clients.results import Model, Result

Row = Sequence[str]


def show_result(result: Result, console: Console) -> None:
    """Each object or class with its score, best first."""
    total_ms = result.timings_ms.get("total", 0.0)
    name = result.name or "-"
    title = (
        f"{name}: {_count(result)}, {result.width}x{result.height}, {result.model} {result.version}, {total_ms:.1f} ms"
    )
    if result.classes is not None:
        columns = ["label", "score"]
        rows: list[Row] = [(item.label, f"{item.score:.3f}") for item in result.classes]
    else:
        columns = ["label", "score", "x1", "y1", "x2", "y2"]
        rows = [
            (item.label, f"{item.score:.3f}", *(f"{side:.1f}" for side in item.box.model_dump().values()))
            for item in result.detections or ()
        ]
    show_table(title, columns, rows, console, first=name)


def show_models(models: Sequence[Model], console: Console) -> None:
    """Each model with its state and what it is."""
    rows = [
        (
            model.name,
            model.version or "-",
            "ready" if model.ready else f"not ready: {model.problem}",
            model.task or "-",
            _size(model),
            f"{len(model.labels)}: {', '.join(model.labels[:5])}{', …' if len(model.labels) > 5 else ''}"
            if model.labels
            else "-",
        )
        for model in models
    ]
    show_table(
        plural(len(models), "model", "models"), ["model", "version", "state", "task", "size", "labels"], rows, console
    )


def show_table(
    title: str, columns: Sequence[str], rows: Sequence[Row], console: Console, first: str | None = None
) -> None:
    """A table on a terminal, and in a pipe its rows, with `first` before each."""
    if not console.is_terminal:
        for row in rows:
            cells = row if first is None else (first, *row)
            console.file.write("\t".join(cells) + "\n")  # rich would turn the tabs into spaces
        return
    console.print(title, markup=False, highlight=False, soft_wrap=True)  # a table's own title wraps at its width
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="left" if column in _WORDS else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


_WORDS = {"name", "model", "state", "task", "label", "labels", "time"}
"""Columns that are no numbers."""


def _count(result: Result) -> str:
    if result.classes is not None:
        return plural(len(result.classes), "class", "classes")
    return plural(len(result.detections or ()), "object", "objects")


def plural(number: int, one: str, many: str) -> str:
    """`1 model`, `2 models`."""
    return f"{number} {one if number == 1 else many}"


def _size(model: Model) -> str:
    if model.input_size_hw is None:
        return "-"
    height, width = ("any" if side == -1 else str(side) for side in model.input_size_hw)
    return f"{width}x{height}"
