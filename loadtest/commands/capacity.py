"""`capacity`: the highest rate at which a server holds an objective."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from clients.headers import headers_from_texts, merged
from loadtest.capacity import LEAST_PER_S, MOST_PER_S, Capacity, Search, told
from loadtest.commands import planning
from loadtest.commands.run import BROKEN, HELD, INVALID, OUT, write_report
from loadtest.interrupts import Interrupted, Interrupts
from loadtest.looks import KEY, Look, Looks, judged, path_for, unfinished
from loadtest.plan import Plan, plan_from_values
from loadtest.record import Record
from loadtest.slo import LATENCIES, Slo
from vision.errors import InvalidArgument

START_PER_S, SECONDS = 10.0, 10.0
PATIENCE, LEAST_TIMEOUT_S = 20, 2.0
"""A request that takes so many times what the objective allows is given up, so that a flooded server soon is free."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "capacity",
        help="the highest rate that holds an objective",
        description="Find the highest rate of an open loop at which a server holds --slo: double the rate until it does"
        " not, then halve the distance until the two are 5 %% apart. --rate is where to begin (10), --seconds how long"
        " each look is (10). Interrupted, it can be gone on with. Exit status: 0, or 1 where no rate holds.",
    )
    planning.add(parser)
    parser.add_argument("--most", type=float, default=MOST_PER_S, metavar="R", help="no rate above this is tried")
    parser.add_argument("--least", type=float, default=LEAST_PER_S, metavar="R", help="nor below this (%(default)g)")
    parser.add_argument(
        "--resume", type=Path, metavar="RECORD", help="go on with this one; only --header is to be said"
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="for records (loadtest/out)")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Search, and show what was found."""
    before = None if options.resume is None else unfinished(options.resume)
    plan, settings = _asked(options) if before is None else _remembered(before, options.header)
    slo = Slo.parse(str(plan.slo))
    path: Path = options.resume or path_for(options.out, plan)
    console = Console(markup=False)
    with Interrupts() as interrupts, _shown(console) as progress:
        task = progress.add_task("looking for the server")

        def tell(what: str, spent_s: float, whole_s: float) -> None:
            progress.update(task, description=f"{what}  {spent_s:.0f} of {whole_s:.0f} s" if whole_s else what)

        looks = Looks(plan, settings["seconds"], path, interrupts, tell)
        looks.remember(**settings)
        if before is not None:
            looks.go_on(before)

        def measure(rate: float) -> Look:
            look = looks(rate)
            console.print(_line(look, slo), highlight=False)
            return look

        search = Search(
            measure, lambda look: judged(look, slo, plan.limits.sent),
            settings["start"], settings["most"], settings["least"],
        )  # fmt: skip
        try:
            found = search.run()
        except Interrupted as exc:
            if path.exists():
                console.print(f"interrupted; to go on: python -m loadtest capacity --resume {path}", soft_wrap=True)
            return exc.status
        record = looks.finish(_result(found, slo), slo)
    return _said(found, record, path, slo, console)


def _asked(options: argparse.Namespace) -> tuple[Plan, dict[str, Any]]:
    """The plan without stages, and the search."""
    if options.users is not None or options.stages is not None or options.steps is not None:
        raise InvalidArgument("capacity searches rates: --rate says where to begin, --seconds how long each look is")
    start, seconds, options.rate, options.seconds = options.rate, options.seconds, None, None
    plan = planning.plan_of(options)
    if plan.slo is None:
        raise InvalidArgument("which objective? For example --slo p99<50ms,errors<0.1%")
    slo = Slo.parse(plan.slo)
    if options.timeout_s is None:
        bounds_ms = [term.bound for term in slo.terms if term.quantity in LATENCIES]
        patient_s = max([LEAST_TIMEOUT_S, *(PATIENCE * bound / 1e3 for bound in bounds_ms)])
        plan = plan.model_copy(update={"timeout_s": min(plan.timeout_s, patient_s)})
    plan = plan.model_copy(update={"stages": (), "steps": None, "spike": None})
    start = start or START_PER_S
    return plan, {"start": start, "most": options.most, "least": options.least, "seconds": seconds or SECONDS}


def _remembered(record: Record, given: Sequence[str]) -> tuple[Plan, dict[str, Any]]:
    """Of the command line, only headers are taken, which no record holds."""
    told = record.conditions[KEY]
    headers = merged(record.plan.get("headers", {}), headers_from_texts(given))
    return plan_from_values(record.plan | {"headers": headers}), {
        name: told[name] for name in ("start", "most", "least", "seconds")
    }


def _result(found: Capacity[Look], slo: Slo) -> dict[str, Any]:
    return {
        "rate_per_s": found.rate_per_s,
        "above_per_s": found.above_per_s,
        "generator_limited": found.limited,
        "said": told(found),
        "objective": str(slo),
    }


def _line(look: Look, slo: Slo) -> str:
    verdict = slo.judge(look.stage)
    terms = ", ".join(f"{term.term.quantity} {term.measured_text}" for term in verdict.terms)
    judgement = judged(look, slo)
    mark = "held" if judgement.held else "not sent" if judgement.limited else "broken"
    return f"{look.stage.name:>22}  {mark:8}  {look.stage.summary.answered_per_s:8.1f} answers/s  {terms}"


def _said(found: Capacity[Look], record: Record, path: Path, slo: Slo, console: Console) -> int:
    console.print(_table(found, slo))
    for reason in record.invalid:
        console.print(f"invalid: {reason}", highlight=False, soft_wrap=True)
    console.print(f"{slo} holds up to {told(found)}", highlight=False, soft_wrap=True)
    console.print(f"record: {path}", soft_wrap=True, highlight=False)
    if report := write_report(record, path):
        console.print(f"report: {report}", soft_wrap=True, highlight=False)
    if not record.is_valid:
        return INVALID
    return BROKEN if found.rate_per_s is None else HELD


def _table(found: Capacity[Look], slo: Slo) -> Table:
    """Looks by rate."""
    table = Table("rate/s", "looks", "held", *(str(term) for term in slo.terms), box=None)
    for rate in sorted({rate for rate, _ in found.looks}):
        looks = [look for at, look in found.looks if at == rate]
        verdicts = [slo.judge(look.stage) for look in looks]
        held = sum(judged(look, slo).held for look in looks)
        texts = [", ".join(each.terms[column].measured_text for each in verdicts) for column in range(len(slo.terms))]
        table.add_row(f"{rate:.4g}", str(len(looks)), str(held), *texts)
    return table


def _shown(console: Console) -> Progress:
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
