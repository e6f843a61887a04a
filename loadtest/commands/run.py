"""`run`: one run of a plan, its record and its report."""

import argparse
import signal
import threading
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from loadtest import run as running
from loadtest.commands import planning
from loadtest.interrupts import ENDING
from loadtest.record import Record
from loadtest.slo import Slo
from loadtest.summary import show_record

OUT = Path(__file__).parents[1] / "out"
HELD, BROKEN, INVALID = 0, 1, 3
WIDTH = 130
"""Of what is written into a file."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "run",
        help="run a plan; its record and report",
        description="Ask a server as a plan or the flags say, after a warm-up, and write down what came of it."
        " Exit status: 0, or 1 when --slo was broken, 2 for a wrong command line, 3 for a run that is invalid.",
    )
    planning.add(parser)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="for records (loadtest/out)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Run it, show it, and say whether it held."""
    plan = planning.plan_of(options)
    if plan.slo is not None:
        Slo.parse(plan.slo)  # now, not in the end
    console, stop = Console(), threading.Event()
    if not console.is_terminal:
        console = Console(width=WIDTH)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in ENDING}
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("looking for the server")

            def tell(what: str, spent_s: float, whole_s: float) -> None:
                progress.update(task, description=f"{what}  {spent_s:.0f} of {whole_s:.0f} s" if whole_s else what)

            record = running.run(plan, options.out, stop=stop, on_progress=tell)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    path = options.out / f"{record.name}.json"
    show_record(record, console)
    console.print(f"record: {path}", soft_wrap=True, highlight=False, markup=False)
    if report := write_report(record, path):
        console.print(f"report: {report}", soft_wrap=True, highlight=False, markup=False)
    return status_of(record)


def status_of(record: Record) -> int:
    if not record.is_valid:
        return INVALID
    return HELD if record.slo is None or record.slo["held"] else BROKEN


def write_report(record: Record, path: Path) -> Path | None:
    if find_spec("loadtest.report") is None:
        return None
    html_of = getattr(import_module("loadtest.report"), "html_of", None)
    if html_of is None:
        return None
    report = path.with_suffix(".html")
    report.write_text(html_of([record]))
    return report
