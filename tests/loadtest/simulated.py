"""Records of loads that never ran, with noise that is known: within a run, between runs, from second to second."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from loadtest.histogram import GROWTH, LEAST_S, histogram_of, merged
from loadtest.record import OfModel, Percentiles, Record, Series, Stage, Summary, Window
from loadtest.slo import Slo
from loadtest.statistics import percentiles_of

Floats = np.ndarray[Any, np.dtype[np.float64]]


def wandering(rng: np.random.Generator, seconds: int, deviation: float, memory: float) -> Floats:
    """A first-order autoregressive series of mean 0 and standard deviation `deviation`, [seconds]."""
    steps = rng.normal(0, deviation * np.sqrt(1 - memory**2), seconds)
    series = np.empty(seconds)
    last = rng.normal(0, deviation)
    for second, step in enumerate(steps):
        last = memory * last + step
        series[second] = last
    return series


def latencies_of(
    rng: np.random.Generator, seconds: int, rate: int, *, median_s: float = 0.02, spread: float = 0.3,
    wander: float = 0.05, memory: float = 0.0,
) -> list[Floats]:  # fmt: skip
    """Lognormal, around a level that wanders; one array a second."""
    level = wandering(rng, seconds, wander, memory)
    return [median_s * np.exp(level[second] + rng.normal(0, spread, rate)) for second in range(seconds)]


def windows_of(latencies: Sequence[Floats], failed: int = 0, begin_s: float = 0.0) -> list[Window]:
    """A window of a second for each."""
    return [
        Window(
            begin_s=begin_s + second,
            seconds=1,
            due=len(found) + failed,
            sent=len(found) + failed,
            answered=len(found),
            failed={"http_500": failed} if failed else {},
            latency=histogram_of(found),
            lateness=histogram_of(found / 100),
        )
        for second, found in enumerate(latencies)
    ]


def stage_of(
    latencies: Sequence[Floats], name: str = "steady", *, model: str = "balloon", failed: int = 0,
    begin_s: float = 0.0, users: int | None = None, joules: float | None = None, counts: bool = True,
    phases_ms: dict[str, float] | None = None,
) -> Stage:  # fmt: skip
    """A stage of one model at the rate that there was, or of users."""
    whole = np.concatenate(latencies)
    seconds, failures = len(latencies), {"http_500": failed * len(latencies)} if failed else {}
    windows = windows_of(latencies, failed, begin_s)
    found = percentiles_of(whole)
    phases = {"decode": 2.0, "preprocess": 1.5, "queue": 4.0, "compute": 9.0, "respond": 0.3}
    of_model = OfModel(
        answered=len(whole), failed=failures, latency_ms=found, queue_ms=4.0, compute_ms=9.0, batch=1.6,
        phases_ms=phases if phases_ms is None else phases_ms,
    )  # fmt: skip
    due = len(whole) + failed * seconds
    return Stage(
        name=name,
        users=users,
        rate_per_s=None if users else due / seconds,
        begin_s=begin_s,
        seconds=seconds,
        counts=counts,
        windows=windows,
        models={model: of_model},
        summary=Summary(
            due=due,
            sent=due,
            answered=len(whole),
            failed=failures,
            due_per_s=due / seconds,
            answered_per_s=len(whole) / seconds,
            latency_ms=found,
            lateness_ms=percentiles_of(whole / 100),
            images=len(whole),
            server_answered=len(whole),
            joules=joules,
        ),
    )


def record_of(stages: Sequence[Stage], name: str = "simulated", **changes: Any) -> Record:
    """A valid record of them; `changes` replace its fields."""
    seconds = sum(stage.seconds for stage in stages)
    given: dict[str, Any] = {
        "name": name,
        "began": "2026-11-21T12:00:00+00:00",
        "seconds": seconds,
        "finished": True,
        "invalid": [],
        "plan": {"name": name, "photos": {"folder": "photos", "sha256": "ab12"}, "load": [{"rate_per_s": 60}]},
        "conditions": {
            "commit": "e8767fa",
            "generator": {"cpu": "EPYC", "cores": 2, "python": "3.11.7"},
            "target": {"host": "http://127.0.0.1:8080", "transport": "http"},
            "models": {"balloon": {"version": "1", "model_sha256": "c0ffee"}},
            "images": {"count": 8, "sizes": ["640x480"], "mean_bytes": 61234, "sha256": "abc"},
        },
        "stages": list(stages),
    }
    return Record.model_validate(given | changes)


def series_of(seconds: int, rng: np.random.Generator) -> list[Series]:
    """Of a device that gets warm."""
    times = [float(second) for second in range(seconds)]
    kinds = {
        "device.power": ("W", 8.0, 0.5), "device.temperature": ("°C", 52.0, 1.5), "device.gpu_load": ("%", 70.0, 6.0),
        "generator.cpu": ("%", 22.0, 3.0), "device.throttling": ("", 0.0, 0.0),
    }  # fmt: skip
    return [
        Series(
            name=name, unit=unit, times_s=times,
            values=[None if second == 7 else float(level + rng.normal(0, deviation)) for second in range(seconds)],
        )
        for name, (unit, level, deviation) in kinds.items()
    ]  # fmt: skip


def quick_stage(
    rng: np.random.Generator, seconds: int, rate: int, *, median_s: float = 0.02, spread: float = 0.3,
    wander: float = 0.05, memory: float = 0.5, failure_ratio: float = 0.0,
) -> Stage:  # fmt: skip
    """As `stage_of(latencies_of(…))`, straight from the buckets: for hundreds of runs."""
    latencies = latencies_of(rng, seconds, rate, median_s=median_s, spread=spread, wander=wander, memory=memory)
    rows = np.log(np.stack(latencies) / LEAST_S) / np.log(GROWTH)
    windows = []
    for second, row in enumerate(rows):
        buckets, counts = np.unique(row.astype(np.int64), return_counts=True)
        histogram = dict(zip(buckets.tolist(), counts.tolist(), strict=True))
        lost = int(rng.binomial(rate, failure_ratio))
        windows.append(
            Window.model_construct(
                begin_s=float(second), seconds=1.0, due=rate + lost, sent=rate + lost, answered=rate,
                failed={"http_500": lost} if lost else {}, latency=histogram,
                lateness={}, in_flight=None,
            )
        )  # fmt: skip
    ms = float(np.median(np.stack(latencies))) * 1e3
    flat = Percentiles(mean=ms, p50=ms, p90=ms, p95=ms, p99=ms, p999=ms, max=ms)
    summary = Summary(
        due=rate * seconds, sent=rate * seconds, answered=rate * seconds, due_per_s=rate, answered_per_s=rate,
        latency_ms=flat, images=rate * seconds,
    )  # fmt: skip
    return Stage.model_construct(
        name="steady", users=None, rate_per_s=float(rate), begin_s=0.0, seconds=float(seconds), counts=True,
        windows=windows, summary=summary, models={},
    )  # fmt: skip


def pooled(windows: Sequence[Window]) -> dict[int, int]:
    return merged(window.latency for window in windows)


def steps_record(name: str = "steps", seed: int = 0, *, capacity: float = 100.0, model: str = "balloon") -> Record:
    """A load that rises beyond what the server can do, with a warm-up, failures at the end, and a device's series."""
    rng = np.random.default_rng(seed)
    stages, begin = [], 0.0
    for number, rate in enumerate((20, 20, 40, 60, 80, 95, 120)):
        part = rate / capacity
        median_s = 0.02 * (1 + 0.15 * part / max(0.05, 1 - min(part, 0.97)))
        seconds, answered = 20, int(min(rate, capacity))
        latencies = latencies_of(rng, seconds, answered, median_s=median_s, spread=0.25 + 0.2 * part, memory=0.5)
        queue = 20 * (median_s / 0.02 - 1)
        phases = {"slot": 0.1, "read": 0.4, "decode": 2.6, "preprocess": 1.7, "serialise": 0.2, "queue": queue,
                  "compute": 12.5,
                  "transport": 0.6, "deserialise": 0.1, "postprocess": 0.5, "respond": 0.3}  # fmt: skip
        stage = stage_of(
            latencies, "warm-up" if number == 0 else f"{rate}/s", model=model, failed=rate - answered, begin_s=begin,
            joules=seconds * (4 + 8 * part), counts=number > 0, phases_ms=phases,
        )  # fmt: skip
        own = stage.models[model].model_copy(update={"queue_ms": queue, "compute_ms": 12.5, "batch": 1 + part})
        stages.append(stage.model_copy(update={"models": {model: own}}))
        begin += seconds
    record = record_of(stages, name, series=series_of(int(begin), rng))
    return record.model_copy(update={"slo": Slo.parse("p99<60ms,errors<1%,rate>=20").judged(record)})
