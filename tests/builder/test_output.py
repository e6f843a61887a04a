from rich.console import Console

from builder.commands.output import table_text

COLUMNS = ("model", "served", "versions", "task", "precision", "size", "parity", "evaluation", "published")
ROW = ("balloon", 2, "1, 2", "detection", "fp32", "4.1 MB", "passed", None, "2026-01-01T00:00:00+00:00")


def test_a_table_too_wide_for_its_terminal_is_stacked() -> None:
    """A line a cell, none broken, those without anything left out; a wide one is a table."""
    narrow = table_text(COLUMNS, [ROW, ROW], Console(width=60))
    assert max(map(len, narrow.splitlines())) <= 60
    assert "published   2026-01-01T00:00:00+00:00\n" in narrow
    assert "evaluation" not in narrow
    assert narrow.count("model ") == 2
    assert "model" in table_text(COLUMNS, [ROW], Console(width=240)).splitlines()[1]
