"""`compare`: whether B is better or worse than A, or cannot be told apart."""

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clients.tables import show_table
from loadtest.commands.output import complain, say
from loadtest.comparable import NotComparable, reasons_against, require_comparable
from loadtest.comparison import Comparison, Verdict, comparison_of
from loadtest.record import Record, RecordError, read
from loadtest.report import html_of
from loadtest.report.compared import change_of, interval_of_row, values_of

COLUMNS = ("stage", "", "A", "B", "B by A", "interval", "verdict", "runs for 5 %")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "compare",
        help="better, worse, or not told apart",
        description="Compare runs of one build or setting (A) with runs of another (B), of the same plan on the same"
        " machine. One run of each tells only large differences, because runs of one build differ, too: make six of"
        " each, in turns.",
    )
    parser.add_argument("a", metavar="A", help="a record, several with commas between, or a folder of them")
    parser.add_argument("b", metavar="B", help="the same, of the other")
    parser.add_argument("--anyway", action="store_true", help="compare what is not comparable, or invalid")
    parser.add_argument("--fail-if-worse", action="store_true", help="end with 1 where B is worse in anything")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also as a page, both sides in it")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """0; 1 where B is worse and that was asked; 2 where the records cannot be read or compared."""
    try:
        a, b = records_of(options.a), records_of(options.b)
        if not options.anyway:
            require_comparable(a, b)
        found = comparison_of(a, b)
        if not any(row.counts for row in found.rows):
            raise NotComparable("nothing was measured on both sides: there is no stage in which both were asked")
        if options.out is not None:
            options.out.write_text(html_of([a[0], b[0]], found), encoding="utf-8")
    except (RecordError, NotComparable, OSError) as exc:
        complain(f"compare: {exc}")
        return 2
    against = reasons_against(a, b)
    if options.json:
        say(json.dumps(written(found, against), indent=1))
    else:
        _show(found, against)
    return 1 if options.fail_if_worse and found.verdict is Verdict.WORSE else 0


def records_of(given: str) -> list[Record]:
    """By their paths, with commas between; of a folder all that lie in it.

    Raises:
        RecordError: one of them is none, or there is none.
    """
    paths = [
        path
        for part in filter(None, given.split(","))
        for path in (sorted(Path(part).glob("*.json")) if Path(part).is_dir() else [Path(part)])
    ]
    if not paths:
        raise RecordError(f"{given!r} names no record; expected JSON files that `run` wrote, or a folder of them")
    return [read(path) for path in paths]


def written(found: Comparison, against: Sequence[str] = ()) -> dict[str, Any]:
    """As JSON: latencies in s, ratios of B by A, of errors B less A."""
    rows = [
        {
            "stage": row.stage,
            "quantity": row.name,
            "counts": row.counts,
            **{name: getattr(row, name) for name in ("a", "b", "low", "ratio", "high", "runs_for_5_percent")},
            "is_ratio": row.quantity.is_ratio,
            "verdict": row.verdict.value,
        }
        for row in found.rows
    ]
    whole = dataclasses.asdict(found)
    return {
        "verdict": found.verdict.value,
        "runs": {"a": whole["runs"][0], "b": whole["runs"][1], "paired": whole["paired"]},
        "level": whole["level"],
        "compared_anyway": list(against),
        "rows": rows,
    }


def _show(found: Comparison, against: Sequence[str]) -> None:
    # Here and not above: of rich, `--json` needs nothing.
    from clients.commands.output import TerminalConsole

    rows = [
        (row.stage, row.name, *values_of(row), change_of(row), interval_of_row(row), row.verdict.value, _needed(row))
        for row in found.rows
    ]
    for reason in against:
        say(f"compared anyway: {reason}")
    show_table(f"B is {found.verdict}", COLUMNS, rows, TerminalConsole())
    turns = ", in turns" if found.paired else ""
    runs = f"{found.runs[0]} of A and {found.runs[1]} of B{turns}"
    say(f"B is {found.verdict} ({runs}).")
    if min(found.runs) == 1:
        say("One run tells only large differences: make six of each, in turns.")


def _needed(row: Any) -> str:
    if not row.counts or not row.quantity.is_ratio:
        return ""
    return "> 100" if row.runs_for_5_percent is None else str(row.runs_for_5_percent)
