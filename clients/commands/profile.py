"""`profile`: what every stage of a served model takes, in the form of the table that mmdeploy's profiler prints."""

import argparse
import re
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from clients import wire
from clients.commands.arguments import add_gateway, add_model, add_output, asked_of, none_or_more, one_or_more
from clients.commands.output import TerminalConsole, note, say_csv, say_json
from clients.deadline import Deadline
from clients.folders import photos_in
from clients.io_sync import HttpClient
from clients.tables import show_table
from vision.errors import BackendFailure

ROOT, PIPELINE, TRITON, REST = "Request", "Pipeline", "Triton", "(network and client)"
OF_TRITON = ("queue", "compute", "transport")
COLUMNS = ("name", "occupy", "usage", "n_call", "t_mean", "t_50%", "t_90%")
PARTS_MEET = 0.03
"""How far the sum of the phases may be from the whole."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "profile",
        help="what every stage of a served model takes",
        description="Ask about photos one after the other, and show where the time went: in milliseconds, `occupy` as"
        " a share of the row it stands below, `usage` of the pipeline, which is the gateway's time for the request."
        " What Triton took is its own account of each request.",
    )
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="a file, or a folder of photos")
    add_model(parser)
    parser.add_argument(
        "-n", "--requests", type=one_or_more, default=100, metavar="N", help="how many in all (%(default)d)"
    )
    parser.add_argument(
        "--warm-up", type=none_or_more, default=10, metavar="N", help="requests before, not counted (%(default)d)"
    )
    add_gateway(parser)
    add_output(parser)
    parser.set_defaults(command=run)


@dataclass
class Stage:
    """One row. `occupy` is a share of the row above it that it is part of, `usage` of the pipeline; times in ms."""

    name: str
    depth: int
    occupy: float | None
    usage: float | None
    n_call: int
    t_mean: float
    t_50: float
    t_90: float


def run(options: argparse.Namespace) -> int:
    """1 when the phases are not the whole."""
    phases_ms, answer_ms, averaged = _measured(options)
    stages = stages_of(phases_ms, answer_ms)
    if options.output == "jsonl":
        for stage in stages:
            say_json(asdict(stage))
    elif options.output == "csv":
        say_csv([COLUMNS, *(_cells(stage, indented=False) for stage in stages)])
    else:
        title = f"{options.model}: {options.requests} requests, one at a time, milliseconds"
        show_table(title, COLUMNS, [_cells(stage, indented=True) for stage in stages], TerminalConsole())
    share = sum_of_phases(phases_ms)
    note(f"the phases are {share:.1%} of the pipeline")
    if averaged:
        note(f"{averaged} requests were not alone at Triton: their queue and compute are means with others'")
    return 0 if abs(share - 1) <= PARTS_MEET else 1


def stages_of(phases_ms: Sequence[dict[str, float]], answer_ms: Sequence[float]) -> list[Stage]:
    """The tree, the whole before its parts: request, pipeline, phases, those of Triton below it.

    Args:
        phases_ms: of each request, with `total`.
        answer_ms: of each request, as long as it took here.
    """
    requests_ms = [dict(each) for each in phases_ms]
    totals_ms = [each.pop("total") for each in requests_ms]
    pipeline_ms, root_ms = float(np.mean(totals_ms)), float(np.mean(answer_ms))
    rest_ms = [answer - total for answer, total in zip(answer_ms, totals_ms, strict=True)]
    stages = [_stage(ROOT, 0, answer_ms, None, None), _stage(PIPELINE, 1, totals_ms, root_ms, pipeline_ms)]
    for name in dict.fromkeys(phase for each in requests_ms for phase in each):
        if name not in OF_TRITON:
            stages.append(_stage(name, 2, _times(requests_ms, name), pipeline_ms, pipeline_ms))
        elif not any(stage.name == TRITON for stage in stages):
            calls_ms = [sum(each.get(part, 0.0) for part in OF_TRITON) for each in requests_ms]
            triton_ms = float(np.mean(calls_ms))
            stages.append(_stage(TRITON, 2, calls_ms, pipeline_ms, pipeline_ms))
            parts = ((part, _times(requests_ms, part)) for part in OF_TRITON)
            stages += [_stage(part, 3, times, triton_ms, pipeline_ms) for part, times in parts if times]
    return [*stages, _stage(REST, 1, rest_ms, root_ms, None)]


def sum_of_phases(phases_ms: Sequence[dict[str, float]]) -> float:
    """What the phases are of the whole, at the median."""
    return float(np.median([(sum(each.values()) - each["total"]) / each["total"] for each in phases_ms]))


def _measured(options: argparse.Namespace) -> tuple[list[dict[str, float]], list[float], int]:
    photos = [photo for given in options.photos for photo in (photos_in(given) if given.is_dir() else [given])]
    asked = asked_of(options)
    requests = [wire.predict_request(photo, options.model, exact_timings=True, **asked) for photo in photos]
    phases_ms: list[dict[str, float]] = []
    answer_ms: list[float] = []
    averaged = 0
    with closing(HttpClient(options.url.rstrip("/"), options.headers)) as http:
        for number, request in enumerate(islice(cycle(requests), options.warm_up + options.requests)):
            began_s = time.perf_counter()
            reply = http.exchange(request, Deadline(options.timeout))
            took_ms = (time.perf_counter() - began_s) * 1e3
            wire.content_from_reply(reply)
            if number >= options.warm_up:
                phases_ms.append(phases_from_reply(reply))
                answer_ms.append(took_ms)
                averaged += reply.headers.get(wire.TIMINGS) != "exact"
    return phases_ms, answer_ms, averaged


def phases_from_reply(reply: wire.Reply) -> dict[str, float]:
    """Milliseconds of each phase, and `total`.

    Raises:
        BackendFailure: it does not tell them.
    """
    found = re.findall(r"([\w-]+);dur=([\d.e+-]+)", reply.headers.get("server-timing", ""))
    phases_ms = {name: float(spent_ms) for name, spent_ms in found}
    if not phases_ms.get("total"):
        raise BackendFailure("the answer has no Server-Timing with a total; is this a jetserve gateway's address?")
    return phases_ms


def _times(requests_ms: Sequence[dict[str, float]], phase: str) -> list[float]:
    return [each[phase] for each in requests_ms if phase in each]


def _stage(
    name: str, depth: int, times_ms: Sequence[float], parent_ms: float | None, pipeline_ms: float | None
) -> Stage:
    ordered, mean_ms = sorted(times_ms), float(np.mean(times_ms))
    return Stage(
        name=name,
        depth=depth,
        occupy=mean_ms / parent_ms if parent_ms else None,
        usage=mean_ms / pipeline_ms if pipeline_ms else None,
        n_call=len(ordered),
        t_mean=round(mean_ms, 3),
        t_50=round(ordered[int(len(ordered) * 0.5)], 3),
        t_90=round(ordered[int(len(ordered) * 0.9)], 3),
    )


def _cells(stage: Stage, *, indented: bool) -> tuple[str, ...]:
    name = f"{'    ' * stage.depth}{stage.name}" if indented else stage.name
    shares = ("-" if share is None else f"{share:.3f}" for share in (stage.occupy, stage.usage))
    times = (f"{time_ms:.3f}" for time_ms in (stage.t_mean, stage.t_50, stage.t_90))
    return name, *shares, str(stage.n_call), *times
