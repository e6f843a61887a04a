"""`tune`: the serving settings that answer a load best, found by measuring."""

import argparse
import re
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table as Shown

from clients.addresses import DEFAULT_TRITON, DEFAULT_URL, DnsName, tritons_from_text
from clients.headers import headers_from_texts
from loadtest import images
from loadtest.commands import planning
from loadtest.commands.run import HELD, OUT
from loadtest.interrupts import Interrupted, Interrupts
from loadtest.plan import WarmUp, plan_from_values
from loadtest.report.figure import Table
from loadtest.slo import Slo
from loadtest.tune import recipe
from loadtest.tune.frontier import drawn
from loadtest.tune.page import duel_of, table_of
from loadtest.tune.result import commands, points, written
from loadtest.tune.score import Objective
from loadtest.tune.search import Found
from loadtest.tune.state import StateFile, Turn
from loadtest.tune.tuning import Task, Telling, processors, put_back, tuned
from loadtest.tune.verdict import Outcome, outcome_of
from vision.errors import InvalidArgument

UNITS_S = {"s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
SHORT_WARM_UP = WarmUp(at_least_s=1.0, at_most_s=4.0, window_s=0.5)
PREFER = {"rate": "rate", "p99": "p99", "images-per-joule": "images per joule"}


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "tune",
        help="the serving settings that answer a load best",
        description="Try ways to serve a model, and say which is better than the present one, with an interval, or that"
        " none is. What is served before is served after, however this ends; interrupted, the same command goes on.",
    )
    parser.set_defaults(command=run)
    add = parser.add_argument
    add("model", metavar="MODEL")
    add("--slo", default="errors<0.1%", metavar="OBJECTIVE", help="to be held first, as p99<150ms,errors<0.1%%")
    add("--prefer", choices=tuple(PREFER), help="of those that hold it: rate with --users, p99 with --rate")
    add("--budget", type=seconds_of, default=600.0, metavar="TIME", help="10m, 90s, 1h (10m)")
    load = parser.add_mutually_exclusive_group()
    load.add_argument("--users", type=int, default=8, metavar="N", help="each asks again when answered (%(default)d)")
    load.add_argument("--rate", type=float, metavar="R", help="requests a second, by the clock")
    add("--turn", type=seconds_of, default=4.0, metavar="TIME", help="of one measurement (4s)")
    add("--host", default=DEFAULT_URL, metavar="URL", help="the gateway's (%(default)s)")
    planning.add_headers(parser)
    add("--triton", default=DEFAULT_TRITON, metavar="HOST:PORT", help="its gRPC (%(default)s)")
    add("--images", default=images.DEFAULT, metavar="FOLDER", help="or made:640x480x8 (%(default)s)")
    add("--cores", type=int, default=processors(), metavar="N", help="of the machine that serves (%(default)d)")
    add(
        "--gateway-command", metavar="COMMAND",
        help="starts a gateway, as 'python -m gateway': one of its own is then used, and its workers and permits are"
        " searched, too; without it they are left as they are",
    )  # fmt: skip
    add("--seed", type=int, default=0)
    add("--write", action="store_true", help="write the winner into the model's recipe")
    add("--recipe", type=Path, metavar="FOLDER", help="which, if not the one in recipes/ with the model's name")
    add("--target", choices=("cpu", "onnxruntime", "jetson"), default="cpu", help="of the recipe (%(default)s)")
    add("--anew", action="store_true", help="do not go on with a search that was interrupted")
    add("--restore", action="store_true", help="only put back what a search that was killed left behind")
    add("--out", type=Path, default=OUT, metavar="FOLDER", help="for results (loadtest/out)")


def run(options: argparse.Namespace) -> int:
    """Search, and say what to run."""
    console = Console(markup=False)
    file = StateFile(options.out / f"tune_{options.model}.state.json")
    with file.alone():
        left = put_back(file)
        if left or options.restore:
            console.print(left or "there is nothing to put back", highlight=False, soft_wrap=True)
        if options.restore:
            return HELD
        path = _recipe(options)
        task = _task(options)
        try:
            with Interrupts() as interrupts:
                found = _shown(task, file, interrupts, console, options)
        except Interrupted as exc:
            console.print(f"{exc}: what was served is served again; the same command goes on", highlight=False)
            return exc.status
    outcome = outcome_of(found, task.objective)
    _say(task, file, found, outcome, console, options.out)
    if path is not None and outcome.winner is not None:
        recipe.write(path, options.target, outcome.winner.serving)
        console.print(f"written into {path}, for {options.target}", highlight=False, soft_wrap=True)
    return HELD


def _task(options: argparse.Namespace) -> Task:
    _require_one(options.triton)
    amount = {"rate_per_s": options.rate} if options.rate is not None else {"users": options.users}
    plan = plan_from_values(
        {
            "host": options.host, "models": {options.model: 1.0}, "images": options.images, "triton": options.triton,
            "headers": headers_from_texts(options.header), "stages": [{"seconds": options.turn} | amount],
            "seed": options.seed, "warm_up": SHORT_WARM_UP, "timeout_s": 10.0,
        },
        "tune",
    )  # fmt: skip
    prefer = PREFER[options.prefer or ("rate" if options.rate is None else "p99")]
    objective = Objective(Slo.parse(options.slo), prefer)  # type: ignore[arg-type]  # argparse has seen to it
    return Task(
        options.model, options.triton, plan, objective, options.budget, options.seed, options.cores,
        options.gateway_command,
    )  # fmt: skip


def _require_one(triton: str) -> None:
    try:
        given = tritons_from_text(triton)
    except ValueError as exc:
        raise InvalidArgument(f"--triton: {exc}") from exc
    if isinstance(given, DnsName) or len(given) > 1:
        raise InvalidArgument(
            f"--triton: expected one HOST:PORT, got {triton!r}: settings are tried on one Triton, whose gateway has no"
            " other; give the rest what was found"
        )


def _recipe(options: argparse.Namespace) -> Path | None:
    """Which is written in the end; asked for now, not after the search."""
    if not options.write:
        return None
    return options.recipe / recipe.FILE if options.recipe else recipe.recipe_of(options.model, Path("recipes"))


def _shown(task: Task, file: StateFile, interrupts: Interrupts, console: Console, options: argparse.Namespace) -> Found:
    columns = BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("looking at what is served", total=None)

        def turn(taken: Turn, number: int, of: int, left_s: float) -> None:
            progress.update(bar, total=of, completed=number, description=f"about {_time(left_s)} left")
            what = taken.problem or (
                "" if taken.stage is None else f"{taken.stage.summary.answered_per_s:.1f}/s, {_p99(taken)}"
            )
            left = "" if console.is_terminal else f" (about {_time(left_s)} left)"
            console.print(f"{number:3} of {of}{left}  {taken.candidate}: {what}", highlight=False, soft_wrap=True)

        def say(line: str) -> None:
            console.print(line, highlight=False, soft_wrap=True)

        if options.gateway_command is None:
            say("the gateway's workers and permits are left as they are: --gateway-command searches them, too")
        return tuned(task, file, interrupts, Telling(turn, say=say), anew=options.anew)


def _say(task: Task, file: StateFile, found: Found, outcome: Outcome, console: Console, out: Path) -> None:
    measured = points(task, found)
    _table(table_of(measured, found.current, outcome.winner), console)
    for line in drawn(measured, found.current, outcome.winner):
        console.print(line, highlight=False, markup=False)
    _table(duel_of(found, outcome), console)
    console.print(f"{task.model}: {outcome.why}", highlight=False, soft_wrap=True)
    for line in commands(task, outcome):
        console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)
    state = file.read()
    assert state is not None  # noqa: S101 - the search has written it
    for path in written(task, state, found, outcome, out):
        console.print(f"written: {path}", highlight=False, soft_wrap=True)


def _table(table: Table, console: Console) -> None:
    shown = Shown(*table.columns, box=None)
    for row in table.rows:
        shown.add_row(*row)
    console.print(shown, highlight=False, markup=False)


def _p99(turn: Turn) -> str:
    latency = None if turn.stage is None else turn.stage.summary.latency_ms
    return "nothing answered" if latency is None else f"p99 {latency.p99:.1f} ms"


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def seconds_of(text: str) -> float:
    """Of `90`, `90s`, `10m` or `1h`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None or not float(found[1]):
        raise argparse.ArgumentTypeError(f"expected a time as 90s, 10m or 1h, got {text!r}")
    return float(found[1]) * UNITS_S[found[2]]
