"""A server of made-up speed for each way to serve, and turns measured at it, with noise and drift."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from loadtest.histogram import histogram_of
from loadtest.record import Stage, Summary, Window
from loadtest.statistics import percentiles_of
from loadtest.tune.candidate import Candidate
from vision.serving import ServingSettings

USERS, SECONDS = 8, 4

CURRENT = Candidate(serving=ServingSettings(instances=1, threads=0, preferred_batch=(), queue_delay_us=0))
BEST = Candidate(serving=ServingSettings(instances=3, threads=1, preferred_batch=(4,), queue_delay_us=500))


def true_rate(candidate: Candidate) -> float:
    """Answers a second of a closed loop; the most, 160, with `BEST`, and 85 with `CURRENT`."""
    serving = candidate.serving
    rate = 160.0
    rate -= 20 * abs((serving.instances or 1) - 3)
    rate -= 15 * abs((serving.threads or 2) - 1)
    rate -= 0 if serving.preferred_batch == (4,) else 15
    rate -= abs((serving.queue_delay_us or 0) - 500) / 100
    return max(rate, 10.0)


@dataclass
class Simulated:
    """Measures turns. The machine slows down by `drift` a turn, and each turn is off by `noise`."""

    rate: Callable[[Candidate], float] = true_rate
    noise: float = 0.04
    drift: float = 0.001
    seed: int = 0
    refused: frozenset[Candidate] = frozenset()
    asked: list[Candidate] = field(default_factory=list)

    def __call__(self, candidate: Candidate) -> Stage | None:
        self.asked.append(candidate)
        if candidate in self.refused:
            return None
        random = np.random.default_rng([self.seed, len(self.asked)])
        speed = math.exp(-self.drift * len(self.asked) + self.noise * random.standard_normal())
        return stage(self.rate(candidate) * speed, random)


def stage(rate_per_s: float, random: np.random.Generator, spread: float = 0.2) -> Stage:
    """A turn of a closed loop of `USERS`; latencies are lognormal."""
    number = max(1, round(rate_per_s * SECONDS))
    latencies = USERS / rate_per_s * np.exp(spread * random.standard_normal(number))
    windows = [
        Window(begin_s=float(second), seconds=1.0, due=len(part), sent=len(part), answered=len(part),
               latency=histogram_of(part))
        for second, part in enumerate(np.array_split(latencies, SECONDS))
    ]  # fmt: skip
    summary = Summary(
        due=number, sent=number, answered=number, due_per_s=rate_per_s, answered_per_s=rate_per_s, images=number,
        latency_ms=percentiles_of(latencies),
    )  # fmt: skip
    return Stage(name="8 users", users=USERS, begin_s=0, seconds=SECONDS, windows=windows, summary=summary)
