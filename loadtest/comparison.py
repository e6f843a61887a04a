"""Two builds, or settings, by their records: better, worse, or not told apart.

Two runs of the same build differ by more than the seconds within one of them do: what was in memory, where threads came
to lie, who else was on the machine. So runs are what is counted, and seconds only tell how sure each is of itself.
Where there are few runs, how much runs differ is part guessed: the variance is the mean of what was seen and of what is
usual (`Quantity.usual`, with the weight of `FREEDOM_OF_USUAL` degrees of freedom: the moderated t of Smyth 2004), so
that a single pair is judged by the usual alone, and many runs by themselves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Self

import numpy as np

from loadtest import statistics
from loadtest.record import Record, Stage
from loadtest.statistics import Errors, Percentile, Rate, Sample, draws_of, student_t, value_of

FREEDOM_OF_USUAL = 4.0
ALPHA = 0.05
"""How often, at most, two runs of the same build may be told apart in anything."""
DRAWS = 100
"""For a standard deviation; ends of intervals need more."""
PHASES = "phases"


class Verdict(StrEnum):
    """Of B, beside A."""

    BETTER = "better"
    WORSE = "worse"
    ALIKE = "not told apart"


@dataclass(frozen=True)
class Quantity:
    """What is compared.

    `least` is the smallest difference that anybody should act on, `usual` the standard deviation between runs of one
    build where nothing better is known: both parts of 1 (of a ratio; of errors, parts of all requests).
    """

    name: str
    unit: str
    more_is_better: bool
    least: float
    usual: float
    is_ratio: bool = True


RATE = Quantity("rate", "1/s", True, 0.03, 0.03)
LATENCIES = {
    "p50": (Quantity("p50", "ms", False, 0.03, 0.03), Percentile(50)),
    "p90": (Quantity("p90", "ms", False, 0.03, 0.05), Percentile(90)),
    "p99": (Quantity("p99", "ms", False, 0.05, 0.10), Percentile(99)),
}
ERRORS = Quantity("errors", "%", False, 0.001, 0.0005, is_ratio=False)
PER_JOULE = Quantity("images per joule", "1/J", True, 0.03, 0.03)
PHASE = Quantity(PHASES, "ms", False, 0.03, 0.05)


@dataclass(frozen=True)
class Measured:
    """One run's figure and the standard deviation that its windows tell, logarithms where ratios are compared."""

    value: float
    deviation: float = 0.0


@dataclass(frozen=True)
class Row:
    """One quantity of one stage.

    `ratio` is B's by A's, of errors B's less A's; `counts` is false of phases, which explain a difference and decide
    nothing.
    """

    stage: str
    quantity: Quantity
    a: float
    b: float
    low: float
    ratio: float
    high: float
    verdict: Verdict
    counts: bool
    name: str
    runs_for_5_percent: int | None
    """How many runs of each, as noisy as these, would tell a difference of 5 % in nine cases of ten."""


@dataclass(frozen=True)
class Comparison:
    """B beside A, over all stages that both have."""

    rows: tuple[Row, ...]
    runs: tuple[int, int]
    paired: bool
    """The runs took turns, and each is compared with its neighbour."""
    level: float
    """Of each row's interval: all that count are right together 19 times in 20."""

    @property
    def verdict(self) -> Verdict:
        """Worse in anything is worse."""
        found = {row.verdict for row in self.rows if row.counts}
        return next((each for each in (Verdict.WORSE, Verdict.BETTER) if each in found), Verdict.ALIKE)


def comparison_of(a: Sequence[Record], b: Sequence[Record]) -> Comparison:
    """Of records that `loadtest.comparable` has let through, at least one of each."""
    paired = len(a) == len(b) > 1 and _took_turns(a, b)
    a, b = (sorted(side, key=lambda record: record.began) for side in (a, b))
    found = []
    both = min(len(record.counted()) for record in (*a, *b))
    for number, stage in enumerate(a[0].counted()[:both]):
        runs = [[_Run.of(record.counted()[number]) for record in side] for side in (a, b)]
        for name, quantity, counts in _quantities(stage):
            sides = [[_measured(run, name) for run in side] for side in runs]
            if all(value is not None for side in sides for value in side):
                whole = [[value for value in side if value is not None] for side in sides]
                found.append((stage.name, name, quantity, counts, whole))
    level = 1 - ALPHA / max(1, sum(counts for *_, counts, _ in found))
    rows = tuple(_row(*each, paired=paired, level=level) for each in found)
    return Comparison(rows, (len(a), len(b)), paired, level)


@dataclass(frozen=True)
class _Run:
    """One stage of one run."""

    stage: Stage
    sample: Sample

    @classmethod
    def of(cls, stage: Stage) -> Self:
        return cls(stage, Sample.of(stage.windows))


def _quantities(stage: Stage) -> list[tuple[str, Quantity, bool]]:
    found = [(RATE.name, RATE, True), *((name, quantity, True) for name, (quantity, _) in LATENCIES.items())]
    found += [(ERRORS.name, ERRORS, True), (PER_JOULE.name, PER_JOULE, True)]
    for model, figures in sorted(stage.models.items()):
        found += [(f"{model}: {phase}", PHASE, False) for phase in figures.phases_ms]
        found += [(f"{model}: {each}", PHASE, False) for each in ("Triton's queue", "Triton's compute")]
    return found


def _measured(run: _Run, name: str) -> Measured | None:
    stage, sample = run.stage, run.sample
    if name == RATE.name:
        return _of_windows(sample, Rate(), is_ratio=True)
    if name in LATENCIES:
        return _of_windows(sample, LATENCIES[name][1], is_ratio=True)
    if name == ERRORS.name:
        return _of_windows(sample, Errors(), is_ratio=False)
    if name == PER_JOULE.name:
        joules = stage.summary.joules
        return _logarithm(stage.summary.images / joules if joules else None)
    model, _, phase = name.rpartition(": ")
    figures = stage.models.get(model)
    if figures is None:
        return None
    own = {"Triton's queue": figures.queue_ms, "Triton's compute": figures.compute_ms}
    return _logarithm(own[phase] if phase in own else figures.phases_ms.get(phase))


def _logarithm(value: float | None) -> Measured | None:
    return Measured(math.log(value)) if value and value > 0 else None


def _of_windows(sample: Sample, quantity: statistics.Quantity, *, is_ratio: bool) -> Measured | None:
    value = value_of(sample, quantity)
    if value is None or (is_ratio and value <= 0):
        return None
    found, length = draws_of(sample, quantity, draws=DRAWS)
    if is_ratio:
        value, found = math.log(value), np.log(found[found > 0])
    blocks = max(2.0, len(sample) / length)
    return Measured(value, float(found.std()) * math.sqrt(blocks / (blocks - 1)) if len(found) else 0.0)


def _row(
    stage: str, name: str, quantity: Quantity, counts: bool, sides: list[list[Measured]], *, paired: bool, level: float
) -> Row:
    a, b = ([each.value for each in side] for side in sides)
    within = fmean(each.deviation**2 for side in sides for each in side)
    usual = quantity.usual**2 + within
    if paired:
        squares, freedom = float(np.var(np.subtract(b, a))) * len(a) / 2, len(a) - 1
    else:
        squares = float(np.var(a)) * len(a) + float(np.var(b)) * len(b)
        freedom = len(a) + len(b) - 2
    variance = (FREEDOM_OF_USUAL * usual + squares) / (FREEDOM_OF_USUAL + freedom)
    wide = student_t(1 - (1 - level) / 2, FREEDOM_OF_USUAL + freedom) * math.sqrt(variance * (1 / len(a) + 1 / len(b)))
    change = fmean(b) - fmean(a)
    back = math.exp if quantity.is_ratio else float
    low, ratio, high = (back(change + side * wide) for side in (-1, 0, 1))
    return Row(
        stage, quantity, back(fmean(a)), back(fmean(b)), low, ratio, high,
        _verdict(change, wide, quantity), counts, name,
        _runs_for(math.log(1.05), variance, level) if quantity.is_ratio else None,
    )  # fmt: skip


def _verdict(change: float, wide: float, quantity: Quantity) -> Verdict:
    """Told apart is what is surely not nothing, and not too little to act on."""
    least = math.log1p(quantity.least) if quantity.is_ratio else quantity.least
    if abs(change) <= wide or abs(change) < least:
        return Verdict.ALIKE
    return Verdict.BETTER if (change > 0) is quantity.more_is_better else Verdict.WORSE


def _runs_for(effect: float, variance: float, level: float, power: float = 0.9) -> int | None:
    """The fewest, up to 100; None where that is not enough."""
    for runs in range(1, 101):
        t = student_t(1 - (1 - level) / 2, FREEDOM_OF_USUAL + 2 * (runs - 1))
        if (t + statistics.NORMAL.inv_cdf(power)) * math.sqrt(2 * variance / runs) <= effect:
            return runs
    return None


def _took_turns(a: Sequence[Record], b: Sequence[Record]) -> bool:
    """Each two that began one after the other are one of each."""
    order = [side for _, side in sorted([(record.began, 0) for record in a] + [(record.began, 1) for record in b])]
    return all(order[i] != order[i + 1] for i in range(0, len(order), 2))
