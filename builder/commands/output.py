"""Tables and JSON on standard output, whatever reads it."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from builder.progress import show

PIPE_COLUMNS = 240


def show_json(content: Any) -> None:
    show(json.dumps(content, indent=2) + "\n")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Cells as they are, None as nothing; as wide as the terminal, or as needed where there is none."""
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS)
    show(table_text(columns, rows, console))


def table_text(columns: Sequence[str], rows: Iterable[Sequence[object]], console: Console) -> str:
    """A table where a line can hold its words whole, or else a line a cell, row below row."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    table = Table(*columns)
    for row in cells:
        table.add_row(*map(Text, row))
    least = table.__rich_measure__(console, console.options.update(width=PIPE_COLUMNS)).minimum
    if least > console.width:
        return "\n".join(_stacked(columns, row) for row in cells)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def _stacked(columns: Sequence[str], row: Sequence[str]) -> str:
    width = max(map(len, columns)) + 1
    return "".join(f"{name:<{width}} {cell}\n" for name, cell in zip(columns, row, strict=True) if cell)


def size_told(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f"{size_bytes / 1e6:.1f} MB"
