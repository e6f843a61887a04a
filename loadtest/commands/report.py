"""`report`: a page of one record, or of several side by side."""

import argparse
from pathlib import Path

from loadtest.commands.output import complain, say
from loadtest.record import RecordError, read
from loadtest.report import html_of


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "report",
        help="a page of one record, or of several side by side",
        description="Write one HTML file that needs no network: verdict, key figures, plots, conditions.",
    )
    parser.add_argument("records", nargs="+", type=Path, metavar="RECORD", help="JSON files that `run` wrote")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (the first record's name, with .html)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """0, or 2 where a record cannot be read or the page cannot be written."""
    try:
        records = [read(path) for path in options.records]
        out = options.out or options.records[0].with_suffix(".html")
        out.write_text(html_of(records), encoding="utf-8")
    except (RecordError, OSError) as exc:
        complain(f"report: {exc}")
        return 2
    say(str(out))
    return 0
