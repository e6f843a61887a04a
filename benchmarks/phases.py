"""Where a request's time goes in a gateway that runs, and what it costs to tell.

    make run-background
    .venv/dev/bin/python -m benchmarks.phases

writes the table of `python -m clients profile` and the cost of its figures into benchmarks/out/phases.json.
"""

import argparse
import contextlib
import io
import json
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import record
from clients import __main__ as command_line
from clients.phases import Phases
from clients.triton.client import TritonClient
from gateway.catalogue import Catalogue
from gateway.metrics import Counted, Metrics
from gateway.permits import Permits
from gateway.phases import timing_headers

PHOTO = record.ROOT / "tests/assets/balloons.jpg"
MARKS = (
    "receive", "receive", "slot", "thread", "decode", "preprocess", "thread", "serialise", "transport", "deserialise",
    "postprocess",
)  # fmt: skip
"""Of a request with one photo; its answer adds `respond`, and Triton's account `queue` and `compute`."""


def profiled(url: str, model: str, photo: Path, requests: int) -> list[dict[str, Any]]:
    """The rows of the table."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        arguments = ["profile", str(photo), "--model", model, "--url", url, "-n", str(requests), "--json"]
        if command_line.main(arguments) != 0:
            raise SystemExit("the profile failed")
    return [json.loads(line) for line in said.getvalue().splitlines()]


def costs_us() -> dict[str, float]:
    """Of one mark, and of all that a request does to tell its phases: marks, body, header, histograms."""
    metrics = Metrics(Permits(1), Catalogue(TritonClient("127.0.0.1:1"), refresh_s=1))
    phases = Phases()

    def nothing() -> None:
        with metrics.request(Counted("m"), "http", Phases()):
            pass

    def request() -> None:
        phases = Phases()
        with metrics.request(Counted("m"), "http", phases):
            for phase in MARKS:
                phases.mark(phase)
            phases.divide("transport", (("queue", 1e-9), ("compute", 1e-9)))
            phases.milliseconds()
            timing_headers(phases)

    series = len({*MARKS, "respond", "queue", "compute", "total"})
    mark_us, nothing_us, request_us = (_best_us(each) for each in (lambda: phases.mark("decode"), nothing, request))
    return {
        "mark": round(mark_us, 3),
        "request": round(request_us, 2),
        "request_without_phases": round(nothing_us, 2),
        "each_phase": round((request_us - nothing_us) / series, 3),
        "phases_and_total": series,
    }


def _best_us(action: Callable[[], object], times: int = 2000) -> float:
    return min(timeit.repeat(action, number=times, repeat=7)) / times * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="balloon")
    parser.add_argument("--photo", type=Path, default=PHOTO)
    parser.add_argument("-n", "--requests", type=int, default=200)
    parser.add_argument("--out", type=Path, default=record.ROOT / "benchmarks/out/phases.json")
    arguments = parser.parse_args()
    costs = costs_us()
    print("microseconds:", costs)
    stages = profiled(arguments.url, arguments.model, arguments.photo, arguments.requests)
    for stage in stages:
        print(f"{'  ' * stage['depth'] + stage['name']:24} {stage['t_50']:9.3f} ms at p50")
    photo = {"name": arguments.photo.name, "bytes": arguments.photo.stat().st_size}
    load = {"users": 1, "loop": "closed", "requests": arguments.requests, "failures": 0}
    figures = {"load": load, "photo": photo, "model": {"name": arguments.model}, "costs_us": costs, "stages": stages}
    record.write(arguments.out, figures)


if __name__ == "__main__":
    main()
