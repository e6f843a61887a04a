"""`bench`: how fast one photo is answered, over and over."""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clients.commands.arguments import Asked, add_gateway, add_model, add_output, asked_of, none_or_more, one_or_more
from clients.commands.output import TerminalConsole, complain, say_csv, say_json
from clients.gateway_async import AsyncGatewayClient
from clients.tables import show_table
from vision.errors import WireError

PERCENTILES = (50, 90, 99)


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "bench",
        help="how fast a photo is answered",
        description="Ask about one photo over and over: each of `--concurrency` callers asks again when it is answered."
        " Nothing is retried. What this program itself takes is part of the times.",
    )
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="a file")
    add_model(parser)
    parser.add_argument(
        "-n", "--requests", type=one_or_more, default=100, metavar="N", help="how many in all (%(default)d)"
    )
    parser.add_argument("--concurrency", type=one_or_more, default=1, metavar="N", help="callers (%(default)d)")
    parser.add_argument(
        "--warmup", type=none_or_more, default=5, metavar="N", help="requests before, not counted (%(default)d)"
    )
    add_gateway(parser)
    add_output(parser)
    parser.set_defaults(command=run)


@dataclass
class _Times:
    answer_ms: list[float] = field(default_factory=list)
    gateway_ms: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    details: dict[str, str] = field(default_factory=dict)
    """What one failure of each kind said."""


@dataclass
class Bench:
    """What was measured. Times are those of answers; without a single one there are none."""

    photo: str
    model: str
    requests: int
    concurrency: int
    seconds: float
    per_second: float
    """Answers."""
    answer_ms: dict[str, float]
    gateway_ms: dict[str, float]
    """What the gateway says it took of it."""
    failures: dict[str, int]


def run(options: argparse.Namespace) -> int:
    """1 when a request failed."""
    times, wall_s = asyncio.run(_measured(options))
    bench = Bench(
        photo=options.photo.name,
        model=options.model,
        requests=options.requests,
        concurrency=options.concurrency,
        seconds=round(wall_s, 3),
        per_second=round(len(times.answer_ms) / wall_s, 2),
        answer_ms=_summary(times.answer_ms),
        gateway_ms=_summary(times.gateway_ms),
        failures=dict(times.failures),
    )
    if options.output == "jsonl":
        say_json(asdict(bench))
    elif options.output == "csv":
        columns = _flat(asdict(bench))
        say_csv([list(columns), list(columns.values())])
    else:
        _show(bench)
    for kind, detail in times.details.items():
        complain(f"{times.failures[kind]} failed, {kind}: {detail}")
    return 1 if times.failures else 0


async def _measured(options: argparse.Namespace) -> tuple[_Times, float]:
    photo = options.photo.read_bytes()
    asked = asked_of(options)
    async with AsyncGatewayClient(options.url, options.timeout, retries=0, headers=options.headers) as client:
        for _ in range(options.warmup):
            await client.predict(photo, options.model, **asked)
        times, turns = _Times(), iter(range(options.requests))
        callers = [
            _caller(client, photo, options.model, asked, turns, times)
            for _ in range(min(options.concurrency, options.requests))
        ]
        started_s = time.perf_counter()
        await asyncio.gather(*callers)
        return times, time.perf_counter() - started_s


async def _caller(
    client: AsyncGatewayClient, photo: bytes, model: str, asked: Asked, turns: Iterator[int], times: _Times
) -> None:
    for _ in turns:
        started_s = time.perf_counter()
        try:
            result = await client.predict(photo, model, **asked)
        except WireError as exc:
            times.failures[exc.kind] += 1
            times.details.setdefault(exc.kind, exc.detail)
        else:
            times.answer_ms.append((time.perf_counter() - started_s) * 1e3)
            times.gateway_ms.append(result.timings_ms.get("total", 0.0))


def _summary(times_ms: list[float]) -> dict[str, float]:
    if not times_ms:
        return {}
    percentiles = {f"p{rank}": float(np.percentile(times_ms, rank)) for rank in PERCENTILES}
    summary = {"mean": float(np.mean(times_ms))} | percentiles | {"max": max(times_ms)}
    return {name: round(value, 3) for name, value in summary.items()}


def _show(bench: Bench) -> None:
    title = (
        f"{bench.photo}: {bench.requests} requests, {bench.concurrency} at a time, {bench.model},"
        f" {bench.seconds:.1f} s, {bench.per_second:.1f} answers a second"
    )
    rows = [
        (name, *(f"{value:.1f}" for value in summary.values()))
        for name, summary in (("answer, ms", bench.answer_ms), ("at the gateway, ms", bench.gateway_ms))
        if summary
    ]
    show_table(title, ["time", *bench.answer_ms], rows, TerminalConsole())


def _flat(values: dict[str, Any]) -> dict[str, object]:
    """Without dictionaries in it: `answer_ms_p50`."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        flat |= {f"{name}_{inner}": each for inner, each in value.items()} if isinstance(value, dict) else {name: value}
    return flat
