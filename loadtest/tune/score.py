"""Which candidate is better, by an objective: first whoever holds it, then the quicker."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from loadtest.record import Stage
from loadtest.slo import Slo, TermVerdict
from loadtest.statistics import student_t
from loadtest.tune.pooled import pooled

Quantity = Literal["rate", "p99", "images per joule"]
LEVEL = 0.95
VALUE: dict[Quantity, Callable[[Stage], float | None]] = {
    "rate": lambda stage: stage.summary.answered_per_s or None,
    "p99": lambda stage: None if stage.summary.latency_ms is None else stage.summary.latency_ms.p99,
    "images per joule": lambda stage: stage.summary.images / stage.summary.joules if stage.summary.joules else None,
}
IS_MORE_BETTER: dict[Quantity, bool] = {"rate": True, "p99": False, "images per joule": True}
UNIT: dict[Quantity, str] = {"rate": "/s", "p99": " ms", "images per joule": " images/J"}
NOTHING = math.inf
"""How far from holding somebody is who answered nothing."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two turns, one right after the other."""

    challenger: Stage
    current: Stage


@dataclass(frozen=True, slots=True)
class Ratio:
    """Of a quantity of the challenger to that of the current one: geometric mean, and where it lies in 95 of 100."""

    low: float
    value: float
    high: float

    def says_better(self, is_more_better: bool) -> bool | None:
        """True: better, False: worse, None: not told apart."""
        if self.low <= 1 <= self.high:
            return None
        return (self.low > 1) == is_more_better


@dataclass(frozen=True, slots=True)
class Objective:
    """What is wanted: `slo` held, and then the most of `prefer`, or the least."""

    slo: Slo
    prefer: Quantity

    def badness(self, stages: Sequence[Stage]) -> tuple[float, float]:
        """To sort by, the best first: how far the objective is from holding, and then what is preferred."""
        if not stages:
            return NOTHING, NOTHING
        stage = pooled(stages)
        value = VALUE[self.prefer](stage)
        if value is None:
            return NOTHING, NOTHING
        return self.excess(stage), -value if IS_MORE_BETTER[self.prefer] else value

    def excess(self, stage: Stage) -> float:
        """The logarithm by which the worst term that does not hold misses its bound; 0 where all hold."""
        return max((_excess(term) for term in self.slo.judge(stage).terms), default=0.0)

    def holds(self, stages: Sequence[Stage]) -> bool:
        """Over all of them together."""
        return bool(stages) and self.slo.judge(pooled(stages)).held


def _excess(verdict: TermVerdict) -> float:
    if verdict.held:
        return 0.0
    if verdict.measured is None:
        return NOTHING
    least = 1e-6  # a bound of none at all
    return abs(math.log(max(verdict.measured, least) / max(verdict.term.bound, least))) + least


def ratio_of(pairs: Sequence[Pair], quantity: Quantity) -> Ratio | None:
    """Over the pairs, by Student's t of their logarithms; None where a turn has no such figure."""
    value = VALUE[quantity]
    both = [(value(pair.challenger), value(pair.current)) for pair in pairs]
    logs = [math.log(one / other) for one, other in both if one and other]
    if len(logs) < max(2, len(both)):
        return None
    mean, spread = float(np.mean(logs)), float(np.std(logs, ddof=1))
    half = student_t(1 - (1 - LEVEL) / 2, len(logs) - 1) * spread / math.sqrt(len(logs))
    return Ratio(math.exp(mean - half), math.exp(mean), math.exp(mean + half))
